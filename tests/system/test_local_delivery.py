"""The real lspawn process and its workers: jobs go in, reports and forwarded mail come out.

Not tested here: power cuts (tests/crash) and anything that needs another uid.
"""

import contextlib
import os
import re
import signal
import threading

import pytest
from tests.system.delivery_home import PATIENCE, Ask, HandedOver, Installation, Jobs, descriptors, wait_for_end

from quail.net import lspawn_protocol as jobs
from quail.net.frames import frame
from quail.services.lspawn import MAX_JOBS


@pytest.fixture
def home(tmp_path):
    with contextlib.ExitStack() as stack:
        installation = Installation(tmp_path)
        stack.callback(installation.close)
        installation.wait_until_up()
        yield installation


@pytest.fixture
def queue(home):
    return Jobs(home)


@pytest.fixture
def ask(home):
    return Ask(home)


def test_hundreds_of_messages(home, queue):
    home.dot_qmail(".qmail-in", b"./In/\n")
    for folder in ("", "tmp", "new", "cur"):
        (home.path / "mail/list/In" / folder).mkdir()
    recipients = [b"joe@localhost", b"Jane@LOCALHOST", b"list-in@localhost", b"list-none@localhost"]
    for tag in range(600):
        queue.send(tag, recipients[tag % 4], b"N: %d\n\n" % tag + b"x" * (tag * 31 % 9000), b"s%d@x.y" % tag)
    reports = queue.reports(600)
    for tag in range(600):
        expected = (
            (b"D", b"Sorry, no mailbox here by that name. (#5.1.1)\n") if tag % 4 == 3 else (b"K", b"did 1+0+0\n")
        )
        assert reports[tag] == expected
    for place, name, folder in ((0, "joe", "Maildir"), (1, "jane", "Maildir"), (2, "list", "In")):
        assert sorted(home.mail(name, folder)) == sorted(
            b"Return-Path: <s%d@x.y>\nDelivered-To: %b\nN: %d\n\n" % (tag, recipients[place], tag)
            + b"x" * (tag * 31 % 9000)
            for tag in range(place, 600, 4)
        )
    assert len(home.workers()) <= 2


def test_lspawns_own_answers(queue):
    assert queue.deliver(b"@localhost") == (b"K", b"")
    assert queue.deliver(b"joe") == (b"D", b"Sorry, address must include host name. (#5.1.3)\n")
    assert queue.deliver(b"nobody@localhost") == (b"D", b"Sorry, no mailbox here by that name. (#5.1.1)\n")


def test_users_cdb_in_trouble(home, queue):
    (home.path / "users/cdb").write_bytes(b"rubbish")
    letter, text = queue.deliver(b"joe@localhost")
    assert letter == b"Z"
    assert text.startswith(
        b"Trouble reading users/cdb in qmail-lspawn.\nunable to read %b/users/cdb" % os.fsencode(home.path)
    )


@pytest.mark.parametrize("rubbish", [frame(b""), frame(b"\0\0\0\x01\0\x09s"), b"\xff" * 8])
def test_a_queue_that_breaks_the_format_is_hung_up_on(home, queue, rubbish):
    queue.sock.sendall(rubbish)
    assert queue.frame() is None
    assert Jobs(home).deliver(b"joe@localhost")[0] == b"K"
    assert "connection of the queue ended" in home.log()


def test_a_job_without_its_descriptor_breaks_the_format(home, queue):
    queue.send(1, b"joe@localhost", flags=jobs.DESCRIPTOR)
    assert queue.frame() is None
    assert Jobs(home).deliver(b"joe@localhost")[0] == b"K"
    assert "without its descriptor" in home.log()


def test_large_messages_come_by_descriptor(home, queue):
    names = []
    for tag in range(40):
        path = home.path / f"body{tag}"
        path.write_bytes(b"%d\n" % tag * 60_000)
        names.append(path)
        with path.open("rb") as body:
            queue.send_descriptor(tag, b"joe@localhost", b"N: %d\n\n" % tag, body.fileno())
    assert queue.reports(40) == dict.fromkeys(range(40), (b"K", b"did 1+0+0\n"))
    stamp = b"Return-Path: <s@x.y>\nDelivered-To: joe@localhost\n"
    assert sorted(home.mail("joe")) == sorted(stamp + b"N: %d\n\n" % tag + b"%d\n" % tag * 60_000 for tag in range(40))


