"""The text form of a cdb: `+KLEN,DLEN:KEY->DATA` and a line feed for each record, then an empty line (cdbmake, cdbdump).

Lengths are in bytes, decimal; a missing one is 0. Key and data may hold anything, line feeds among it. Reading and writing need
bounded memory but for the one record at hand.
"""

from _collections_abc import Callable
from struct import Struct
from struct import error as struct_error

from quail.cdb.layout import HEADER_SIZE, MAX_SIZE, PAIR, PAIR_SIZE
from quail.cdb.maker import Maker
from quail.errors import PeerError
from quail.oserrors import words

_CHUNK = 1 << 18
_SHAPES = 1 << 12  # pairs of lengths that are remembered
_LONGEST_HEAD = 1 << 10
_DIGITS = b"0123456789"
_MOST_DIGITS = 12  # a length of more is too much in any case
_PAIR = Struct(PAIR)
_Shape = tuple[Callable[[bytes], tuple[bytes, bytes, bytes]], bytes]


class TextReader:
    """Reads records from `read`, which gives at most so many bytes, none at the end, and adds them to a Maker."""

    __slots__ = ("_at", "_entries", "_maker", "_odd_until", "_read", "_shapes", "_text")

    def __init__(self, read: Callable[[int], bytes], maker: Maker) -> None:
        self._read = read
        self._maker = maker
        self._text = b""  # read, and from _at on not yet used
        self._at = 0
        self._odd_until = 0  # up to here not to be read in bulk
        self._entries = 0
        self._shapes: dict[bytes, _Shape] = {}

    def run(self) -> None:
        """Read up to the empty line.

        PeerError, in freecdb's words, for what is no such text; TooMuchError as soon as a length is read that can't fit.
        """
        while self._entry():
            self._bulk()

    def _entry(self) -> bool:
        """Add one record, reading until it is there; False at the empty line."""
        self._entries += 1
        if not self._fill(1):
            raise self._wrong("unexpected end if input")
        start = self._text[self._at]
        if start == ord("\n"):
            return False
        if start != ord("+"):
            raise self._wrong("entry must start with +")
        head = self._head()
        length, size = self._lengths(head)
        self._maker.make_room(length + size)
        start = 1 + len(head) + 1
        whole = self._fill(start + length + 2 + size + 1)
        text = self._text
        start += self._at
        middle = start + length
        end = middle + 2 + size
        if not b"->".startswith(text[middle : middle + 2]):
            raise self._wrong("key must be followed by ->")
        if not b"\n".startswith(text[end : end + 1]):
            raise self._wrong("newline expected")
        if not whole:
            raise self._wrong("unexpected end if input")
        self._maker.add(text[start:middle], text[middle + 2 : end])
        self._at = end + 1
        return True

    def _bulk(self) -> None:
        """Add what stands between two line feeds with a plus, as long as records are what that is.

        It is not where data has these two bytes in it, or something is wrong: _entry goes through the rest then.
        """
        last = self._text.rfind(b"\n+")
        if last < max(self._at, self._odd_until) or self._text[self._at] != ord("+"):
            return
        keys: list[bytes] = []
        records: list[bytes] = []
        add_key, add_record, known = keys.append, records.append, self._shapes.get
        parts = self._text[self._at + 1 : last].split(b"\n+")
        try:
            for part in parts:
                head, _, rest = part.partition(b":")
                split, lengths = known(head) or self._shape(head)
                key, arrow, data = split(rest)
                if arrow != b"->":
                    break
                add_key(key)
                add_record(lengths + key + data)
        except (struct_error, PeerError):
            pass
        count = len(keys)
        self._maker.extend(keys, records)
        self._entries += count
        self._at += sum(map(len, parts[:count])) + 2 * count
        if count < len(parts):
            self._odd_until = last + 1

    def _shape(self, head: bytes) -> _Shape:
        """What splits a record with these lengths in two, and the lengths as a cdb has them."""
        length, size = self._lengths(head)
        if length + size > MAX_SIZE:
            raise self._wrong("too long")
        if len(self._shapes) == _SHAPES:
            self._shapes.clear()
        shape: _Shape = (Struct(f"{length}s2s{size}s").unpack, _PAIR.pack(length, size))
        self._shapes[head] = shape
        return shape

    def _head(self) -> bytes:
        """What stands between the plus and the colon."""
        while True:
            colon = self._text.find(b":", self._at, self._at + _LONGEST_HEAD)
            if colon >= 0:
                return self._text[self._at + 1 : colon]
            head = self._text[self._at + 1 : self._at + _LONGEST_HEAD]
            key, _, data = head.partition(b",")
            if key.strip(_DIGITS) or len(key) == _LONGEST_HEAD - 1:
                raise self._wrong("bad keylen format")
            if data.strip(_DIGITS) or len(head) == _LONGEST_HEAD - 1:
                raise self._wrong("bad datalen format")
            if not self._fill(len(head) + 2):
                raise self._wrong("unexpected end if input")

    def _lengths(self, head: bytes) -> tuple[int, int]:
        key, comma, data = head.partition(b",")
        if not comma or key.strip(_DIGITS):
            raise self._wrong("bad keylen format")
        if data.strip(_DIGITS):
            raise self._wrong("bad datalen format")
        return _length(key), _length(data)

    def _fill(self, want: int) -> bool:
        """Have so many bytes at hand; False if the input ends before."""
        have = len(self._text) - self._at
        if have >= want:
            return True
        parts = [self._text[self._at :]]
        try:
            while have < want and (part := self._read(_CHUNK)):
                parts.append(part)
                have += len(part)
        except OSError as error:
            raise self._wrong(words(error)) from error
        self._text = b"".join(parts)
        self._odd_until -= self._at
        self._at = 0
        return have >= want

    def _wrong(self, what: str) -> PeerError:
        return PeerError(f"entry {self._entries}: {what}")


