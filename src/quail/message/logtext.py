"""Foreign text made safe for a log: bytes for one word of a line (qmail-log(5)), names of files for anywhere in it."""

_SAFE = bytes(
    ord("/") if byte == ord("\n") else byte if 33 <= byte <= 126 and byte != ord("%") else ord("_")
    for byte in range(256)
)


def safe(text: bytes) -> str:
    """LF becomes "/"; blanks, control bytes, "%" and bytes above 126 become "_". So an ASCII word, or nothing."""
    return text.translate(_SAFE).decode("ascii")


def escaped(text: str) -> str:
    """What would end a line, direct a terminal or can't be shown becomes what Python would write in a string. A byte that
    is no UTF-8, by way of os.fsdecode, becomes a lone surrogate's number.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def escaped_but_bytes(text: str) -> str:
    """As escaped(), but for tabs, and for bytes that are no UTF-8: os.fsencode can make them again."""
    if text.isprintable():
        return text
    return "".join([char if char == "\t" or "\udc80" <= char <= "\udcff" else _shown(char) for char in text])


_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _shown(char: str) -> str:
    """Without the codec of this name: Python loads it when it is first needed, which a process that has changed its account may
    not be able to.
    """
    if char.isprintable():
        return char
    code = ord(char)
    return _SHORT.get(char) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )
