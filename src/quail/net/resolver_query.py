"""One question to one name server, and what an answer says.

A socket of its own for each question has a port that the kernel chose, which is half of what a forger has to guess; the other
half is the random id. Whatever does not fit the question is not looked at further, and the wait goes on.
"""

import asyncio
import os
import socket
import struct
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass

# The types that answers are made of: loaded here, since a service may not be able to load anything later.
import dns.rdtypes.ANY.CNAME
import dns.rdtypes.ANY.MX
import dns.rdtypes.ANY.OPT
import dns.rdtypes.ANY.PTR
import dns.rdtypes.ANY.SOA
import dns.rdtypes.ANY.TXT
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import idna
import idna.uts46data  # idna would load it when it is first needed
from dns.rdatatype import AAAA, CNAME, MX, OPT, PTR, SOA, TXT, A, RdataType

from quail.control.nameservers import Server
from quail.errors import PermanentError
from quail.net.resolver_wire import Record, plain

__all__ = [
    "AAAA",
    "MX",
    "PTR",
    "TXT",
    "A",
    "Answer",
    "NoSuchHost",
    "Record",
    "ServerFailed",
    "ask",
    "plain_name",
    "read",
]

MOST_LINKS = 16  # of a CNAME chain
_PAYLOAD = 1232  # bytes of a UDP answer that no network has to cut: what DNS servers agreed on in 2020
_LONGEST_DATAGRAM = 65_535
_OPT = struct.pack("!BHHIH", 0, OPT, _PAYLOAD, 0, 0)  # RFC 6891 s6.1.2
_HEADER = 12
_ANSWERS, _ADDITIONAL = slice(6, 8), slice(10, 12)  # in it: how many records these sections have
_NONE = b"\0\0"
_RESPONSE = 0x80  # in the third byte of a message, with the bits of the opcode
_CUT = 0x02  # there too
_LONGEST_NAME = 253  # in text; 255 on the wire, RFC 1035 s2.3.4
_LONGEST_LABEL = 63
_LONGEST_UNICODE = 1000  # bytes of UTF-8; no longer name has A-labels that fit
_IN_NAMES = bytes(byte for byte in range(33, 127) if byte != ord("\\"))
_NO_SOA = 60  # seconds that "there is none" holds if the answer does not say
_LONGEST_TTL = 86_400
_LONGEST_NEGATIVE = 300


class NoSuchHost(PermanentError):  # noqa: N818  a finding, named as postmasters say it
    """The name does not exist, or can't be one of the DNS."""


class ServerFailed(Exception):  # noqa: N818  told apart from TimeoutError and OSError, which are the network's
    """The server has answered, but with nothing that helps; another one may."""


class Answer:
    """What a server says. `exists` False: there is no such name. `follow`: where the answer ends for lack of knowledge."""

    __slots__ = ("exists", "follow", "links", "records", "ttl")

    def __init__(
        self, records: tuple[Record, ...], ttl: float, *, exists: bool, links: int, follow: dns.name.Name | None
    ) -> None:
        """`ttl` is in seconds; `links` is how many CNAME records led here."""
        self.records, self.ttl, self.exists, self.links, self.follow = records, ttl, exists, links, follow


def plain_name(host: bytes) -> bytes:
    """The name as the DNS knows it: A-labels, lower case, no dot at the end. NoSuchHost if it can't be a name of the DNS."""
    try:
        text = host if host.isascii() else _a_labels(host)
    except UnicodeError as error:  # IDNAError is one
        raise _impossible(host) from error
    name = text.removesuffix(b".").lower()
    if len(name) > _LONGEST_NAME or name.translate(None, _IN_NAMES):
        raise _impossible(host)
    if not all(0 < len(label) <= _LONGEST_LABEL for label in name.split(b".")):
        raise _impossible(host)
    return name


def _a_labels(host: bytes) -> bytes:
    if len(host) > _LONGEST_UNICODE:
        raise UnicodeError
    return idna.encode(host.decode(), uts46=True)


def _impossible(host: bytes) -> NoSuchHost:
    return NoSuchHost(f"{host[:300].decode('ascii', 'backslashreplace')} cannot be the name of a host")


def wire_name(name: bytes) -> dns.name.Name:
    """Of a plain name."""
    return dns.name.Name((*name.split(b"."), b""))


class _Query:
    """A question as it is sent, `wire`. Made here, not by the library, which takes as long for it as for reading the answer."""

    __slots__ = ("question", "wire")

    def __init__(self, name: dns.name.Name, kind: RdataType, edns: bool) -> None:
        self.question = b"".join(bytes([len(label)]) + label for label in name.labels) + struct.pack(
            "!HH", kind, dns.rdataclass.IN
        )
        header = os.urandom(2) + struct.pack("!HHHHH", dns.flags.RD, 1, 0, 0, edns)
        self.wire = header + self.question + (_OPT if edns else b"")

    def fits(self, answer: bytes) -> bool:
        """Whether it answers this question. A server that could not read the question may leave it out of its complaint."""
        if len(answer) < _HEADER or answer[:2] != self.wire[:2] or answer[2] & 0xF8 != _RESPONSE:
            return False
        questions = int.from_bytes(answer[4:6], "big")
        if not questions:
            return answer[3] & 0x0F != dns.rcode.NOERROR
        asked = answer[_HEADER : _HEADER + len(self.question)]
        return questions == 1 and asked.lower() == self.question.lower()


