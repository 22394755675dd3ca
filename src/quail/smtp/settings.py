"""What a session is served with: texts, limits, and the questions that only lists outside can answer."""

from _collections_abc import Callable

MIN_COMMAND_LENGTH = 512  # RFC 5321 section 4.5.3.1.4
NO_LIMIT = 1 << 62


def _nobody(_: bytes) -> bool:
    return False


class Settings:
    """What one connection is served with. 0 as a limit means no limit, but a command has one always.

    databytes counts the text as stored, with LF. relayclient is appended to each recipient, and with it accepts_host is
    not asked. accepts_host gets the bytes behind the last @ as they came; it may raise TemporaryError (451).
    badmailfrom gets the whole sender. local_addresses are IP texts whose literals `box@[IP]` become `box@localiphost`;
    check_recipients says whether the driver decides at RCPT. max_recipients counts each RCPT of a transaction, the
    refused ones too, so that no transaction can ask for more look-ups than that. lmtp: LMTP is spoken, not SMTP.
    """

    __slots__ = (
        "accepts_host",
        "badmailfrom",
        "check_recipients",
        "databytes",
        "ehlo",
        "greeting",
        "lmtp",
        "local_addresses",
        "localiphost",
        "max_bad_commands",
        "max_command_length",
        "max_junk_commands",
        "max_line_length",
        "max_recipients",
        "relayclient",
    )

    def __init__(
        self,
        *,
        greeting: bytes,
        databytes: int = 0,
        relayclient: bytes | None = None,
        accepts_host: Callable[[bytes], bool] = _nobody,
        badmailfrom: Callable[[bytes], bool] = _nobody,
        local_addresses: frozenset[bytes] = frozenset(),
        localiphost: bytes | None = None,
        max_recipients: int = 1000,
        max_command_length: int = 2048,
        max_line_length: int = 0,
        max_bad_commands: int = 20,
        max_junk_commands: int = 100,
        check_recipients: bool = False,
        lmtp: bool = False,
    ) -> None:
        """Shared by connections whose settings are the same: nothing in it changes."""
        self.greeting = greeting
        self.databytes = databytes
        self.relayclient = relayclient
        self.accepts_host = accepts_host
        self.badmailfrom = badmailfrom
        self.local_addresses = local_addresses
        self.localiphost = localiphost
        self.max_recipients = max_recipients or NO_LIMIT
        self.max_command_length = max(max_command_length, MIN_COMMAND_LENGTH)
        self.max_line_length = max_line_length or NO_LIMIT
        self.max_bad_commands = max_bad_commands or NO_LIMIT
        self.max_junk_commands = max_junk_commands or NO_LIMIT
        self.check_recipients = check_recipients
        self.lmtp = lmtp
        self.ehlo = (
            b"250-%b\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE %d\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n"
            % (greeting, databytes)
        )
