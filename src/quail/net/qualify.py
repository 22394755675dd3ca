"""Which names a host's name of the command line may stand for: $DNSREWRITEFILE, $LOCALDOMAIN, resolv.conf, in djb's way.

Rules are tried one after another, each on what the one before has made of the name:

    =name:new     the whole name             *suffix:new   what ends in suffix; that becomes new
    -suffix:new   what ends in suffix, as a whole          ?suffix:new   as *, if there is no . [ ] before suffix

A + in the result means several names: `www+.example.org+.example.net` is www.example.org, then www.example.net.
"""

import os
from _collections_abc import Mapping

from quail.errors import TemporaryError
from quail.oserrors import words

REWRITE_FILE = b"/etc/dnsrewrite"
RESOLV_CONF = b"/etc/resolv.conf"
_LARGEST = 1 << 20  # bytes of a file that are looked at


def candidates(name: bytes, rules: list[bytes]) -> list[bytes]:
    """The names to look up, in their order."""
    for rule in rules:
        name = _rewritten(name, rule)
    first, *ends = name.split(b"+")
    return [first + end for end in ends] if ends else [first]


def _rewritten(name: bytes, rule: bytes) -> bytes:
    kind, (suffix, colon, new) = rule[:1], rule[1:].partition(b":")
    if not colon or not name.lower().endswith(suffix.lower()):
        return name
    start = name[: len(name) - len(suffix)]
    if kind == b"=":
        return name if start else new
    if kind == b"-":
        return new
    if kind == b"*" or (kind == b"?" and not any(byte in start for byte in b".[]")):
        return start + new
    return name


def rules(environ: Mapping[bytes, bytes], hostname: bytes) -> list[bytes]:
    """The rules that count on this machine; TemporaryError if a file with rules is there and can't be read."""
    path = environ.get(b"DNSREWRITEFILE") or REWRITE_FILE
    text = _read(path)
    if text is not None:
        lines = [line.translate(None, b" \t\r") for line in text.split(b"\n")]
        return [line for line in lines if line[:1] not in {b"", b"#"}]
    domains = environ.get(b"LOCALDOMAIN")
    found = _searched(_read(RESOLV_CONF) or b"") if domains is None else domains.split()
    if not found and b"." in hostname:
        found = [hostname.partition(b".")[2]]
    # A dot at the end says that a name is whole.
    return [b"?:" + b"+".join(b"." + domain for domain in found), b"*.:"] if found else [b"*.:"]


def _searched(text: bytes) -> list[bytes]:
    for line in text.split(b"\n"):
        first, *rest = line.split() or [b""]
        if first in {b"domain", b"search"} and rest:
            return rest
    return []


def _read(path: bytes) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(_LARGEST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TemporaryError(f"unable to read {os.fsdecode(path)}: {words(error)}") from error
