"""control/smtproutes: which hosts' mail goes to a relay instead of to where the DNS sends it."""

from collections.abc import Mapping

from quail.control.routes import Relay, parse_relay


class SmtpRoutes:
    """Names are whole hosts, `.suffix` for all below it, or empty for every host; the most particular one decides."""

    __slots__ = ("_relays",)

    def __init__(self, pairs: Mapping[bytes, bytes], path: str) -> None:
        """Entries as Control.pairs gives them, names in lower case. ConfigError, of `path`, for one that names no relay."""
        self._relays = {name: parse_relay(path, 0, value) for name, value in pairs.items()}

    def relay(self, host: bytes) -> Relay | None:
        """Where mail for the host goes; None if its MX records decide, as an entry without a relay asks for, too."""
        host = host.lower()
        relays = self._relays
        if not relays:
            return None
        if host in relays:
            return relays[host]
        at = host.find(b".")
        while at >= 0:
            if host[at:] in relays:
                return relays[host[at:]]
            at = host.find(b".", at + 1)
        return relays.get(b"")
