"""A DNS server that does what a test says: UDP and TCP on one port, in a thread of its own; or a process of its own.

    with DnsServer("example.test MX 10 mx.example.test", "mx.example.test 60 A 192.0.2.1") as server:
        server.behave("dead.test", "servfail")
        ... ask server.place, which is (address, port) ...
        assert server.count("example.test", "MX") == 1

A record is a line `NAME [TTL] TYPE DATA`, names absolute with or without a dot at the end. A NAME `*.example.test` stands for
every name below that has no records of its own, at any depth, and `{name}` in DATA for the name that was asked for.
A name with other types is answered with nothing, a name that isn't there with NXDOMAIN; both with the SOA of `negative`.

Behaviours, for a name, for `NAME TYPE`, or for `*` (in this order; with `times`, only for so many questions):

    servfail nxdomain refused formerr notimp     that code, without records
    silent             no answer            hold            none before release()
    late:SECONDS       the answer, later    lame            no records, from one who is no resolver
    empty              no records, no SOA   garbage         bytes that are no DNS message, with the right id
    first-link         of a chain of CNAME records the first alone
    truncate           TC and no records over UDP, everything over TCP
    truncate-all       so over TCP too      tcp-close       TC over UDP; TCP is closed without a word
    tcp-silent         TC over UDP; TCP gets no answer
    no-edns            FORMERR as long as there is an OPT record
    edns-silent        no answer as long as there is an OPT record
    wrong-id wrong-question                      first an answer that others might have sent, with the address 192.0.2.66
    wrong-id-only                                nothing but that

As a process: python dnsserver.py [ADDRESS:PORT] < zone, which prints `ready ADDRESS PORT` and serves until it is ended.
The zone is lines of records, `behave NAME[ TYPE] BEHAVIOUR` and `#` comments; or JSON {"records": [...], "behaviours": {...}}.

Needs dnspython and the standard library only. Answers are kept encoded until something is changed, so that a benchmark may ask.
"""

import heapq
import json
import os
import selectors
import socket
import struct
import sys
import threading
import time
from typing import NamedTuple

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

CODES = ("servfail", "nxdomain", "refused", "formerr", "notimp")
OTHERS = (
    *(
        "silent",
        "hold",
        "lame",
        "empty",
        "first-link",
        "garbage",
        "truncate",
        "truncate-all",
        "tcp-close",
        "tcp-silent",
    ),
    *("no-edns", "edns-silent", "wrong-id", "wrong-question", "wrong-id-only"),
)
MOST_LINKS = 20  # of a CNAME chain in one answer
EVERYTHING = 65_535


class Question(NamedTuple):
    """The name without the dot at its end, in lower case; the type's mnemonic; over TCP?; with an OPT record?"""

    name: str
    type: str
    tcp: bool
    edns: bool


