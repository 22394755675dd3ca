r"""Texts that would smuggle a second message through a sender that passes them carelessly (SMTP smuggling, SEC Consult 2023).

BODIES: name -> text as it is stored. Each has one of the known look-alikes of CR LF . CR LF, and commands behind it; some
are placed so that the look-alike lies across a boundary of the buffers that a sender may have.
"""

from types import MappingProxyType

COMMANDS = (
    b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\nSubject: smuggled\r\n\r\nevil\r\n.\r\n"
)
HEADER = b"Subject: harmless\n\n"
BUFFERS = (1024, 4096, 16_384, 65_536)

ENDS = {
    "LF . LF": b"\n.\n",
    "LF . CR": b"\n.\r",
    "LF . CR LF": b"\n.\r\n",
    "CR . CR": b"\r.\r",
    "CR . LF": b"\r.\n",
    "CR . CR LF": b"\r.\r\n",
    "CR LF . CR": b"\r\n.\r",
    "CR LF . LF": b"\r\n.\n",
    "CR LF . CR LF": b"\r\n.\r\n",
    "LF CR . LF CR": b"\n\r.\n\r",
    "LF CR . CR LF": b"\n\r.\r\n",
    "CR CR LF . CR CR LF": b"\r\r\n.\r\r\n",
    "CR CR LF . CR LF": b"\r\r\n.\r\n",
    "CR LF . CR CR LF": b"\r\n.\r\r\n",
    "CR LF CR . CR LF": b"\r\n\r.\r\n",
    "CR LF LF . LF LF": b"\r\n\n.\n\n",
    "CR CR . CR CR": b"\r\r.\r\r",
    "LF LF . LF LF": b"\n\n.\n\n",
    "CR LF NUL . CR LF": b"\r\n\0.\r\n",
    "CR LF . NUL CR LF": b"\r\n.\0\r\n",
    "CR LF NUL . NUL CR LF": b"\r\n\0.\0\r\n",
    "CR NUL LF . CR NUL LF": b"\r\0\n.\r\0\n",
    "NUL LF . NUL LF": b"\0\n.\0\n",
    "CR NUL . CR LF": b"\r\0.\r\n",
    "CR LF .. CR LF": b"\r\n..\r\n",
    "LF .. LF": b"\n..\n",
    "CR . . CR LF": b"\r..\r\n",
    "CR LF . space CR LF": b"\r\n. \r\n",
    "CR LF space . CR LF": b"\r\n .\r\n",
    "CR LF . tab CR LF": b"\r\n.\t\r\n",
    "VT . VT": b"\x0b.\x0b",
    "FF . FF": b"\x0c.\x0c",
    "CR LF VT . CR LF": b"\r\n\x0b.\r\n",
    "FS . RS": b"\x1c.\x1e",
    "NEL . NEL": b"\x85.\x85",
    "NEL . NEL in UTF-8": b"\xc2\x85.\xc2\x85",
    "LS . PS in UTF-8": b"\xe2\x80\xa8.\xe2\x80\xa9",
    "CR LF . LF with bit 8": b"\x8d\x8a.\x8d\x8a",
    "CR LF . with bit 8": b"\r\n\xae\r\n",
    "fullwidth full stop": b"\r\n\xef\xbc\x8e\r\n",
    "overlong dot": b"\r\n\xc0\xae\r\n",
    "overlong CR LF": b"\xc0\x8d\xc0\x8a.\xc0\x8d\xc0\x8a",
    "UTF-16 in disguise": b"\0\r\0\n\0.\0\r\0\n",
    "BDAT's end": b"\r\n.\r\nRSET\r\nBDAT 0 LAST",
}  # fmt: skip


def _at_boundaries():
    """The most dangerous ends, with their first break as the last byte of a buffer of every usual size, and one later."""
    for size in BUFFERS:
        for name in ("CR . CR LF", "LF . LF", "CR LF . CR LF"):
            for late in (0, 1):
                room = size - len(HEADER) - 1 + late
                yield f"{name} across {size}+{late}", HEADER + b"x" * room + ENDS[name] + COMMANDS


BODIES = MappingProxyType(
    {
        **{name: HEADER + b"text" + end + COMMANDS for name, end in ENDS.items()},
        **{f"{name} first of all": end + COMMANDS for name, end in ENDS.items()},
        **{f"{name} last of all": HEADER + b"text" + end for name, end in ENDS.items()},
        "a dot first of all": b".\r\n" + COMMANDS,
        "a dot and LF first of all": b".\n" + COMMANDS,
        "a dot and CR first of all": b".\r" + COMMANDS,
        "a dot alone": b".",
        "a dot and CR alone": b".\r",
        "CR at the end": HEADER + b"text\r",
        "CR dot at the end": HEADER + b"text\r.",
        "LF dot at the end": HEADER + b"text\n.",
        "CR LF dot CR at the end": HEADER + b"text\r\n.\r",
        "only line breaks": b"\n\r\r\n\r\n\n\r",
        **dict(_at_boundaries()),
    }
)
