"""Which loop should carry the sessions? One server process, 20 clients, four short exchanges and a 4 KB one, then a new
connection or the same again. Prints the server's CPU microseconds for each round of five exchanges.
docs/decisions/0003-event-loops.md.

usage: python -m bench.micro_loops
"""

import asyncio
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Coroutine

import uvloop

ROUNDS = 400
CLIENTS = 20
BODY = b"x" * 4096


def echo(data: bytes) -> bytes:
    return b"250 2.0.0 ok\r\n" if data else b""


def serve_epoll(listener: socket.socket) -> None:
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    listening = listener.fileno()
    sessions: dict[int, socket.socket] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == listening:
                try:
                    peer, _ = listener.accept()
                except BlockingIOError:
                    continue
                peer.setblocking(False)
                sessions[peer.fileno()] = peer
                poll.register(peer.fileno(), select.EPOLLIN)
                peer.send(b"220 hello\r\n")
            else:
                peer = sessions[fd]
                data = peer.recv(65536)
                if data:
                    peer.send(echo(data))
                else:
                    poll.unregister(fd)
                    del sessions[fd]
                    peer.close()


def serve_uvloop(listener: socket.socket) -> None:
    serve_with(uvloop.run, listener)


def serve_asyncio(listener: socket.socket) -> None:
    serve_with(asyncio.run, listener)


def serve_with(run: Callable[[Coroutine[object, object, None]], object], listener: socket.socket) -> None:
    class Echo(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport
            transport.write(b"220 hello\r\n")  # type: ignore[attr-defined]  # a Transport for stream sockets

        def data_received(self, data: bytes) -> None:
            self.transport.write(echo(data))  # type: ignore[attr-defined]  # as above

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Echo, sock=listener)
        await server.serve_forever()

    run(main())


def load(port: int, persistent: bool) -> None:
    peers = [socket.create_connection(("127.0.0.1", port)) for _ in range(CLIENTS)]
    for peer in peers:
        peer.recv(100)
    for _ in range(ROUNDS):
        if not persistent:
            for peer in peers:
                peer.close()
            peers = [socket.create_connection(("127.0.0.1", port)) for _ in range(CLIENTS)]
            for peer in peers:
                peer.recv(100)
        for message in (b"MAIL\r\n", b"RCPT\r\n", b"DATA\r\n", BODY, b"QUIT\r\n"):
            for peer in peers:
                peer.send(message)
            for peer in peers:
                peer.recv(100)


def cpu_of(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    for persistent in (True, False):
        for serve in (serve_epoll, serve_uvloop, serve_asyncio):
            listener = socket.create_server(("127.0.0.1", 0))
            pid = os.fork()
            if pid == 0:
                serve(listener)
            port = listener.getsockname()[1]
            load(port, persistent)
            before = cpu_of(pid)
            load(port, persistent)
            used = cpu_of(pid) - before
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            listener.close()
            kind = "persistent" if persistent else "one round a connection"
            sys.stdout.write(f"{serve.__name__:14} {kind:24} {used / (ROUNDS * CLIENTS) * 1e6:6.0f} us\n")


if __name__ == "__main__":
    main()
