"""usage: rblsmtpd [ -b ] [ -R ] [ -t timeout ] [ -r base ] [ -a base ] smtpd [ arg ... ]

Runs smtpd, if lists of the DNS have nothing against the client at $TCPREMOTEIP; else turns the client away, kindly. Exit 0
then, 100 for a wrong call, 111 if smtpd can't be run. -R does not exist.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os

from quail.errors import TemporaryError, UsageError
from quail.net import options
from quail.net.copying import write_all
from quail.oserrors import words
from quail.policy import dnsbl
from quail.programs.become import run_program
from quail.programs.run import live_on, program

SERVES_AGAIN = True  # see call_again() of become.py
_READ = 4096
_LONGEST_ALARM = (1 << 31) - 1


@program("rblsmtpd")
def main(args: list[bytes]) -> None:
    found, command = options.parse("rblsmtpd", args, "bBcCt:r:a:")
    if not command:
        raise UsageError
    timeout = 60
    for letter, value in found:
        if letter == "t":
            timeout = options.number(value)
    ip = os.environb.get(b"TCPREMOTEIP", b"")
    wish = os.environb.get(b"RBLSMTPD")
    line = dnsbl.by_environment(wish) if wish is not None else _by_lists(found, ip)
    if line is not None:
        _turn_away(line, ip, timeout)
        return
    try:
        run_program(command)
    except OSError as error:
        raise TemporaryError(f"unable to run {os.fsdecode(command[0])}: {words(error)}") from error


def load_for(args: list[bytes]) -> None:
    """Load what is needed for look-ups, if a call with these words may look up anything."""
    if any(word[:1] == b"-" and (b"r" in word or b"a" in word) for word in args):
        try:
            import quail.net.dnsbl  # noqa: F401, PLC0415
        except ImportError:
            pass  # whoever looks something up finds that out, and says so


def _by_lists(found: list[tuple[str, bytes]], ip: bytes) -> bytes | None:
    if not any(letter in (dnsbl.BLOCK, dnsbl.ACCEPT) for letter, _ in found):
        return None
    from quail.net.dnsbl import Lists  # noqa: PLC0415  an event loop, only where something is looked up

    lists = Lists()
    try:
        return dnsbl.by_lists(
            found, ip, lambda kind, name: lists.texts(name) if kind == dnsbl.BLOCK else b"*" * lists.has_address(name)
        )
    finally:
        lists.close()


def _turn_away(line: bytes, ip: bytes, timeout: int) -> None:
    """Talk to the client until it goes, or time is over."""
    try:
        write_all(2, b"rblsmtpd: %b pid %d: %b\n" % (ip, os.getpid(), line))
    except OSError:
        pass  # nobody is there to be told
    live_on(False)  # the alarm would hit whoever comes next
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    signal.alarm(min(timeout, _LONGEST_ALARM))
    try:
        if not timeout:
            write_all(1, line + b"\r\n")
            return
        talk = dnsbl.TurnedAway(line)
        write_all(1, talk.greeting())
        while not talk.ended and (data := os.read(0, _READ)):
            write_all(1, talk.feed(data))
    except OSError:
        pass  # the client has gone


if __name__ == "__main__":
    main()
