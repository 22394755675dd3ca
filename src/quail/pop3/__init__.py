"""POP3 (RFC 1939): bytes in, events and bytes out. Nothing here opens, waits or reads a clock."""
