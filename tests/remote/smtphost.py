"""SMTP hosts that do as a script says, thousands at once, in a thread of their own.

    with Hosts() as hosts:
        port = hosts.open(host := SmtpHost(rcpt={"joe": "550 no such user"}))

They are strict: whatever a client of ours must never do is kept in SmtpHost.faults, and every transaction is kept as it came.
"""

import asyncio
import contextlib
import re
import socket
import threading
import time
from functools import partial

from tests.remote.hostactions import CLOSE, HANG, RESET, Act, Choice, action, lines

PATIENCE = 60.0  # seconds
IPV6_FREEBIND = 78  # ipv6(7): the address is local by a route only
MAX_COMMAND = 2048  # bytes; longer than any command of ours
KEYWORDS = ("PIPELINING", "8BITMIME", "SIZE 0", "SMTPUTF8")
_PARAMETER = {b"SIZE": re.compile(rb"\d+"), b"BODY": re.compile(rb"8BITMIME|7BIT"), b"SMTPUTF8": re.compile(rb"")}
_MAIL = re.compile(rb"(?i)MAIL FROM:(<[^\0-\x1f]*?>)((?: [^ ]+)*)")
_RCPT = re.compile(rb"(?i)RCPT TO:(<[^\0-\x1f]+>)")


class Transaction:
    """From MAIL to the answer after the dot. body: as it came, dots stuffed, without the final one."""

    def __init__(self, mail):
        self.mail = mail  # the whole command
        self.sender = b""  # between < and >
        self.recipients = []  # all that were asked for
        self.accepted = []
        self.body = None
        self.began = time.monotonic()
        self.ended = None  # when the final dot came, in time.monotonic()
        self.answered = None  # when the answer to it had been written
        self.good = False  # and it was a 2xx

    @property
    def text(self):
        """What the receiver reads, with LF."""
        return re.sub(rb"(?m)^\.", b"", self.body.replace(b"\r\n", b"\n"))


class Connection:
    """What was said on one connection."""

    def __init__(self, local, peer):
        self.local, self.peer = local, peer
        self.began = time.monotonic()
        self.commands = []  # lines, without CR LF
        self.transactions = []
        self.over = False

    def verbs(self):
        """The conversation in short: EHLO MAIL RCPT DATA . QUIT."""
        return " ".join(line[:4].decode("latin-1").strip().upper() for line in self.commands)

    def all_verbs(self):
        """The same of one that ends by itself: a peer that has ended may have said more than we have heard."""
        deadline = time.monotonic() + 60
        while not self.over:
            assert time.monotonic() < deadline, self.commands
            time.sleep(0.01)
        return self.verbs()


class SmtpHost:
    """A script. Every stage takes text, an Act, or a list of those for one use after the other.

    rcpt: also a dict, local part -> such a value, with "" for all others. keywords: of EHLO; None: EHLO is not known (502).
    body: (bytes, Act) to do so in the middle of the body. rcpt_limit: too_many after so many. max_connections: 421 beyond.
    data_anyway: DATA is welcome although nobody was accepted. keep: whether bodies are kept.
    """

    protocol = None  # set below
    port = 25

    def __init__(self, *, greeting="220 host.example ESMTP", ehlo=None, helo="250 host.example", mail="250 ok",
                 rcpt="250 ok", data="354 go ahead", body=None, final="250 ok", rset="250 ok", farewell="221 bye",
                 keywords=KEYWORDS, rcpt_limit=None, max_connections=None, data_anyway=False,
                 keep=True, too_many="452 too many recipients"):  # fmt: skip
        if ehlo is None:
            ehlo = "502 what?" if keywords is None else "\n".join(
                f"250{'-' if number < len(keywords) else ' '}{word}" for number, word in enumerate(["host.example", *keywords])
            )  # fmt: skip
        self.keywords = {word.split()[0].upper().encode(): word.encode().partition(b" ")[2] for word in keywords or ()}
        stages = {"greeting": greeting, "ehlo": ehlo, "helo": helo, "mail": mail, "data": data, "final": final,
                  "rset": rset, "quit": farewell}  # fmt: skip
        self.stages = {name: Choice(value) for name, value in stages.items()}
        table = rcpt if isinstance(rcpt, dict) else {"": rcpt}
        self.rcpt = {name.encode(): Choice(value) for name, value in {"": "250 ok", **table}.items()}
        self.body, self.rcpt_limit, self.max_connections, self.keep = body, rcpt_limit, max_connections, keep
        self.data_anyway, self.too_many = data_anyway, too_many
        self.connections = []
        self.open = 0
        self.most_open = 0
        self.faults = []

    @property
    def transactions(self):
        return [transaction for connection in self.connections for transaction in connection.transactions]

    @property
    def messages(self):
        """Transactions whose body came whole."""
        return [transaction for transaction in self.transactions if transaction.ended is not None]


