"""What an operator sees of the queue and does to it, while messages wait; and queue/drop/, where injectors leave theirs."""

import json
import os
import re
import signal
import socket
import time

import pytest
from bench import crowd
from tests.programs.launch import launch

from quail.queue import drop_writer
from quail.queue.handover import encode_envelope


@pytest.fixture
def held(make_server):
    """Two messages that wait, because no delivery may start."""
    server = make_server(concurrencylocal="0").start()
    server.queue(b"s@example.org", b"joe@localhost", text=b"Subject: first\n\n")
    server.queue(b"", b"joe@localhost", b"postmaster@localhost", b"far@example.net", text=b"Subject: second\n\ntext\n")
    return server


def deliver(server):
    server.control("concurrencylocal", "10")
    server.hup()


def state(server):
    """(numbers in the queue, numbers held)."""
    messages = server.ask({"do": "list"})["messages"]
    return [m["number"] for m in messages], [m["number"] for m in messages if m["held"]]


def test_list(held):
    shown = held.quail("queue", "list")
    assert (shown.returncode, shown.stderr) == (0, "")
    head, first, second, last = shown.stdout.splitlines()
    assert head.split() == ["msg", "age", "bytes", "from", "to", "state"]
    size = {m["number"]: m["bytes"] for m in held.ask({"do": "list"})["messages"]}
    assert re.fullmatch(
        rf"\s*1\s+\d+[sm]\s+{size[1]}\s+s@example\.org\s+joe@localhost\s+waits: concurrencylocal is 0\s*", first
    )
    why = "waits: concurrencylocal is 0, concurrencyremote is 0"
    assert re.fullmatch(rf"\s*2\s+\d+[sm]\s+{size[2]}\s+<>\s+joe@localhost and 2 more\s+{why}\s*", second)
    assert last == "2 messages in the queue"


def test_what_a_setting_holds_is_due_when_it_goes(make_server):
    """Mail for both channels waits for none of them; that lspawn is stopped keeps this one in the queue."""
    server = make_server().start()
    os.kill(server.pids["lspawn"][0], signal.SIGSTOP)
    number = server.queue(b"s@example.org", b"joe@localhost", b"far@example.net")
    shown = server.quail("queue", "show", str(number))
    os.kill(server.pids["lspawn"][0], signal.SIGCONT)
    assert shown.stdout.splitlines()[0].endswith(" bytes, due")


def test_list_as_json(held):
    shown = held.quail("queue", "list", "--json")
    first, second = map(json.loads, shown.stdout.splitlines())
    assert abs(first.pop("time") - time.time()) < 300
    assert re.fullmatch(r"\d+", str(first.pop("bytes")))
    assert first == {
        "number": 1,
        "sender": "s@example.org",
        "uid": os.getuid(),
        "recipients": [{"channel": "local", "address": "joe@localhost", "done": False}],
        "held": False,
        "bouncing": False,
        "next_local": 0,
        "next_remote": 0,
    }
    assert [r["channel"] for r in second["recipients"]] == ["local", "local", "remote"]


def test_an_empty_queue(server):
    assert server.quail("queue", "list").stdout == "0 messages in the queue\n"
    assert server.quail("queue", "list", "--json").stdout == ""


def test_show(held):
    shown = held.quail("queue", "show", "2").stdout.splitlines()
    assert re.fullmatch(r"message   2, \d+ bytes, waits: concurrencylocal is 0, concurrencyremote is 0", shown[0])
    assert re.fullmatch(rf"accepted  \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d from uid {os.getuid()}", shown[1])
    assert shown[2:] == [
        "sender    <>",
        "local     left  joe@localhost",
        "local     left  postmaster@localhost",
        "remote    left  far@example.net",
    ]
    described = json.loads(held.quail("queue", "show", "--json", "1").stdout)
    assert described["number"] == 1
    assert described["failures"] == []
    missing = held.quail("queue", "show", "77")
    assert (missing.returncode, missing.stderr) == (100, "quail: message 77 is not in the queue\n")


