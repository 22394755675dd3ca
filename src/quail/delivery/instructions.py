"""The lines of a dot-qmail file as steps (dot-qmail(5), facts 6.6). Pure."""

MAILDIR, MBOX, PROGRAM, FORWARD, REFUSE = "maildir", "mbox", "program", "forward", "refuse"

FILE_AND_X = b"Uh-oh: .qmail has file delivery but has x bit set. (#4.7.0)"
PROGRAM_AND_X = b"Uh-oh: .qmail has prog delivery but has x bit set. (#4.7.0)"


class Step:
    """One thing to do, in the order of the file.

    value: the path as written (MAILDIR with its final slash, MBOX), the command (PROGRAM), the address (FORWARD), or the
    text that the delivery is put off with (REFUSE). line counts from 1.
    """

    __slots__ = ("kind", "line", "value")

    def __init__(self, kind: str, value: bytes, line: int) -> None:
        """As described above."""
        self.kind = kind
        self.value = value
        self.line = line


def words(line: bytes) -> bytes:
    """What counts of a line: no path, command or address can hold a NUL, nor end in a blank."""
    return line.partition(b"\0")[0].rstrip(b" \t")


def parse(content: bytes, *, forward_only: bool = False) -> list[Step]:
    """All steps of a file. With forward_only (its x bit), and after a line `+list`, only forwarding is allowed."""
    steps: list[Step] = []
    for number, raw in enumerate(content.split(b"\n"), 1):
        line = words(raw)
        first = line[:1]
        if not line or first == b"#":
            continue
        if first == b"+":
            forward_only = forward_only or line == b"+list"
        elif first in (b".", b"/"):
            kind = MAILDIR if line.endswith(b"/") else MBOX
            steps.append(Step(REFUSE, FILE_AND_X, number) if forward_only else Step(kind, line, number))
        elif first == b"|":
            steps.append(Step(REFUSE, PROGRAM_AND_X, number) if forward_only else Step(PROGRAM, line[1:], number))
        else:
            steps.append(Step(FORWARD, line[1:] if first == b"&" else line, number))
    return steps
