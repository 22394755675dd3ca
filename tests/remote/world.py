"""Many hosts with a domain each, in the network of a system home that has not been started: for tests of load."""

import contextlib

from tests.remote.boxnet import local_prefix
from tests.remote.cases import SILENT
from tests.remote.dnsserver import DnsServer
from tests.remote.smtphost import Hosts, Silence, bind
from tests.system.harness import short_path

from quail.queue.handover import MAX_UNANSWERED, Client


@contextlib.contextmanager
def world(home, hosts):
    """hosts: domain -> SmtpHost, SILENT or REFUSED. Their addresses are the domains' only records."""
    home.control("listen", "smtp 127.0.0.1:25")
    home.box.run(["sh", "-c", "echo nameserver 127.0.0.1 > /etc/resolv.conf"])
    places = {domain: f"10.66.{number // 250}.{number % 250 + 1}" for number, domain in enumerate(hosts)}

    def network():
        local_prefix("10.66.0.0/16")
        dns = DnsServer(*(f"{domain} A {address}" for domain, address in places.items()), port=53)
        silence = Silence(*((places[domain], 25) for domain, host in hosts.items() if host == SILENT))
        scripted = [(host, bind(places[domain], 25)) for domain, host in hosts.items() if not isinstance(host, str)]
        return dns, silence, scripted

    dns, silence, scripted = home.in_network(network)
    dns.keep_questions = False
    with dns, contextlib.closing(silence), Hosts() as running:
        running.serve(scripted)
        yield


def send(home, envelopes, text=b"Subject: hello\n\nhello\n"):
    """Messages, handed to the queue as fast as it takes them: (sender, recipient) each."""
    with short_path(home.path / "run") as run:
        client = Client(f"{run}/queue.sock")
        unanswered = 0
        for sender, recipient in envelopes:
            client.submit(sender, [recipient], [text])
            unanswered += 1
            if unanswered == MAX_UNANSWERED:
                assert client.reply().letter == b"K"
                unanswered -= 1
        for _ in range(unanswered):
            assert client.reply().letter == b"K"
        client.close()


def pss(pids):
    """Proportional set size of processes, in bytes (proc(5), smaps_rollup)."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as file:
            total += next(int(line.split()[1]) << 10 for line in file if line.startswith("Pss:"))
    return total