def _length(digits: bytes) -> int:
    digits = digits.lstrip(b"0")
    return int(digits or b"0") if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS


def write_text(read: Callable[[int], bytes], write: Callable[[bytes], object]) -> None:
    """Write the records of a cdb, which `read` gives from its first byte on, as text; in pieces of some hundred kilobytes.

    PeerError if it ends too soon; then everything before has been written.
    """
    source = _Source(read)
    header = source.take(HEADER_SIZE)
    end = _PAIR.unpack_from(header)[0]
    at = HEADER_SIZE
    out: list[bytes] = []
    waiting = 0
    try:
        while at < end:
            length, size = _PAIR.unpack(source.take(PAIR_SIZE))
            at += PAIR_SIZE + length + size
            out.append(b"+%d,%d:" % (length, size))
            if length + size > _CHUNK:
                write(b"".join(out))
                source.copy(length, write)
                write(b"->")
                source.copy(size, write)
                out = [b"\n"]
                waiting = 0
                continue
            record = source.take(length + size)
            out.append(record[:length] + b"->" + record[length:] + b"\n")
            waiting += length + size
            if waiting > _CHUNK:
                write(b"".join(out))
                out = []
                waiting = 0
    except PeerError:
        write(b"".join(out))
        raise
    write(b"".join([*out, b"\n"]))


class _Source:
    """Bytes one after another."""

    __slots__ = ("_at", "_read", "_text")

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._text = b""
        self._at = 0

    def take(self, size: int) -> bytes:
        """The next bytes, not too many; PeerError if there are fewer."""
        end = self._at + size
        if end > len(self._text):
            parts = [self._text[self._at :]]
            have = len(parts[0])
            while have < size:
                part = self._read(_CHUNK)
                if not part:
                    raise PeerError("truncated file")
                parts.append(part)
                have += len(part)
            self._text = b"".join(parts)
            self._at, end = 0, size
        data = self._text[self._at : end]
        self._at = end
        return data

    def copy(self, size: int, write: Callable[[bytes], object]) -> None:
        """Hand on so many bytes, however many they are."""
        while size:
            part = self.take(min(size, max(1, len(self._text) - self._at)))
            write(part)
            size -= len(part)
