"""authd: asks whether somebody is who they say, and gives their connection to a process that is that user."""
