"""Quail: a complete qmail installation, written anew."""

__version__ = "0.1.0"