class DnsServer:
    """Sockets are bound when it is made (in whatever network the thread is in); start() and close(), or `with`."""

    def __init__(self, *records, address="127.0.0.1", port=0, tcp=True, behaviours=None):
        """tcp=False: nobody listens there."""
        self.questions = []
        self.negative = 60  # TTL and minimum of the SOA in a negative answer; None: no SOA
        self.keep_questions = True
        self._lock = threading.Lock()
        self._zone = {}
        self._wild = {}
        self._names = set()
        self._behaviours = {}
        self._encoded = {}
        self._held = []
        self._later = []
        self._news, self._wake = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._thread = None
        self._bind(address, port, tcp)
        self.add(*records)
        for name, behaviour in (behaviours or {}).items():
            self.behave(name, behaviour)

    def _bind(self, address, port, tcp):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for attempt in range(20):
            udp = socket.socket(family, socket.SOCK_DGRAM)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            udp.bind((address, port))
            self.address, self.port = udp.getsockname()[:2]
            self._udp, self._listener = udp, None
            if not tcp:
                break
            listener = socket.socket(family, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((address, self.port))
            except OSError:  # the port that UDP was given is somebody's in TCP
                listener.close()
                udp.close()
                if port or attempt == 19:
                    raise
                continue
            listener.listen(100)
            listener.setblocking(False)
            self._listener = listener
            break
        self._udp.setblocking(False)

    # The script.

    @property
    def place(self):
        return self.address, self.port

    def add(self, *lines):
        """Records, each a line; several lines in one text are several records."""
        with self._lock:
            for text in lines:
                for line in text.splitlines():
                    if line.strip() and not line.lstrip().startswith("#"):
                        self._add(line.split())
            self._encoded.clear()

    def _add(self, words):
        name = words.pop(0).rstrip(".").lower()
        ttl = int(words.pop(0)) if words[0].isdigit() else 3600
        kind, data = words[0].upper(), " ".join(words[1:])
        if name.startswith("*."):
            self._wild.setdefault(name[1:], {}).setdefault(kind, []).append((ttl, data))
            self._names.add(name[2:])
            return
        self._zone.setdefault(name, {}).setdefault(kind, []).append((ttl, _rdata(kind, data)))
        labels = name.split(".")
        self._names.update(".".join(labels[at:]) for at in range(len(labels)))

    def remove(self, name, kind=None):
        """All records of a name, or those of one type; the name stays known."""
        with self._lock:
            records = self._zone.get(name.rstrip(".").lower(), {})
            if kind is None:
                records.clear()
            else:
                records.pop(kind.upper(), None)
            self._encoded.clear()

    def behave(self, name, *behaviours, times=None):
        """Several behaviours: one after another, each for one question (or `times` each), the last for ever without `times`."""
        key = name if name == "*" else " ".join([(words := name.split())[0].rstrip(".").lower(), *words[1:]])
        queue = []
        for behaviour in behaviours:
            if behaviour not in CODES + OTHERS and not behaviour.startswith("late:"):
                raise ValueError(behaviour)
            last = behaviour is behaviours[-1]
            queue.append([behaviour, times if times is not None else None if last else 1])
        with self._lock:
            self._behaviours[key] = queue
            self._encoded.clear()

    def normal(self, name="*"):
        """Forget a behaviour."""
        with self._lock:
            self._behaviours.pop(name.rstrip(".").lower() if name != "*" else name, None)
            self._encoded.clear()

    def release(self):
        """Give the answers that were held, as the zone is now; later questions are answered at once."""
        with self._lock:
            for key in [key for key, queue in self._behaviours.items() if queue and queue[0][0] == "hold"]:
                del self._behaviours[key]
            held, self._held = self._held, []
            for connection, peer, wire in held:
                heapq.heappush(self._later, (0.0, id(wire), connection, peer, wire))
        self._wake.send(b"!")

    def count(self, name=None, kind=None, *, tcp=None):
        """How many questions were asked; None is any."""
        name = name and name.rstrip(".").lower()
        return sum(
            (name is None or asked.name == name)
            and (kind is None or asked.type == kind)
            and (tcp is None or asked.tcp == tcp)
            for asked in list(self.questions)
        )

    def until(self, condition, patience=30.0):
        """Wait until condition() is true: for tests, where questions come from elsewhere."""
        deadline = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain; asked were {self.questions[-50:]}"
            threading.Event().wait(0.005)

    # Life.

    def start(self):
        self._selector.register(self._udp, selectors.EVENT_READ, self._udp_ready)
        if self._listener is not None:
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._news, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def close(self):
        """All sockets are closed: from now on nobody is there."""
        if self._thread is not None:
            self._wake.send(b"x")
            self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()
        for sock in (self._udp, self._listener, self._news, self._wake):
            if sock is not None:
                sock.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def _run(self):
        while True:
            wait = max(0.0, self._later[0][0] - time.monotonic()) if self._later else None
            for key, _ in self._selector.select(wait):
                if key.fileobj is self._news:
                    if b"x" in self._news.recv(100):
                        return
                elif key.data is not None:
                    key.data(key.fileobj)
            with self._lock:
                now, due = time.monotonic(), []
                while self._later and self._later[0][0] <= now:
                    due.append(heapq.heappop(self._later)[2:])
                for connection, peer, wire in due:
                    self._send(connection, peer, self._truth(wire, connection))

    def _udp_ready(self, udp):
        for _ in range(200):
            try:
                wire, peer = udp.recvfrom(EVERYTHING)
            except (BlockingIOError, ConnectionError):
                return
            self._serve(wire, None, peer)

    def _accept(self, listener):
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        received = bytearray()

        def ready(connection):
            try:
                data = connection.recv(EVERYTHING)
            except OSError:
                data = b""
            if not data:
                self._drop(connection)
                return
            received.extend(data)
            while len(received) >= 2 and len(received) >= 2 + (size := int.from_bytes(received[:2], "big")):
                wire = bytes(received[2 : 2 + size])
                del received[: 2 + size]
                self._serve(wire, connection, None)

        self._selector.register(connection, selectors.EVENT_READ, ready)

    def _drop(self, connection):
        try:
            self._selector.unregister(connection)
        except KeyError:
            pass
        connection.close()

    def _send(self, connection, peer, wire):
        try:
            if connection is None:
                self._udp.sendto(wire, peer)
            elif connection.fileno() >= 0:
                connection.settimeout(10)
                connection.sendall(struct.pack("!H", len(wire)) + wire)
                connection.setblocking(False)
        except OSError:
            pass

    # Answers.

    def _serve(self, wire, connection, peer):
        with self._lock:
            known = self._encoded.get((wire[2:], connection is None))
            if known is not None:
                asked, answer = known
                if self.keep_questions:
                    self.questions.append(asked)
                self._send(connection, peer, wire[:2] + answer)
                return
            try:
                query = dns.message.from_wire(wire)
                question = query.question[0]
            except Exception:
                return  # no question, no answer
            name = question.name.to_text(omit_final_dot=True).lower()
            kind = dns.rdatatype.to_text(question.rdtype)
            asked = Question(name, kind, connection is not None, query.edns >= 0)
            if self.keep_questions:
                self.questions.append(asked)
            behaviour = self._behaviour(name, kind)
            if behaviour is None:
                answer = self._truth(wire, connection)
                if len(self._encoded) > 200_000:
                    self._encoded.clear()
                self._encoded[wire[2:], connection is None] = (asked, answer[2:])
                self._send(connection, peer, answer)
            else:
                self._misbehave(behaviour, query, wire, connection, peer)

    def _behaviour(self, name, kind):
        for key in (f"{name} {kind}", name, "*"):
            queue = self._behaviours.get(key)
            if not queue:
                continue
            step = queue[0]
            if step[1] is not None:
                step[1] -= 1
                if step[1] <= 0:
                    queue.pop(0)
            return step[0]
        return None

    def _misbehave(self, behaviour, query, wire, connection, peer):
        tcp, reply, edns = connection is not None, dns.message.make_response(query), query.edns >= 0
        reply.flags |= dns.flags.RA
        answer = None
        if behaviour in CODES:
            reply.set_rcode(dns.rcode.from_text(behaviour.upper()))
            answer = reply.to_wire()
        elif behaviour in ("empty", "first-link"):
            if behaviour == "first-link":
                reply.answer += dns.message.from_wire(self._truth(wire, connection)).answer[:1]
            answer = reply.to_wire()
        elif behaviour == "lame":
            reply.flags &= ~dns.flags.RA
            answer = reply.to_wire()
        elif behaviour == "garbage":
            answer = wire[:2] + b"\x84" + bytes(range(100, 160))
        elif behaviour == "truncate-all" or (behaviour in ("truncate", "tcp-close", "tcp-silent") and not tcp):
            reply.flags |= dns.flags.TC
            answer = reply.to_wire()
        elif behaviour == "tcp-close":
            self._drop(connection)
        elif behaviour == "no-edns" and edns:
            plain = dns.message.make_response(query)
            plain.use_edns(False)
            plain.set_rcode(dns.rcode.FORMERR)
            answer = plain.to_wire()
        elif behaviour == "hold":
            self._held.append((connection, peer, wire))
        elif behaviour.startswith("late:"):
            at = time.monotonic() + float(behaviour.partition(":")[2])
            heapq.heappush(self._later, (at, id(wire), connection, peer, wire))
        elif behaviour in ("wrong-id", "wrong-id-only", "wrong-question"):
            self._send(connection, peer, _spoof(query, behaviour))
            answer = None if behaviour == "wrong-id-only" else self._truth(wire, connection)
        elif behaviour in ("truncate", "no-edns", "edns-silent"):
            answer = None if behaviour == "edns-silent" and edns else self._truth(wire, connection)
        if answer is not None:
            self._send(connection, peer, answer)

    def _truth(self, wire, connection):
        """The encoded answer that the zone gives."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        reply = dns.message.make_response(query, our_payload=1232)
        reply.flags |= dns.flags.RA
        if query.opcode() != dns.opcode.QUERY or question.rdclass != dns.rdataclass.IN:
            reply.set_rcode(dns.rcode.NOTIMP)
            return reply.to_wire()
        name, kind = question.name, dns.rdatatype.to_text(question.rdtype)
        for _ in range(MOST_LINKS):
            records = self._records(name.to_text(omit_final_dot=True).lower())
            if records is None or kind in records or "CNAME" not in records:
                break
            link = self._rrset(name, "CNAME", records)
            reply.answer.append(link)
            name = link[0].target
        else:
            records = {}
        if records and kind in records:
            reply.answer.append(self._rrset(name, kind, records))
        elif self.negative is not None:
            soa = f"ns.test. hostmaster.test. 1 3600 600 86400 {self.negative}"
            reply.authority.append(dns.rrset.from_text(name, self.negative, "IN", "SOA", soa))
        if records is None:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        if connection is not None:
            return reply.to_wire(max_size=EVERYTHING)
        try:
            return reply.to_wire(max_size=max(512, query.payload if query.edns >= 0 else 512))
        except dns.exception.TooBig:
            for section in (reply.answer, reply.authority):
                section.clear()
            reply.flags |= dns.flags.TC
            return reply.to_wire()

    def _records(self, name):
        """Type → records of a name; None if there is no such name."""
        records = self._zone.get(name)
        if records is not None:
            return records
        dot = name.find(".")
        while dot >= 0:
            wild = self._wild.get(name[dot:])
            if wild is not None:
                return {
                    kind: [(ttl, _rdata(kind, data.replace("{name}", name))) for ttl, data in found]
                    for kind, found in wild.items()
                }
            dot = name.find(".", dot + 1)
        return {} if name in self._names else None

    @staticmethod
    def _rrset(name, kind, records):
        rrset = dns.rrset.RRset(name, dns.rdataclass.IN, dns.rdatatype.from_text(kind))
        for ttl, rdata in records[kind]:
            rrset.add(rdata, ttl)
        return rrset


def _rdata(kind, data):
    return dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(kind), data, dns.name.root, relativize=False)


def _spoof(query, how):
    """The answer of somebody who has to guess."""
    name = query.question[0].name if how != "wrong-question" else dns.name.from_text("other.test")
    kind = "AAAA" if query.question[0].rdtype == dns.rdatatype.AAAA else "A"
    if query.question[0].rdtype == dns.rdatatype.MX:
        kind = "MX"
    forged = dns.message.make_query(name, kind, id=query.id if how == "wrong-question" else query.id ^ 0x5555)
    forged.flags |= dns.flags.QR | dns.flags.RA
    data = {"A": "192.0.2.66", "AAAA": "2001:db8::66", "MX": "1 evil.test."}[kind]
    forged.answer.append(dns.rrset.from_text(name, 3600, "IN", kind, data))
    return forged.to_wire()


def read_zone(server, text):
    """Fill a server from the text of a zone: see the top."""
    if text.lstrip().startswith("{"):
        zone = json.loads(text)
        server.add(*zone.get("records", ()))
        for name, behaviour in zone.get("behaviours", {}).items():
            server.behave(name, behaviour)
        return
    for line in text.splitlines():
        words = line.split()
        if words and words[0] == "behave":
            server.behave(" ".join(words[1:-1]), words[-1])
        else:
            server.add(line)


def main(arguments):
    address, _, port = (arguments[0] if arguments else "127.0.0.1:53").rpartition(":")
    server = DnsServer(address=address.strip("[]"), port=int(port))
    server.keep_questions = False  # it may be asked for days
    read_zone(server, sys.stdin.read())
    server.start()
    os.write(1, f"ready {server.address} {server.port}\n".encode())
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
