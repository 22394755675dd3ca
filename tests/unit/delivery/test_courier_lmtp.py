"""A courier and LMTP servers on Unix sockets: mixed answers, kept connections, sockets that are busy or not there."""

import asyncio
import os

import pytest
import uvloop
from tests.remote.hostactions import CLOSE
from tests.remote.lmtphost import LmtpHost
from tests.remote.smtphost import Hosts, full

from quail.control.reader import Control
from quail.delivery.remote import courier as courier_module
from quail.delivery.remote.courier import Courier
from quail.delivery.remote.message import Mail
from quail.delivery.remote.report import together
from quail.delivery.remote.settings import Settings
from quail.net.resolver import Resolver
from quail.storage.tcpto import Tcpto


@pytest.fixture(scope="module")
def hosts():
    with Hosts() as hosts:
        yield hosts


@pytest.fixture
def path(tmp_path):
    """Short enough for a socket, wherever the tests are."""
    folder = os.open(tmp_path, os.O_PATH)
    yield f"/proc/{os.getpid()}/fd/{folder}/lmtp"
    os.close(folder)


@pytest.fixture
def deliver(tmp_path, path):
    """Deliver mails for the path, one after the other; their results."""
    (tmp_path / "me").write_text("mx.example.com\n")
    (tmp_path / "smtproutes").write_text(f"far.example:lmtp:{path}\n")
    (tmp_path / "timeoutconnect").write_text("1\n")

    def run(*mails, meanwhile=None):
        async def work():
            loop = asyncio.get_running_loop()
            courier = Courier(loop, Settings(Control(str(tmp_path))), Resolver(), Tcpto(-1), log=print)
            if meanwhile is not None:
                loop.run_in_executor(None, meanwhile)
            results = [await courier.deliver(mail) for mail in mails]
            courier.close()
            while courier._open:  # noqa: ASYNC110  it has no event to wait for, and needs none
                await asyncio.sleep(0)
            return results

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work())

    return run


def mail(*names):
    return Mail(b"far.example", b"s@x", [name.encode() + b"@far.example" for name in names], b"Subject: x\n\nhello\n")


def test_each_his_own_over_one_connection(hosts, path, deliver):
    host = hosts.open_path(LmtpHost(finals={"b": "550 no", "c": "452 full"}), path)
    first, second = deliver(mail("a", "b", "c"), mail("a"))
    place = path.encode()
    assert [first.of(at) for at in range(3)] == [
        (b"K", place + b" accepted message.\nRemote host said: 250 ok\n"),
        (b"D", place + b" failed after I sent the message.\nRemote host said: 550 no\n"),
        (b"Z", place + b" failed after I sent the message.\nRemote host said: 452 full\n"),
    ]
    assert second.of(0)[0] == b"K"
    assert [len(connection.transactions) for connection in host.connections] == [2]
    assert host.faults == []


def test_of_several_transactions_each_recipient_keeps_what_was_said_to_him(hosts, path, deliver):
    hosts.open_path(LmtpHost(finals={"a": "250 one", "b": "250 two"}), path)
    whole = together([((place,), result) for place, result in enumerate(deliver(mail("a"), mail("b")))])
    assert [whole.of(at)[1].rpartition(b"said: ")[2] for at in range(2)] == [b"250 one\n", b"250 two\n"]
    assert whole.printed().endswith(b"250 two\n\0K\0")


def test_a_connection_that_is_lost_between_the_answers(hosts, path, deliver):
    hosts.open_path(LmtpHost(finals={"b": CLOSE}), path)
    (result,) = deliver(mail("a", "b", "c"))
    assert [result.of(at)[0] for at in range(3)] == [b"K", b"Z", b"Z"]
    assert b"Possible duplicate!" in result.of(2)[1]


def test_nobody_there(path, deliver):
    (result,) = deliver(mail("a"))
    text = b"Sorry, I wasn't able to connect to the LMTP server at %b: file does not exist (ENOENT). (#4.4.1)\n"
    assert result.of(0) == (b"Z", text % path.encode())
    assert result.host_down


def test_a_socket_that_stays_busy(path, deliver):
    with full(path):
        (result,) = deliver(mail("a"))
    assert result.of(0)[1].endswith(b": temporary failure (EAGAIN). (#4.4.1)\n")


def test_a_socket_that_is_busy_for_a_while(hosts, path, deliver, monkeypatch):
    monkeypatch.setattr(courier_module, "_BUSY", 0.001)
    host = LmtpHost()
    with full(path) as listener:
        (result,) = deliver(mail("a"), meanwhile=lambda: hosts.serve([(host, listener.dup())]))
    assert result.of(0)[0] == b"K"
    assert len(host.messages) == 1
