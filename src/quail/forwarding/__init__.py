"""dot-forward and fastforward: what .forward files, /etc/aliases, forwarding tables and mailing lists say.

Pure but for reading files that are named in them, which the caller's functions do.
"""
