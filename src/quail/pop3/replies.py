"""What both machines say: qmail's words where it has some, with response codes (RFC 2449, 3206) where a client can use them."""

OK = b"+OK \r\n"  # the blank is qmail's
SYNTAX = b"-ERR syntax error\r\n"
TOO_LONG = b"-ERR command line too long\r\n"
TOO_MANY_BAD = b"-ERR too many bad commands\r\n"
SHUTDOWN = b"-ERR [SYS/TEMP] service shutting down, try again\r\n"

# RFC 2449 section 6. LOGIN-DELAY is left out where there is none. EXPIRE NEVER: mail stays until its owner removes it. UTF8
# (RFC 6856) without USER: names and passwords are taken as bytes.
_BEFORE = b"+OK Capability list follows\r\nTOP\r\nUIDL\r\n"
_BEHIND = b"RESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\nUTF8\r\nIMPLEMENTATION Quail\r\n.\r\n"


def capabilities(*, plain: bool) -> bytes:
    """The reply to CAPA; `plain`: USER and PASS are offered. The same before and after the log-in, as section 5 asks."""
    return _BEFORE + (b"USER\r\n" if plain else b"") + _BEHIND
