"""Which dot-qmail files speak for an address, in order of preference (dot-qmail(5)). Names only: nothing is opened here."""

_DEFAULT = b"default"
_DASH = ord("-")


def name(dash: bytes, ext: bytes) -> bytes:
    """The file of exactly this extension: `.qmail`, dash, ext in lower case with ":" for each dot, so never a way up."""
    return b".qmail" + dash + _safe(ext)


def candidates(dash: bytes, ext: bytes) -> list[tuple[bytes, bytes | None]]:
    """(file name, what the environment calls DEFAULT if it is this file) of the exact file and of each `default` file.

    DEFAULT is the part of the extension, in its own letter case, that `default` stands for; None: it is not set.
    """
    safe = _safe(ext)
    exact = ext[-len(_DEFAULT) :] if safe.endswith(_DEFAULT) else None
    start = b".qmail" + dash
    ends = [end for end in range(len(safe), 0, -1) if safe[end - 1] == _DASH]
    defaults = [(start + safe[:end] + _DEFAULT, ext[end:]) for end in (*ends, 0)]
    return [(start + safe, exact), *defaults]


def _safe(ext: bytes) -> bytes:
    return ext.lower().replace(b".", b":")