def test_show_what_has_failed(held):
    """One recipient done, one failed, one still to come: no bounce before the last is settled."""
    number = held.queue(b"joe@localhost", b"none@localhost", b"joe@localhost", b"far@example.net")
    deliver(held)
    held.line(rf"msg {number} to local none@localhost")
    held.until(lambda: held.ask({"do": "show", "number": number})["message"]["failures"], "the failure")
    held.until(lambda: sum(r["done"] for r in held.ask({"do": "show", "number": number})["message"]["recipients"]) == 2)
    shown = held.quail("queue", "show", str(number)).stdout.splitlines()
    assert shown[3:] == [
        "local     done  none@localhost",
        "local     done  joe@localhost",
        "remote    left  far@example.net",
        "failed    none@localhost: Sorry, no mailbox here by that name. (#5.1.1)",
    ]


def test_hold_and_release(held):
    assert held.quail("queue", "hold", "1").stdout == "1 held\n"
    deliver(held)
    held.end(3)  # what the alias postmaster has forwarded
    held.until(lambda: len(held.mail()) == 2, "both copies of the second message")
    assert state(held) == ([1, 2], [1])
    assert not held.story(1)[2:]
    assert "held" in held.quail("queue", "list").stdout
    # It stays so over a restart, and an alarm does not move it.
    assert held.stop() == 0
    held.start()
    held.alarm()
    number = held.queue(b"", b"joe@localhost")
    held.end(number)
    assert state(held) == ([1, 2], [1])
    assert len(held.mail()) == 3
    assert held.quail("queue", "release", "1").stdout == "1 released\n"
    held.end(1)
    assert sorted(re.search(rb"Subject: (\w+)", mail)[1] for mail in held.mail()) == [
        b"first", b"hello", b"second", b"second",
    ]  # fmt: skip


def test_retry(server):
    with server.closed_mailbox():
        numbers = [server.send("joe@localhost") for _ in range(2)]
        server.line(r"deferral: Home_directory_is_sticky", count=2)
        listed = server.quail("queue", "list").stdout
        assert len(re.findall(r"tries again in \d+[sm]", listed)) == 2
    assert server.quail("queue", "retry", str(numbers[1])).stdout == "1 to be tried now\n"
    server.end(numbers[1])
    assert state(server)[0] == numbers[:1]
    assert server.quail("queue", "retry", "--all").stdout == "1 to be tried now\n"
    server.end(numbers[0])


def test_remove(held):
    assert held.quail("queue", "remove", "1").stdout == "1 removed\n"
    held.end(1)
    missing = held.quail("queue", "remove", "1", "2")
    assert missing.returncode == 100
    assert missing.stderr == "quail: not in the queue: 1 (1 others removed)\n"
    held.end(2)
    deliver(held)
    held.end(held.queue(b"", b"joe@localhost"))
    assert len(held.mail()) == 1  # nobody got them, nobody was told
    assert held.stop() == 0
    held.start()
    assert state(held) == ([], [])


def test_remove_while_it_is_delivered(server):
    """What is on its way arrives; the rest does not, and nobody is told."""
    import signal

    lspawn = server.pid("lspawn")
    os.kill(lspawn, signal.SIGSTOP)
    number = server.queue(b"joe@localhost", b"joe@localhost", b"far@example.net", b"none@localhost")
    server.line(rf"msg {number} to local none@localhost")
    assert server.quail("queue", "remove", str(number)).stdout == "1 removed\n"
    os.kill(lspawn, signal.SIGCONT)
    server.end(number)
    assert len(server.mail()) == 1
    assert state(server)[0] == []
    assert not [line for line in server.log.lines if line.startswith("bounce ")]


@pytest.mark.parametrize("verb", ["hold", "release", "retry", "remove"])
def test_changes_need_numbers_or_all(held, verb):
    for words in ((), ("1", "--all")):
        answer = held.quail("queue", verb, *words)
        assert answer.returncode == 100
        assert f"quail queue {verb} NUMBER..." in answer.stderr
    assert held.quail("queue", verb, "--all").returncode == 0


def test_nobody_is_there(make_server):
    server = make_server()
    answer = server.quail("queue", "list")
    assert answer.returncode == 111
    assert answer.stderr.startswith(f"quail: the queue service of {server.path} does not run (")
    assert answer.stderr.endswith("start it with quail serve\n")