async def ask(
    server: Server, name: dns.name.Name, kind: RdataType, *, edns: bool, tcp: bool, patience: float
) -> Answer:
    """What the server says of the name: NOERROR or NXDOMAIN, whole.

    UDP unless `tcp`, then TCP if it was cut. TimeoutError after `patience` seconds; OSError; ServerFailed.
    """
    query = _Query(name, kind, edns)
    async with asyncio.timeout(patience):
        data = None if tcp else await _over_udp(server, query)
        if data is None:
            data = await _over_tcp(server, query)
    found = plain(data, query.question, kind)
    if found is not None:
        records, ttl = found
        return Answer(records, max(1, min(_LONGEST_TTL, ttl)), exists=True, links=0, follow=None)
    message = _parse(data)
    code = message.rcode()
    if edns and code in {dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS}:
        return await ask(server, name, kind, edns=False, tcp=tcp, patience=patience)
    if code not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
        raise ServerFailed(f"says {dns.rcode.to_text(code)}")
    if not message.answer and not message.flags & (dns.flags.RA | dns.flags.AA):
        raise ServerFailed("knows nothing and asks nobody")  # a lame delegation, or no resolver at all
    return read(message, name, kind)


def _socket(server: Server, kind: socket.SocketKind) -> tuple[socket.socket, tuple[Any, ...]]:
    """A non-blocking socket and the server's address. No name is looked up. OSError, also for a scope that is no interface."""
    family, _, _, _, address = socket.getaddrinfo(
        *server, type=kind, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    )[0]
    made = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    return made, address


async def _over_udp(server: Server, query: _Query) -> bytes | None:
    """None: the answer was cut."""
    loop = asyncio.get_running_loop()
    sock, address = _socket(server, socket.SOCK_DGRAM)
    with sock:
        sock.connect(address)  # so that only this address is heard, and its refusals too
        sock.send(query.wire)
        while True:
            data = await loop.sock_recv(sock, _LONGEST_DATAGRAM)
            if query.fits(data):
                return None if data[2] & _CUT else data


async def _over_tcp(server: Server, query: _Query) -> bytes:
    loop = asyncio.get_running_loop()
    sock, address = _socket(server, socket.SOCK_STREAM)
    with sock:
        await loop.sock_connect(sock, address)
        await loop.sock_sendall(sock, len(query.wire).to_bytes(2, "big") + query.wire)
        data = bytearray()
        while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
            more = await loop.sock_recv(sock, _LONGEST_DATAGRAM)
            if not more:
                raise ServerFailed("closes the connection")
            data += more
    answer = bytes(data[2 : 2 + int.from_bytes(data[:2], "big")])
    if not query.fits(answer) or answer[2] & _CUT:
        raise ServerFailed("gives no whole answer")
    return answer


def _parse(data: bytes) -> dns.message.Message:
    if data[_ANSWERS] != _NONE:
        # The additional section says nothing about an answer, and the library takes as long for it as for the rest.
        data = data[: _ADDITIONAL.start] + _NONE + data[_HEADER:]
    try:
        return dns.message.from_wire(data, ignore_trailing=True)
    except Exception as error:  # foreign bytes: whatever the library makes of them, they are no answer
        raise ServerFailed("answers with rubbish") from error


def read(message: dns.message.Message, name: dns.name.Name, kind: RdataType) -> Answer:
    """What the answer says of a name, CNAME chains followed as far as they go; TTLs as this resolver keeps them.

    ServerFailed for a chain that is too long, or never ends.
    """
    wanted = {each.name: each for each in message.answer if each.rdtype == kind and each.rdclass == dns.rdataclass.IN}
    chain = {each.name: each for each in message.answer if each.rdtype == CNAME and each.rdclass == dns.rdataclass.IN}
    ttl, links, owner = _LONGEST_TTL, 0, name
    while owner not in wanted and owner in chain:
        link = chain[owner]
        ttl, links, owner = min(ttl, link.ttl), links + 1, link[0].target
        if links > MOST_LINKS:
            raise ServerFailed("has too long a chain of aliases")
    found = wanted.get(owner)
    exists = message.rcode() != dns.rcode.NXDOMAIN
    if found is not None:
        records = tuple(_record(rdata, kind) for rdata in found)
        return Answer(records, max(1, min(ttl, found.ttl)), exists=True, links=links, follow=None)
    soa = next((each for each in message.authority if each.rdtype == SOA), None)
    least = min(soa.ttl, soa[0].minimum) if soa is not None else _NO_SOA  # RFC 2308 s5
    follow = owner if links and soa is None and exists else None
    return Answer((), max(1, min(ttl, least, _LONGEST_NEGATIVE)), exists=exists, links=links, follow=follow)


def _record(rdata: object, kind: RdataType) -> Record:
    if isinstance(rdata, dns.rdtypes.IN.A.A | dns.rdtypes.IN.AAAA.AAAA):
        return str(rdata.address)
    if isinstance(rdata, dns.rdtypes.ANY.MX.MX):
        return rdata.preference, _text(rdata.exchange)
    if isinstance(rdata, dns.rdtypes.ANY.PTR.PTR):
        return _text(rdata.target)
    if isinstance(rdata, dns.rdtypes.ANY.TXT.TXT):
        return b"".join(rdata.strings)
    raise ServerFailed(f"has a malformed {kind.name} record")


def _text(name: dns.name.Name) -> bytes:
    """A name as bytes; unusual bytes come out with backslashes, which plain_name() does not take."""
    return name.to_text(omit_final_dot=True).encode().lower() if name != dns.name.root else b""
