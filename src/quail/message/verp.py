"""Variable envelope return paths: a sender `list-@host-@[]` is different for each recipient (qmail's addresses(5))."""

_MARK = b"-@[]"


def expand(sender: bytes, recipient: bytes) -> bytes:
    """The sender for the delivery to this recipient: `pre@host-@[]` and `box@dom` give `prebox=dom@host`.

    Any other sender, and a recipient without "@", leave the sender as it is.
    """
    if not sender.endswith(_MARK):
        return sender
    prefix, at, host = sender[: -len(_MARK)].rpartition(b"@")
    box, has_domain, domain = recipient.rpartition(b"@")
    if not (at and has_domain):
        return sender
    return b"".join((prefix, box, b"=", domain, b"@", host))


def bounce_to(sender: bytes) -> bytes:
    """Where bounces for all of the message go: the sender without the mark of VERP; empty if there is nobody to tell."""
    return sender.removesuffix(_MARK)
