"""Plays cases in a box: one served system home, a DNS server, and every host on port 25 of an address of its own."""

import contextlib
import re
import time

from tests.remote.boxnet import local_prefix, own_address
from tests.remote.cases import OURS, REFUSED, SILENT
from tests.remote.dnsserver import DnsServer
from tests.remote.smtphost import Hosts, Silence, bind
from tests.system.harness import short_path

from quail.message.logtext import safe
from quail.queue.handover import Client

OWN_ADDRESSES = ("10.67.0.1", "fd67::1")  # of the box's interface
FOUR, SIX = "10.66", "fd66:"


class Told:
    """What the log tells of remote deliveries, read as it grows: message -> recipient -> reports."""

    def __init__(self, log):
        self._log, self._read = log, 0
        self._running = {}
        self.reports, self.ended, self.bounced, self.sizes = {}, set(), set(), {}

    def look(self):
        lines = self._log.lines
        for line in lines[self._read :]:
            self._read += 1
            if match := re.match(r"starting delivery (\d+): msg (\d+) to remote (.*)", line):
                self._running[match[1]] = int(match[2]), match[3]
            elif match := re.match(r"delivery (\d+): (.*)", line):
                if match[1] in self._running:
                    number, recipient = self._running.pop(match[1])
                    self.reports.setdefault(number, {}).setdefault(recipient, []).append(match[2])
            elif match := re.match(r"info msg (\d+): bytes (\d+) ", line):
                self.sizes[int(match[1])] = int(match[2])
            elif match := re.match(r"end msg (\d+)", line):
                self.ended.add(int(match[1]))
            elif match := re.match(r"bounce msg (\d+) ", line):
                self.bounced.add(int(match[1]))
        return self


class Stage:
    def __init__(self, home, cases, *, ipv6=True):
        """A home that has not been started yet; control files that do not belong to a case are set already."""
        self.home, self.cases, self.ipv6 = home, cases, ipv6
        self._closing = contextlib.ExitStack()
        self.hosts = self._closing.enter_context(Hosts())
        self._client = None
        self._number()
        home.in_network(self._network)
        self._open()
        self._routes()
        home.control("listen", "smtp 127.0.0.1:25")
        home.box.run(["sh", "-c", "echo nameserver 127.0.0.1 > /etc/resolv.conf"])

    def _number(self):
        for number, case in enumerate(self.cases):
            case.domain = case.domain or f"c{number:03}.test"
            for place, letter in enumerate(case.hosts):
                case.addresses[letter] = f"{FOUR}.{number // 4}.{number % 4 * 64 + place + 1}"
                case.addresses[letter + "6"] = f"{SIX}{number:x}::{place + 1:x}"
                if case.hosts[letter] == OURS:
                    case.addresses[letter], case.addresses[letter + "6"] = OWN_ADDRESSES

    def _network(self):
        local_prefix(f"{FOUR}.0.0/16")
        own_address(OWN_ADDRESSES[0])
        if self.ipv6:
            local_prefix(f"{SIX}:/16")
            own_address(OWN_ADDRESSES[1])
        self.dns = self._closing.enter_context(DnsServer(port=53))

    def _open(self):
        places, silent = [], []
        for case in self.cases:
            for letter, host in case.hosts.items():
                kinds = case.on.get(letter, "4")
                names = [letter] * ("4" in kinds) + [letter + "6"] * ("6" in kinds and self.ipv6)
                for name in names:
                    address = case.addresses[name]
                    if host == SILENT:
                        silent.append((address, 25))
                    elif host not in (REFUSED, OURS):
                        places.append((host, address, case.ports.get(letter, host.port)))
            self.dns.add(*case.records())
            for name, behaviour in case.behaviours():
                self.dns.behave(name, behaviour)

        def make():
            self._closing.callback(Silence(*silent).close)
            return [(host, bind(address, port)) for host, address, port in places]

        self.hosts.serve(self.home.in_network(make))

    def _routes(self):
        lines = [case.fill(line) for case in self.cases for line in case.routes.splitlines()]
        if lines:
            self.home.control("smtproutes", "\n".join(lines))

    def play(self):
        """Serve, send everything, and wait until every recipient has a report; what has two parts is sent in two."""
        self.home.start()
        self.told = Told(self.home.log)
        self._client = Client(f"{self._closing.enter_context(short_path(self.home.path / 'run'))}/queue.sock")
        self._closing.callback(self._client.close)
        for case in self.cases:
            for message in case.messages[: 1 if case.one_after_another else None]:
                self.send(case, message)
        for case in self.cases:
            if case.one_after_another:
                for message in case.messages[1:]:
                    self.wait(case)
                    self.send(case, message)
        for case in self.cases:
            self.wait(case)

    def send(self, case, message):
        """One message; its number and its recipients, as the log shows them, are kept with the case."""
        recipients = [self._address(case, to) for to in message.to]
        sender = case.fill(message.sender).encode("utf-8", "surrogateescape")
        reply = self._client.send(sender, recipients, [message.text], message.attributes)
        assert reply.letter == b"K", reply.text
        case.numbers.append(int(reply.text))
        case.sent.append((time.time(), [safe(recipient) for recipient in recipients]))

    @staticmethod
    def _address(case, to):
        address = to if "@" in to else f"{to}@{case.domain}"
        return case.fill(address).encode("utf-8", "surrogateescape")

    def wait(self, case):
        def settled():
            reports = self.told.look().reports
            return all(
                set(recipients) <= set(reports.get(number, ()))
                for number, (_, recipients) in zip(case.numbers, case.sent, strict=True)
            )

        self.home.until(settled, f"reports of {case.name!r} {case.numbers} {case.sent}")

    def show(self, number):
        """The queue's description of a message, None if it is not there any more."""
        return self.home.ask({"do": "show", "number": number}).get("message")

    def close(self):
        self._closing.close()


def check(stage, case):
    """Everything that a row of the table says."""
    case.sizes, case.dns = stage.told.sizes, stage.dns
    for number, (when, recipients) in zip(case.numbers, case.sent, strict=True):
        reports = stage.told.reports[number]
        assert {recipient: reports[recipient][0] for recipient in recipients} == {
            recipient: logged(case.wanted(recipient, number)) for recipient in recipients
        }
        texts = [reports[recipient][0] for recipient in recipients]
        waiting = any(text.startswith("deferral: ") for text in texts)
        if waiting:
            # facts 7.3: birth + (floor(sqrt(age)) + 20) squared; nothing here takes a minute.
            described = stage.show(number)
            assert 400 <= described["next_remote"] - int(when) <= 27**2 + 1
            assert number not in stage.told.ended
            left = {text for text, done in ((r["address"], r["done"]) for r in described["recipients"]) if not done}
            assert len(left) == sum(text.startswith("deferral: ") for text in texts)
        else:
            stage.home.until(lambda number=number: number in stage.told.look().ended, f"the end of {number}")
            assert (number in stage.told.bounced) == any(text.startswith("failure: ") for text in texts)
    for letter, host in case.hosts.items():
        if isinstance(host, str):
            continue
        assert not host.faults, f"host {letter}"
        if letter in case.seen:
            heard = [re.sub(r" ?QUIT$", "", connection.verbs()) for connection in host.connections]
            assert "|".join(heard) == case.seen[letter], f"host {letter}"
    if case.look:
        case.look(case)


def logged(text):
    """A report as the log has it; the word at its front stays apart."""
    letter, _, rest = text.partition(": ")
    return f"{letter}: {safe(rest.encode('latin-1'))}"