class Talker(asyncio.Protocol):
    """What hosts of every protocol share: Acts are done one after the other, and input waits for them."""

    def __init__(self, host, live):
        self.host, self._live = host, live
        self.input = bytearray()
        self.transport = None
        self.waiting = None  # a timer, while an Act goes on
        self.deaf = False
        self._acts = []
        self._out = []

    def connection_made(self, transport):
        self.transport = transport
        sock = transport.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = Connection(transport.get_extra_info("sockname")[:2], transport.get_extra_info("peername")[:2])
        self.host.connections.append(self.connection)
        self._live.add(self)
        self.host.open += 1
        self.host.most_open = max(self.host.most_open, self.host.open)
        self.opened()
        self._flush()

    def connection_lost(self, _error):
        self._live.discard(self)
        self.host.open -= 1
        self.connection.over = True
        self.deaf = True
        if self.waiting:
            self.waiting.cancel()

    def data_received(self, data):
        if self.deaf:
            return
        self.input += data
        self.heard()
        self._work()

    def eof_received(self):
        return False

    def do(self, act):
        """Now, or once what was begun earlier is over."""
        self._acts.append(act)
        if not self.waiting:
            self._next()

    @property
    def busy(self):
        return self.deaf or self.waiting is not None or bool(self._acts)

    def _work(self):
        while not self.busy and self.step():
            pass
        self._flush()

    def _flush(self):
        if self._out and not self.transport.is_closing():
            self.transport.write(b"".join(self._out))
        self._out.clear()

    def _next(self):
        while self._acts and not self.waiting:
            act = self._acts.pop(0)
            if act in (HANG, CLOSE, RESET):
                self._end(act)
                return
            if act.then:
                self._acts.insert(0, act.then)
            if act.wait or act.gap:
                self._flush()
                self.waiting = asyncio.get_running_loop().call_later(act.wait, self._drip, act, 0)
            else:
                self._out.append(act.data)

    def _drip(self, act, sent):
        end = sent + 1 if act.gap else len(act.data)
        self.transport.write(act.data[sent:end])
        if end < len(act.data):
            self.waiting = asyncio.get_running_loop().call_later(act.gap, self._drip, act, end)
        else:
            self.waiting = None
            self._next()
            self._work()

    def _end(self, act):
        self.deaf = True
        self._acts.clear()
        self._flush()
        if act is CLOSE:
            self.transport.close()
        elif act is RESET:
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.transport.abort()
        else:
            self.transport.pause_reading()

    # What a protocol says.

    def opened(self):
        raise NotImplementedError

    def heard(self):
        """Something has come, whether or not it can be worked on now."""

    def step(self):
        """Take one thing from the input; False if there is none."""
        raise NotImplementedError


