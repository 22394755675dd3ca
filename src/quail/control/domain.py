"""The name of a host that mail is set up for, and what follows from it: for quail init --system, config and config-fast."""

from quail.errors import UsageError

LOCAL_ONLY = "localhost"  # for a machine that keeps its mail to itself
_LONGEST_NAME, _LONGEST_LABEL = 253, 63  # RFC 1035 s2.3.4, without the lengths on the wire
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


def fit_domain(text: str) -> str:
    """The name as it is kept, in lower case and without a last dot. UsageError if it is no full name (RFC 1035 s2.3.1)."""
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if not name.isascii():
        raise UsageError(f"{text!r} is not written as the DNS has it: give the form that begins with xn--")
    if name == LOCAL_ONLY:
        return name
    if len(name) > _LONGEST_NAME or any(not 0 < len(label) <= _LONGEST_LABEL for label in labels):
        raise UsageError(
            f"{text!r} is no domain name: a part of it is empty or longer than {_LONGEST_LABEL}, or all is too long"
        )
    strange = next((char for char in name if char != "." and char not in _LETTERS), None)
    if strange is not None or any(label[0] == "-" or label[-1] == "-" for label in labels):
        raise UsageError(f"{text!r} is no domain name: its parts are made of letters, digits and inner hyphens")
    if labels[-1].isdigit():
        raise UsageError(f"{text!r} is an address: give the name of this host, like mail.example.com")
    if len(labels) == 1:
        raise UsageError(
            f"{text!r} is not a full name: give one like mail.example.com, or localhost for a machine that keeps its mail"
            " to itself"
        )
    return name


def default_domain(name: str) -> str:
    """What a host name without a dot is completed with: as config-fast has it, what is behind the first label.

    But never a name that is likely to be no one's own, like co.uk: mail would go to strangers.
    """
    rest = name.partition(".")[2]
    return name if "." not in rest or _is_shared(rest.split(".")) else rest


def plus_domain(name: str) -> str:
    """What a host name that ends in a plus sign is completed with: its last two labels, or three as above."""
    labels = name.split(".")
    return ".".join(labels[-3:] if _is_shared(labels[-2:]) else labels[-2:])


def _is_shared(labels: list[str]) -> bool:
    return len(labels) == 2 and len(labels[1]) == 2 and len(labels[0]) <= 3