def test_forwarding_keeps_one_connection(home, queue):
    home.dot_qmail(".qmail-in", b"&a@b\n+list\nc@d\n")
    home.dot_qmail(".qmail-in-owner", b"&joe\n")
    for tag in range(3):
        queue.send(tag, b"list-in@localhost", b"N: %d\n\n" % tag)
    connection = HandedOver(home)
    for tag in range(3):
        envelope, body = connection.message()
        assert (envelope.sender, envelope.recipients) == (b"list-in-owner@localhost", [b"a@b", b"c@d"])
        assert body == b"Delivered-To: list-in@localhost\nN: %d\n\n" % tag
        connection.answer((b"K17", b"Zlater (#4.3.0)", b"Dnever (#5.3.0)")[tag])
    assert queue.reports(3) == {
        0: (b"K", b"did 0+2+0\nqp 17\n"),
        1: (b"Z", b"Unable to forward message: later (#4.3.0).\n"),
        2: (b"D", b"Unable to forward message: never (#5.3.0).\n"),
    }


def test_a_queue_that_is_gone_defers_forwarding(home, queue):
    home.dot_qmail(".qmail-in", b"&a@b\n")
    home.queue.close()
    text = b"Unable to forward message: can't reach the queue: connection refused (#4.3.0).\n"
    assert queue.deliver(b"list-in@localhost") == (b"Z", text)


def hold_a_worker(home, queue, tag=1):
    """A worker that waits for the queue's answer to a forwarded message."""
    home.dot_qmail(".qmail-hold", b"&a@b\n")
    queue.send(tag, b"list-hold@localhost")
    connection = HandedOver(home)
    assert connection.message() is not None
    return connection


def go_round(queue, ask):
    """At its second answer a service has dealt with all that came before the first question."""
    for _ in range(2):
        assert queue.deliver(b"@localhost") == (b"K", b"")
        assert ask.ask(b"L", b"joe")[0] == b"K"


def test_a_killed_worker_defers_what_it_had(home, queue, ask):
    connection = hold_a_worker(home, queue)
    queue.send(2, b"joe@localhost")
    go_round(queue, ask)
    os.kill(connection.worker(), signal.SIGKILL)
    assert queue.reports(2) == dict.fromkeys((1, 2), (b"Z", b"qmail-local crashed.\n"))
    wait_for_end(connection.worker())
    assert queue.deliver(b"joe@localhost") == (b"K", b"did 1+0+0\n")
    assert re.search(r"delivery worker \d+ ended with signal 9", home.log())


def test_workers_ignore_what_is_meant_for_the_whole_group(home, queue):
    connection = hold_a_worker(home, queue)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(connection.worker(), number)
    connection.answer(b"K5")
    assert queue.reports(1) == {1: (b"K", b"did 0+1+0\nqp 5\n")}


def test_a_worker_keeps_nothing_but_its_socket(home, queue):
    connection = hold_a_worker(home, queue)
    found = descriptors(connection.worker())
    assert [found.pop(fd) for fd in (0, 1, 2)] == ["/dev/null"] * 3
    assert sorted(found) == [3, 4]  # lspawn, and the queue
    assert all(target.startswith("socket:") for target in found.values())
    with open(f"/proc/{connection.worker()}/status") as status:
        assert "Umask:\t0077" in status.read()
    connection.answer(b"K5")
    assert queue.reports(1)[1][0] == b"K"


def test_users_restarts_while_jobs_wait(home, queue):
    assert queue.deliver(b"joe@localhost")[0] == b"K"
    home.signal("users", signal.SIGKILL)
    assert home.reap("users") == -signal.SIGKILL
    for tag in range(50):
        queue.send(tag, b"jane@localhost")
    home.restart("users")
    assert queue.reports(50) == dict.fromkeys(range(50), (b"K", b"did 1+0+0\n"))


def test_a_queue_that_restarts_hears_nothing_of_old_jobs(home, queue):
    connection = hold_a_worker(home, queue)
    queue.send(2, b"list-hold@localhost")
    queue.sock.close()
    after = Jobs(home)
    assert after.deliver(b"@localhost") == (b"K", b"")
    connection.answer(b"K5")
    assert connection.message() is not None  # job 2 was with the worker: it is finished too
    connection.answer(b"K6")
    assert after.deliver(b"joe@localhost") == (b"K", b"did 1+0+0\n")


def test_term_finishes_what_was_taken(home, queue):
    connection = hold_a_worker(home, queue)
    worker = connection.worker()
    home.signal("lspawn", signal.SIGTERM)
    connection.answer(b"K5")
    assert queue.reports(1) == {1: (b"K", b"did 0+1+0\nqp 5\n")}
    assert home.reap("lspawn") == 0
    wait_for_end(worker)
    assert queue.frame() is None
    home.restart("lspawn")
    assert Jobs(home).deliver(b"joe@localhost")[0] == b"K"


def test_term_kills_a_worker_that_does_not_end(home, queue):
    connection = hold_a_worker(home, queue)
    worker = connection.worker()
    queue.sock.close()
    home.signal("lspawn", signal.SIGTERM)
    assert home.reap("lspawn") == 0
    wait_for_end(worker)
    assert f"delivery worker {worker} does not end: killed" in home.log()


def test_term_of_users(home, queue):
    home.signal("users", signal.SIGTERM)
    assert home.reap("users") == 0
    queue.send(1, b"joe@localhost")
    home.restart("users")
    assert queue.reports(1)[1][0] == b"K"