class SmtpTalker(Talker):
    def opened(self):
        host = self.host
        self.extended = None  # EHLO was accepted; False: HELO was
        self.transaction = None
        self.scanned = 0
        self.in_body = False
        self.greeted = False
        full = host.max_connections is not None and host.open > host.max_connections
        self.do(Act(lines("421 too many connections"), then=CLOSE) if full else action(host.stages["greeting"].next()))
        if not self.waiting:
            self.greeted = True

    def fault(self, text):
        self.host.faults.append(text)

    def heard(self):
        if not self.greeted and self.waiting:
            self.fault(f"spoke before the greeting: {bytes(self.input)!r}")
        elif self.waiting and not self.in_body and not self.pipelining:
            self.fault(f"did not wait for a reply: {bytes(self.input)!r}")

    @property
    def pipelining(self):
        return bool(self.extended) and b"PIPELINING" in self.host.keywords

    def step(self):
        self.greeted = True
        if self.in_body:
            return self._body()
        end = self.input.find(b"\n")
        if end < 0:
            if len(self.input) > MAX_COMMAND:
                self.fault("a command without an end")
                self.do(CLOSE)
            return False
        line = bytes(self.input[: end + 1])
        del self.input[: end + 1]
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            self.fault(f"a bare CR or LF in a command: {line!r}")
        line = line.rstrip(b"\r\n")
        self.connection.commands.append(line)
        verb = line[:4].upper()
        if self.input and (not self.pipelining or verb not in (b"MAIL", b"RCPT", b"RSET")):
            self.fault(f"pipelined after {line!r}: {bytes(self.input)!r}")
        handler = getattr(self, "on_" + verb.decode("latin-1").strip(), None)
        if handler is None:
            self.fault(f"unknown command {line!r}")
            self.do(action("502 unknown"))
        else:
            handler(line)
        return True

    def stage(self, name):
        """Do as the script says; whether that is a good reply."""
        act = action(self.host.stages[name].next())
        self.do(act)
        return act.good

    def on_EHLO(self, line):
        if self.transaction or self.extended is not None or not re.fullmatch(rb"EHLO [\w.\[\]:-]+", line):
            self.fault(f"a bad or late {line!r}")
        if self.stage("ehlo"):
            self.extended = True

    def on_HELO(self, line):
        if self.extended is not None or not re.fullmatch(rb"HELO [\w.\[\]:-]+", line):
            self.fault(f"a bad or late {line!r}")
        if self.stage("helo"):
            self.extended = False

    def on_MAIL(self, line):
        if self.extended is None or self.transaction:
            self.fault(f"{line!r} out of order")
        match = _MAIL.fullmatch(line)
        if not match:
            self.fault(f"malformed {line!r}")
        self.transaction = Transaction(line)
        self.connection.transactions.append(self.transaction)
        if match:
            self.transaction.sender = match[1][1:-1]
            for word in match[2].split():
                name, _, value = word.partition(b"=")
                needed = b"8BITMIME" if name == b"BODY" else name
                if not self.extended or needed not in self.host.keywords or not _PARAMETER[name].fullmatch(value):
                    self.fault(f"{word!r} to a host that did not offer it")
            if b"SMTPUTF8" not in match[2] and any(byte > 126 for byte in line):
                self.fault(f"8 bits without SMTPUTF8: {line!r}")
        if not self.stage("mail"):
            self.transaction = None

    def on_RCPT(self, line):
        match = _RCPT.fullmatch(line)
        if not match:
            self.fault(f"malformed {line!r}")
        transaction = self.transaction
        if transaction is None:
            if not self.pipelining:
                self.fault(f"{line!r} without MAIL")
            self.do(action("503 MAIL first"))
            return
        address = match[1][1:-1] if match else b""
        transaction.recipients.append(address)
        host = self.host
        if host.rcpt_limit is not None and len(transaction.accepted) >= host.rcpt_limit:
            self.do(action(host.too_many))
            return
        choice = host.rcpt.get(address.rpartition(b"@")[0].lower()) or host.rcpt[b""]
        act = action(choice.next())
        if act.good:
            transaction.accepted.append(address)
        self.do(act)

    def on_DATA(self, line):
        if self.transaction is None or not self.transaction.accepted:
            if not self.pipelining:
                self.fault(f"{line!r} with nobody to get it")
            if not self.host.data_anyway:
                self.do(action("503 nobody to send to"))
                return
            self.do(action("354 go ahead"))
        elif not self.stage("data"):
            return
        self.in_body = True
        self.scanned = self.taken = 0
        self.piece = bytearray(b"\r\n")

    def _body(self):
        """The body up to its final dot; only CR LF . CR LF ends it."""
        self.piece += self.input
        self.taken += len(self.input)
        self.input.clear()
        host, transaction = self.host, self.transaction
        if host.body and self.taken >= host.body[0]:
            self.do(host.body[1])
            return False
        end = self.piece.find(b"\r\n.\r\n", max(0, self.scanned - 4))
        self.scanned = len(self.piece)
        if end < 0:
            return False
        body, rest = bytes(self.piece[2 : end + 2]), bytes(self.piece[end + 5 :])
        bare = body.replace(b"\r\n", b"")
        if b"\r" in bare or b"\n" in bare:
            self.fault(f"a bare CR or LF in a body: {body[-200:]!r}")
        if rest:
            self.fault(f"sent after the final dot: {rest[:200]!r}")
        self.connection.commands.append(b".")
        self.in_body, self.transaction, self.piece = False, None, None
        self.input += rest
        if transaction is None or not transaction.accepted:
            if body:
                self.fault(f"a text for nobody: {body[:200]!r}")
            self.do(action("554 nobody got that"))
            return True
        transaction.body = body if host.keep else b""
        transaction.ended = time.monotonic()
        transaction.good = self.stage("final")
        self._flush()
        transaction.answered = time.monotonic()
        return True

    def on_RSET(self, _line):
        self.transaction = None
        self.stage("rset")

    def on_QUIT(self, _line):
        self.stage("quit")
        self.do(CLOSE)


