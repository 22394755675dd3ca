"""Reading control/: qmail's rules for lines, integers and lists (qmail-control(5)), with the defaults of the table.

A line loses trailing blanks and tabs, not leading ones. A list also loses empty lines and those that begin with `#`. An
existing empty file is an empty value, not the default. Every call reads the file again: nothing is kept here.

Where qmail goes on with something that the operator cannot have meant, this reader stops with ConfigError (path, line,
reason, remedy), since a host name with a stray CR in it would send local mail away: control bytes in a value, an integer
that begins with no digit, a pair without a colon, an empty file that must not be empty. A file that cannot be read is
TemporaryError. An integer outside its bounds is taken as the nearest bound, as qmail does.
"""

import os

from quail.control.table import CDB, INTEGER, LINE, LIST, LISTEN, ON_PATHS, PAIRS, SERVED, SERVICES, TABLE, Entry
from quail.errors import ConfigError, TemporaryError

_CONTROL_BYTES = bytes([*range(9), *range(11, 32), 127])  # all but tab and line feed
_DIGITS = b"0123456789"
MAX_SOCKET_PATH = 107  # bytes; unix(7)


def read_file(path: str) -> bytes | None:
    """The file's content, None if there is no such file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            parts = []
            while part := os.read(fd, 1 << 16):
                parts.append(part)
        finally:
            os.close(fd)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TemporaryError(f"{path}: cannot be read: {error.strerror}") from error
    return b"".join(parts)


def _refuse_control_bytes(path: str, number: int, text: bytes) -> None:
    clean = text.translate(None, _CONTROL_BYTES)
    if len(clean) == len(text):
        return
    if text.rstrip(b"\r") == clean:
        raise ConfigError(path, number, "ends in a carriage return", "save the file with Unix line ends")
    bad = next(byte for byte in text if byte in _CONTROL_BYTES)
    raise ConfigError(path, number, f"has a control character (byte {bad})", "remove it")


def parse_line(path: str, data: bytes) -> bytes:
    """First line, without trailing blanks and tabs."""
    text = data.split(b"\n", 1)[0].rstrip(b" \t")
    _refuse_control_bytes(path, 1, text)
    return text


def parse_integer(path: str, data: bytes) -> int:
    """The decimal digits that the first line begins with; what follows them is ignored."""
    text = data.split(b"\n", 1)[0]
    digits = text[: len(text) - len(text.lstrip(_DIGITS))]
    if not digits:
        reason = "is empty" if not text.strip() else "does not begin with a digit"
        raise ConfigError(path, 1, reason, "write a whole number, or remove the file for the default")
    return int(digits.lstrip(b"0")[:20] or b"0")  # 20 digits are beyond every bound, and int() refuses thousands


def parse_list(path: str, data: bytes) -> list[tuple[int, bytes]]:
    """Line number (from 1) and text of each entry."""
    entries = []
    for number, line in enumerate(data.split(b"\n"), 1):
        text = line.rstrip(b" \t")
        if text and text[:1] != b"#":
            _refuse_control_bytes(path, number, text)
            entries.append((number, text))
    return entries


def parse_pairs(path: str, data: bytes) -> dict[bytes, bytes]:
    """name:value lines, split at the first colon; names in lower case; the last of equal names counts."""
    pairs = {}
    for number, text in parse_list(path, data):
        name, colon, value = text.partition(b":")
        if not colon:
            raise ConfigError(path, number, "has no colon", "write name:value, or put # before the line")
        pairs[name.lower()] = value
    return pairs


def parse_listen(path: str, data: bytes) -> list[tuple[str, str, int]]:
    """Service, IP address (without brackets), port of each line `SERVICE ADDRESS:PORT`; of `SERVICE PATH`, the path and 0.

    A path is told from an address by the / in it.
    """
    seen: set[tuple[str, str, int]] = set()
    found = []
    for number, line in parse_list(path, data):
        text = line.decode("ascii", "backslashreplace")
        words = text.split()
        if len(words) != 2:
            raise ConfigError(
                path, number, "is not SERVICE ADDRESS:PORT", f"write a line like {TABLE['listen'].example}"
            )
        service, place = words
        if service not in SERVICES:
            raise ConfigError(path, number, f"unknown service {service}", f"use one of {', '.join(SERVED)}")
        if service not in SERVED:
            raise ConfigError(path, number, f"{service} is not in this version", "put # before the line")
        if service in ON_PATHS and "/" in place:
            address, port = _socket_path(path, number, place), 0
        else:
            address, port = _address(path, number, place)
        entry = (service, address, port)
        if (port or "/" in place) and entry in seen:
            raise ConfigError(path, number, f"{place} is listed twice", "remove one of the two lines")
        seen.add(entry)
        found.append(entry)
    return found


def ip_version(text: str) -> int:
    """4 or 6 for an IP address in digits, 0 for anything else."""
    from _socket import AF_INET, AF_INET6, inet_pton  # noqa: PLC0415  most programs read nothing with addresses

    for version, family in ((4, AF_INET), (6, AF_INET6)):
        try:
            inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return version
    return 0


def parse_addresses(path: str, data: bytes) -> dict[int, str]:
    """By IP version (4, 6): a list of at most one address of each."""
    found: dict[int, str] = {}
    for number, line in parse_list(path, data):
        text = line.decode("ascii", "backslashreplace")
        version = ip_version(text)
        if not version:
            remedy = "write an address in digits, without brackets or port"
            raise ConfigError(path, number, f"{text} is not an IP address", remedy)
        if version in found:
            raise ConfigError(path, number, f"is a second address of IPv{version}", "keep one of them")
        found[version] = text
    return found


def _socket_path(path: str, number: int, place: str) -> str:
    if "\\" in place or place.endswith("/") or len(place) > MAX_SOCKET_PATH:
        remedy = (
            f"write at most {MAX_SOCKET_PATH} plain characters that end in a name, like run/lmtp or /run/quail/lmtp"
        )
        raise ConfigError(path, number, f"{place} can't be the path of a socket", remedy)
    return place


def _address(path: str, number: int, place: str) -> tuple[str, int]:
    host, _, port = place.rpartition(":")
    six = host[:1] == "[" and host[-1:] == "]"
    address = host[1:-1] if six else host
    remedy = "write an IP address and a port: 0.0.0.0:25, or [::1]:25 for IPv6"
    if ip_version(place) == 4 or place[-1:] == "]":
        raise ConfigError(path, number, f"{place} has no port", remedy)
    if ip_version(address) != (6 if six else 4):
        raise ConfigError(path, number, f"{place} does not begin with an IP address", remedy)
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 65536):
        raise ConfigError(path, number, f"{place} does not end in a port", "write a number up to 65535 after the colon")
    return address, int(port)


def clamp(entry: Entry, number: int) -> int:
    """The number, or the bound of the table that it is beyond."""
    return max(entry.low, min(entry.high, number))


class Control:
    """The control files of one home; `directory` is relative to the working directory, or absolute."""

    __slots__ = ("directory",)

    def __init__(self, directory: str = "control") -> None:
        self.directory = directory

    def path(self, name: str) -> str:
        """Path of a file that others read: morercpthosts.cdb."""
        return f"{self.directory}/{TABLE[name].name}"

    def line(self, name: str) -> bytes | None:
        """Value of a line file. None: no file and no default. Unsuitable emptiness and other words are ConfigError."""
        entry = _entry(name, LINE)
        data = read_file(self.path(name))
        if data is not None:
            value = parse_line(self.path(name), data)
            self.judge_line(entry, value)
            return value
        if entry.me and (me := self._me()) is not None:
            return me
        if entry.required:
            raise self._missing(entry)
        return entry.default if isinstance(entry.default, bytes) else None

    def required(self, name: str) -> bytes:
        """As line(), where no value at all is an error."""
        value = self.line(name)
        if value is None:
            raise self._missing(TABLE[name])
        return value

    def integer(self, name: str) -> int:
        """Value of an integer file, within the bounds of the table."""
        entry = _entry(name, INTEGER)
        data = read_file(self.path(name))
        if data is not None:
            return clamp(entry, parse_integer(self.path(name), data))
        if not isinstance(entry.default, int):
            raise TypeError(name)
        return entry.default

    def lines(self, name: str) -> list[bytes]:
        """Entries of a list file, or its default."""
        entry = _entry(name, LIST)
        data = read_file(self.path(name))
        if data is not None:
            found = [text for _, text in parse_list(self.path(name), data)]
            if not found and not entry.blank:
                raise self._empty(entry)
            return found
        if entry.me:
            if (me := self._me()) is not None:
                return [me]
            if entry.required:
                raise self._missing(entry)
        return list(entry.default) if isinstance(entry.default, tuple) else []

    def pairs(self, name: str) -> dict[bytes, bytes]:
        """Entries of a name:value file: see parse_pairs."""
        _entry(name, PAIRS)
        return parse_pairs(self.path(name), read_file(self.path(name)) or b"")

    def listen(self) -> list[tuple[str, str, int]]:
        """control/listen: see parse_listen. Empty without the file."""
        _entry("listen", LISTEN)
        return parse_listen(self.path("listen"), read_file(self.path("listen")) or b"")

    def addresses(self, name: str) -> dict[int, str]:
        """Entries of control/outgoingip: see parse_addresses."""
        _entry(name, LIST)
        return parse_addresses(self.path(name), read_file(self.path(name)) or b"")

    def judge_line(self, entry: Entry, value: bytes) -> None:
        """Raise ConfigError if a line file must not have this value."""
        if not value and not entry.blank:
            raise self._empty(entry)
        if entry.choices and value not in entry.choices:
            words = [choice.decode() for choice in entry.choices]
            raise ConfigError(
                self.path(entry.name), 1, f"says neither {' nor '.join(words)}", f"write {' or '.join(words)}"
            )

    def _me(self) -> bytes | None:
        path = f"{self.directory}/me"
        data = read_file(path)
        if data is None:
            return None
        value = parse_line(path, data)
        self.judge_line(TABLE["me"], value)
        return value

    def _empty(self, entry: Entry) -> ConfigError:
        remedy = f"write a line like {entry.example}"
        if entry.name != "me":
            remedy += ", or remove the file for the default"
        return ConfigError(self.path(entry.name), 1, "is empty", remedy)

    def _missing(self, entry: Entry) -> ConfigError:
        me = f"{self.directory}/me"
        if not entry.me:
            return ConfigError(self.path(entry.name), 0, "does not exist", f"write a line like {entry.example}")
        reason = f"does not exist, nor does {me}, which would stand in for it"
        return ConfigError(self.path(entry.name), 0, reason, f"write the full name of this host into {me}")


def _entry(name: str, kind: str) -> Entry:
    """The row of a file; asking for another kind than the table says is a bug of the caller."""
    entry = TABLE[name]
    if entry.kind != kind or kind == CDB:
        raise TypeError(f"control/{name} is of kind {entry.kind}, not {kind}")
    return entry