def test_a_long_list(make_server):
    """More than the pages in which it is asked for."""
    server = make_server(concurrencylocal="0").start()
    failures: list[str] = []
    crowd.hand_over(server, 1203, failures)
    assert not failures
    shown = server.quail("queue", "list", "--limit", "2000").stdout.splitlines()
    assert len(shown) == 1205
    assert shown[-1] == "1203 messages in the queue"
    shown = server.quail("queue", "list").stdout.splitlines()
    assert len(shown) == 1002
    assert shown[-1] == "1203 messages in the queue, the oldest 1000 of them above; more with --limit"
    assert len(server.quail("queue", "list", "--json", "--limit", "3").stdout.splitlines()) == 3
    numbers = [json.loads(line)["number"] for line in server.quail("queue", "list", "--json").stdout.splitlines()]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 1203


def test_foreign_bytes_in_addresses(held):
    """A terminal gets no control character of theirs."""
    number = held.queue(b"\x1b[31m\xff@example.org", b"joe\x07\n@localhost")
    for words in (("list",), ("show", str(number)), ("list", "--json")):
        shown = held.quail("queue", *words)
        assert shown.returncode == 0
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", shown.stdout), words


# queue/drop


def program(server, name, stdin=b""):
    return launch(name, stdin=stdin, env={"QMAILHOME": str(server.path)})


def leave(server, *recipients, text=b"Subject: dropped\n\n"):
    return drop_writer.leave(b"s@example.org", recipients, [text], directory=str(server.path / "queue/drop"))


def test_dropped_while_the_queue_was_down(server):
    assert server.stop() == 0
    names = [
        leave(server, b"joe@localhost"),
        leave(server, b"joe@localhost", text=b"Subject: large\n\n" + b"x\n" * 200_000),
    ]
    server.start()
    server.line(r"^end msg", count=2)
    mails = server.mail()
    assert len(mails) == 2
    assert all(re.search(rb"\nReceived: \(qmail \d+ invoked by uid %d\); " % os.getuid(), mail) for mail in mails)
    drop = server.path / "queue/drop"
    server.until(lambda: not set(names) & set(os.listdir(drop)), "the drop to be empty")


def test_hostile_things_in_the_drop(server, tmp_path):
    """They are left alone, and each is named once; what is a message beside them arrives."""
    assert server.stop() == 0
    drop = server.path / "queue/drop"
    outside = tmp_path / "outside"
    outside.write_bytes(encode_envelope(b"", [b"joe@localhost"]) + b"Subject: stolen\n\n")
    (drop / "new.symlink").symlink_to(outside)
    os.mkfifo(drop / "new.fifo")
    (drop / "hard").write_bytes(outside.read_bytes())
    (drop / "new.hard").hardlink_to(drop / "hard")
    (drop / "new.folder").mkdir()
    (drop / "new.empty").write_bytes(b"")
    (drop / "new.garbage").write_bytes(b"garbage\n" * 100)
    (drop / "new.long").write_bytes(b"\xff\xff\xff\xff" + b"x" * 1000)
    (drop / "new.cut").write_bytes(encode_envelope(b"", [b"joe@localhost"])[:-3])
    (drop / "new.address").write_bytes(encode_envelope(b"", [b"x" * 2000 + b"@localhost"]) + b"\n")
    (drop / "tmp.half").write_bytes(encode_envelope(b"", [b"joe@localhost"]))
    (drop / "notes").write_bytes(b"not for you")
    with socket.socket(socket.AF_UNIX) as sock:
        folder = os.open(drop, os.O_PATH)
        sock.bind(f"/proc/self/fd/{folder}/new.socket")
        os.close(folder)
    hostile = set(os.listdir(drop))
    leave(server, b"joe@localhost")
    server.start()
    server.line(r"^end msg")
    assert len(server.mail()) == 1
    assert b"Subject: dropped\n" in server.mail()[0]
    assert set(os.listdir(drop)) == hostile
    for name in hostile:
        warnings = [line for line in server.log.lines if line.startswith(f"warning: queue/drop/{name} ")]
        assert len(warnings) == (name.startswith("new.")), name
        assert all("left alone; look at it and remove it" in line for line in warnings)


def test_the_drop_waits_for_room(make_server):
    """What is refused for now stays, and no message is lost."""
    server = make_server(minfree=str(1 << 60))
    name = leave(server, b"joe@localhost")
    server.start()
    server.line(r"^alert: \d+ bytes free")
    assert name in os.listdir(server.path / "queue/drop")
    assert server.stop() == 0
    server.control("minfree", "1")
    server.start()
    server.line(r"^end msg")
    assert len(server.mail()) == 1
