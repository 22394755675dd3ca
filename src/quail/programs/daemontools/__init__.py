"""The programs of daemontools, each under its own name."""
