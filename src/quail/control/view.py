"""What counts now: the value of each control file and where it comes from, for people (`quail config`, qmail-showctl)."""

from quail.control.reader import Control, read_file
from quail.control.table import CDB, INTEGER, LINE, LIST, LISTEN, Entry
from quail.errors import QuailError

FILE, ME, DEFAULT, NONE = "file", "me", "default", "none"


class View:
    """values: as the lines of a file. source: FILE, ME or DEFAULT, NONE if nothing is set. trouble: why there is no value."""

    __slots__ = ("source", "trouble", "values")

    def __init__(self, source: str, values: list[bytes], trouble: QuailError | None = None) -> None:
        self.source, self.values, self.trouble = source, values, trouble


def view(control: Control, entry: Entry) -> View:
    """Never raises for what is in the files: that is trouble."""
    source = FILE
    try:
        if read_file(control.path(entry.name)) is None:
            source = _stand_in(control, entry)
        return View(source, _values(control, entry))
    except QuailError as trouble:
        return View(source, [], trouble)


def _stand_in(control: Control, entry: Entry) -> str:
    if entry.me and read_file(control.path("me")) is not None:
        return ME
    return DEFAULT if entry.default not in {None, ()} else NONE


def _values(control: Control, entry: Entry) -> list[bytes]:
    name = entry.name
    if entry.kind == LINE:
        value = control.line(name)
        return [] if value is None else [value]
    if entry.kind == INTEGER:
        return [b"%d" % control.integer(name)]
    if entry.kind == LIST:
        return control.lines(name)
    if entry.kind == LISTEN:
        return [_place(*line) for line in control.listen()]
    if entry.kind == CDB:
        return []
    return [b"%b:%b" % pair for pair in control.pairs(name).items()]


def _place(service: str, address: str, port: int) -> bytes:
    if "/" in address:
        return f"{service} {address}".encode()
    return f"{service} [{address}]:{port}".encode() if ":" in address else f"{service} {address}:{port}".encode()
