"""Foreign bytes made safe for one word of a log line (qmail-log(5))."""

_SAFE = bytes(
    ord("/") if byte == ord("\n") else byte if 33 <= byte <= 126 and byte != ord("%") else ord("_")
    for byte in range(256)
)


def safe(text: bytes) -> str:
    """LF becomes "/"; blanks, control bytes, "%" and bytes above 126 become "_". So an ASCII word, or nothing."""
    return text.translate(_SAFE).decode("ascii")
