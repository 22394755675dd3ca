"""control/qmqpservers: the hosts that take this host's mail (quail.control.endpoints)."""

from quail.control.endpoints import Server, parse_server, parse_servers
from quail.control.reader import parse_list
from quail.errors import ConfigError

QMQP_PORT = 628
_WORDS = (QMQP_PORT, "a QMQP server", "192.0.2.7:2628 or [2001:db8::7]:2628")


def parse_qmqpservers(path: str, data: bytes) -> list[Server]:
    """The servers in their order. ConfigError for a line that is none."""
    return parse_servers(path, data, *_WORDS)


def usable_qmqpservers(path: str, data: bytes) -> list[Server]:
    """The same without the lines that are none, as qmail-qmqpc does: mail should not stop for one of them."""
    found = []
    for number, line in parse_list(path, data):
        try:
            found.append(parse_server(path, number, line, *_WORDS))
        except ConfigError:
            continue
    return found
