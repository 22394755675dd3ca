"""The queue service: the only owner of queue/. It takes messages, keeps them, has them delivered, and tells of failures."""