SmtpHost.protocol = SmtpTalker


def bind(address, port, *, full=False):
    """A listening socket. full: a host that takes no connection at all, so that a client waits for its answer in vain."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
    try:
        sock.bind((address, port))
    except BaseException:
        sock.close()
        raise
    sock.listen(0 if full else 4096)
    return sock


class Silence:
    """Nobody answers at these addresses: the queue of each listening socket is full of one connection, and stays so.

    Linux then drops every SYN.
    """

    def __init__(self, *places):
        """places: (address, port); made in the calling thread's network."""
        self._sockets = []
        self.places = []
        for address, port in places:
            listener = bind(address, port, full=True)
            self.places.append(listener.getsockname()[:2])
            self._sockets += [listener, socket.create_connection(self.places[-1], PATIENCE)]

    def close(self):
        for sock in self._sockets:
            sock.close()


@contextlib.contextmanager
def full(path):
    """A Unix socket whose queue has no room for another connection; the socket."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listener.bind(str(path))
        listener.listen(0)
        while True:
            sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
            try:
                sock.connect(str(path))
            except BlockingIOError:
                break
        yield listener


class Hosts:
    """The thread. Leaving the `with` block closes all hosts and their connections."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._servers = []
        self._live = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def open(self, host, address="127.0.0.1", port=0):
        """Serve a script at a place of the calling thread's network; the port."""
        sock = bind(address, port)
        self.serve([(host, sock)])
        return sock.getsockname()[1]

    def open_path(self, host, path):
        """Serve a script on a Unix socket."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(str(path))
        sock.listen(4096)
        self.serve([(host, sock)])
        return host

    def serve(self, pairs):
        """Serve scripts on listening sockets, wherever these were made: (host, socket)."""
        asyncio.run_coroutine_threadsafe(self._serve(list(pairs)), self._loop).result(PATIENCE)

    async def _serve(self, pairs):
        for host, sock in pairs:
            serve = self._loop.create_unix_server if sock.family == socket.AF_UNIX else self._loop.create_server
            self._servers.append(await serve(partial(host.protocol, host, self._live), sock=sock, backlog=4096))

    def close(self):
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(PATIENCE)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(PATIENCE)

    async def _end(self):
        for server in self._servers:
            server.close()
        for talker in list(self._live):
            talker.transport.abort()
        await asyncio.sleep(0)
