"""The command line of tcpserver."""

from _collections_abc import Mapping

from quail.errors import UsageError
from quail.net import options

_LETTERS = "dDvqQhHrRUXx:t:u:g:l:b:B:c:pPoO146I:"
_MOST = (1 << 31) - 1

SILENT, ERRORS, ALL = range(3)
"""How much is logged: -q, -Q, -v."""


class Settings:
    """What the options say, with the defaults of the original. Ids are 0 where nothing is to be changed; timeout in seconds."""

    __slots__ = (
        "as_six", "backlog", "banner", "command", "four_only", "gid", "host", "ident_timeout", "interface", "keep_ip_options",
        "limit", "local_host", "look_up_host", "look_up_info", "missing_rules_allow", "no_delay", "paranoid", "port",
        "print_port", "rules", "uid", "verbosity",
    )  # fmt: skip

    def __init__(self) -> None:
        self.limit = 40
        self.backlog = 20
        self.uid = self.gid = 0
        self.ident_timeout = 26
        self.banner = b""
        self.rules: bytes | None = None
        self.missing_rules_allow = False
        self.local_host: bytes | None = None
        self.look_up_host = self.look_up_info = True
        self.paranoid = self.keep_ip_options = self.no_delay = False
        self.print_port = self.four_only = self.as_six = False
        self.interface = b""
        self.verbosity = ERRORS
        self.host = self.port = b""
        self.command: list[bytes] = []

    @property
    def wants_names(self) -> bool:
        """Whether the DNS is asked for each connection."""
        return self.look_up_host or self.local_host is None

    @property
    def takes_time(self) -> bool:
        """Whether somebody or something has to be waited for before the program runs."""
        return self.wants_names or self.look_up_info or self.rules is not None or bool(self.banner)

    def read(self, args: list[bytes], environ: Mapping[bytes, bytes]) -> None:
        """Take the arguments; what has been read before a UsageError counts, so that -q is heeded."""
        found, words = options.parse("tcpserver", args, _LETTERS)
        for letter, value in found:
            self._option(letter, value, environ)
        if len(words) < 3:
            raise UsageError
        self.host, self.port, *self.command = words

    def _option(self, letter: str, value: bytes, environ: Mapping[bytes, bytes]) -> None:
        if letter in _SWITCHES:
            name, setting = _SWITCHES[letter]
            setattr(self, name, setting)
        elif letter in _NUMBERS:
            setattr(self, _NUMBERS[letter], options.number(value))
        elif letter == "U":
            for name, variable in (("uid", b"UID"), ("gid", b"GID")):
                if variable in environ:
                    setattr(self, name, options.number(environ[variable]))
        elif letter == "b":
            self.backlog = min(options.number(value), _MOST)
        elif letter == "B":
            self.banner = value
        elif letter == "x":
            self.rules = value
        elif letter == "l":
            self.local_host = value
        else:
            self.interface = value


_SWITCHES: dict[str, tuple[str, bool | int]] = {
    "q": ("verbosity", SILENT),
    "Q": ("verbosity", ERRORS),
    "v": ("verbosity", ALL),
    "h": ("look_up_host", True),
    "H": ("look_up_host", False),
    "r": ("look_up_info", True),
    "R": ("look_up_info", False),
    "p": ("paranoid", True),
    "P": ("paranoid", False),
    "o": ("keep_ip_options", True),
    "O": ("keep_ip_options", False),
    "d": ("no_delay", False),
    "D": ("no_delay", True),
    "X": ("missing_rules_allow", True),
    "1": ("print_port", True),
    "4": ("four_only", True),
    "6": ("as_six", True),
}
_NUMBERS = {"c": "limit", "g": "gid", "u": "uid", "t": "ident_timeout"}
