"""Listening sockets, bound once by serve and inherited by its services; and who holds a port that is busy."""

import errno
import os
import socket
import stat

from quail.errors import TemporaryError

BACKLOG = 1024
_RESERVED = 1023  # ports up to here are root's
_SOCKET_MODE = 0o666


def bind_tcp(service: str, address: str, port: int, count: int = 1) -> list[socket.socket]:
    """Non-blocking listeners on one port, among which the kernel spreads connections: one for each of `count` workers. Port 0
    takes any free one. TemporaryError names what holds a busy port, and the way round.
    """
    listeners: list[socket.socket] = []
    try:
        # Shared ports can be taken by anybody with our uid: a try without sharing tells whether somebody is there already.
        with _socket_for(address) as probe:
            probe.bind((address, port))
        for _ in range(count):
            listener = _socket_for(address)
            listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind((address, port))
            listener.listen(BACKLOG)
            port = listener.getsockname()[1]
    except OSError as error:
        for listener in listeners:
            listener.close()
        raise TemporaryError(_why(service, address, port, error)) from error
    return listeners


def _socket_for(address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return listener


def _why(service: str, address: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        free = port + 101 if port < 65000 else 2626
        name = {"qmtp": "SMTP", "qmqp": "SMTP"}.get(
            service, service.upper()
        )  # whose ports move along with that of SMTP
        other = f"make run {name}_PORT={2626 if name != service.upper() else free}, or " if port > _RESERVED else ""
        return (
            f"port {port} on {address}, wanted for {service}, is in use by {owner_of_port(port)}; stop that, or choose"
            f" another: {other}the line in control/listen"
        )
    if error.errno == errno.EACCES:
        return f"port {port}, wanted for {service}, needs root; choose one above 1023 in control/listen"
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return f"{address}, wanted for {service}, is no address of this machine; correct the line in control/listen"
    return f"unable to listen on {address}:{port} for {service}: {error.strerror}"


def owner_of_port(port: int) -> str:
    """Who listens on a TCP port, as far as /proc shows it to us."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as lines:
                for line in list(lines)[1:]:
                    fields = line.split()
                    if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                        inodes.add(f"socket:[{fields[9]}]")
        except OSError:
            continue
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{fd}") in inodes:
                    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as comm:
                        return f"{comm.read().strip()} (pid {pid})"
        except OSError:
            continue
    return "another user's program" if inodes else "another program"


def bind_unix(path: str, mode: int, owner: int = -1) -> socket.socket:
    """A non-blocking listener at a path below the working directory; a stale one there is replaced. Its file gets this mode
    and belongs to the uid `owner`, if one is given.
    """
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        listener.bind(path)
        os.chown(path, owner, -1)
        os.chmod(path, mode)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise TemporaryError(f"unable to listen on {path}: {error.strerror}") from error
    return listener


def bind_path(service: str, path: str, count: int = 1) -> list[socket.socket]:
    """Non-blocking listeners on a Unix socket anywhere, `count` descriptors of one and the same; everybody who can get at its
    file may connect. What nobody listens on any more is replaced, and nothing else. TemporaryError says what is in the way.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        _clear_path(service, path)
        # The mode comes from the umask: a chmod could be led elsewhere by whoever owns the folder.
        umask = os.umask(0o777 & ~_SOCKET_MODE)
        try:
            listener.bind(path)
        finally:
            os.umask(umask)
        listener.listen(BACKLOG)
        return [listener, *(listener.dup() for _ in range(count - 1))]
    except OSError as error:
        listener.close()
        raise TemporaryError(f"unable to listen on {path} for {service}: {error.strerror}") from error
    except TemporaryError:
        listener.close()
        raise


def _clear_path(service: str, path: str) -> None:
    """Make room for a socket. OSError, or TemporaryError if what is there is none or is listened on."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise TemporaryError(
            f"{path}, wanted for {service}, is there and no socket; remove it, or correct the line in control/listen"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # somebody who has much to do
    raise TemporaryError(
        f"{path}, wanted for {service}, is in use by another program; stop that, or correct the line in control/listen"
    )
