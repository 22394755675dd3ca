"""The programs of ucspi-tcp."""
