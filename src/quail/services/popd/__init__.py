"""popd: POP3 for the mailboxes of this home. session.py is what serves one log-in."""