def test_services_and_workers_end_with_serve(home, queue):
    connection = hold_a_worker(home, queue)
    worker = connection.worker()
    home.launcher.kill()
    for pid in (home.pids["users"], home.pids["lspawn"]):
        wait_for_end(pid)
    connection.answer(b"K5")
    wait_for_end(worker)


def test_hup_changes_the_default_delivery(home, queue):
    assert queue.deliver(b"joe@localhost")[0] == b"K"
    (old,) = home.workers()
    home.control("defaultdelivery", "./Other/")
    home.signal("lspawn", signal.SIGHUP)
    wait_for_end(old)
    assert queue.deliver(b"joe@localhost") == (b"K", b"did 1+0+0\n")
    assert len(home.mail("joe")) == len(home.mail("joe", "Other")) == 1


def test_hup_with_a_worker_at_work(home, queue):
    connection = hold_a_worker(home, queue)
    home.control("defaultdelivery", "./Other/")
    home.signal("lspawn", signal.SIGHUP)
    assert queue.deliver(b"@localhost")[0] == b"K"  # the signal has been served
    queue.send(2, b"joe@localhost")
    assert queue.reports(1) == {2: (b"K", b"did 1+0+0\n")}
    assert len(home.mail("joe", "Other")) == 1
    connection.answer(b"K5")
    assert queue.reports(1) == {1: (b"K", b"did 0+1+0\nqp 5\n")}
    wait_for_end(connection.worker())


def test_hup_with_a_malformed_file_changes_nothing(home, queue):
    home.control("defaultdelivery", "./Other/\r")
    home.signal("lspawn", signal.SIGHUP)
    assert queue.deliver(b"@localhost")[0] == b"K"
    assert "control/defaultdelivery line 1" in home.log()
    assert queue.deliver(b"joe@localhost")[0] == b"K"
    assert len(home.mail("joe")) == 1


def answer_all(connection):
    """The queue for one worker, in a thread."""

    def serve():
        while connection.message() is not None:
            connection.answer(b"K5")

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_back_pressure(home, queue):
    """While workers are held lspawn takes a bounded number of jobs, and later all that it took and the rest."""
    first = hold_a_worker(home, queue, tag=0)
    body = b"A: b\n\n" + b"x" * 20_000
    sent = 1
    queue.sock.settimeout(1.5)  # longer than lspawn needs to empty the socket; only this many seconds are waited
    rest = b""
    while not rest:
        job = jobs.encode_job(sent, b"s@x.y", b"list-hold@localhost", 0, body)
        sent += 1
        done = 0
        try:
            while done < len(job):
                done += queue.sock.send(job[done:])
        except TimeoutError:
            rest = job[done:]
        assert sent < MAX_JOBS + 100
    assert sent > 200
    queue.sock.settimeout(PATIENCE)
    connections = [first, HandedOver(home)]  # the crowd has called the second worker
    assert connections[1].message() is not None
    threads = []
    for connection in connections:
        connection.answer(b"K5")
        threads.append(answer_all(connection))
    queue.sock.sendall(rest)
    assert queue.reports(sent) == dict.fromkeys(range(sent), (b"K", b"did 0+1+0\nqp 5\n"))
    home.signal("lspawn", signal.SIGTERM)
    assert home.reap("lspawn") == 0
    for thread in threads:
        thread.join()


def test_nothing_leaks(home, queue, ask):
    """Descriptors and zombies of both services, after deliveries, killed workers and lost connections."""
    assert queue.deliver(b"joe@localhost")[0] == b"K"
    (home.path / "body").write_bytes(b"x" * 300_000)
    for turn in range(5):
        with (home.path / "body").open("rb") as body:
            for tag in range(30):
                queue.send_descriptor(tag, b"joe@localhost", b"\n", body.fileno())
            assert {letter for letter, _ in queue.reports(30).values()} == {b"K"}
            connection = hold_a_worker(home, queue)
            queue.send_descriptor(2, b"joe@localhost", b"\n", body.fileno())
            go_round(queue, ask)
            os.kill(connection.worker(), signal.SIGKILL)
            queue.reports(2)
            wait_for_end(connection.worker())
            connection.sock.close()
            lost = Jobs(home)
            lost.send_descriptor(1, b"joe@localhost", b"\n", body.fileno())
            lost.sock.close()
            asker = Ask(home)
            asker.ask(b"L", b"joe")
            asker.sock.close()
        go_round(queue, ask)
        home.signal("lspawn", signal.SIGHUP)
        for worker in home.workers():
            wait_for_end(worker)
        go_round(queue, ask)
        assert home.workers() == []  # not even zombies
        counts = {name: len(descriptors(pid)) for name, pid in home.pids.items()}
        if turn == 0:
            first = counts
        assert counts == first
