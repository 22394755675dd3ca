"""What qmail-local does for one message, and for many at once. Reports and vectors: facts 6.4-6.7, 15.5."""

import os

import pytest

from quail.delivery import batch as batch_module
from quail.delivery import local as local_module
from quail.delivery.batch import Batches, Delivery
from quail.delivery.dotqmail import NO_PROGRAMS
from quail.delivery.message import Message
from quail.delivery.order import Order
from quail.message import address
from quail.queue.handover import MAX_UNANSWERED, Reply
from quail.storage.calls import SystemCalls

BODY = b"Subject: hello\n\nbody\n"


class Queue:
    """Takes forwarded mail as the queue's client does."""

    def __init__(self):
        self.taken = []
        self.answer = Reply(b"K", b"17")
        self.unanswered = 0
        self.has_reply = False

    def submit(self, sender, recipients, chunks, attributes=()):
        assert self.unanswered < MAX_UNANSWERED
        self.taken.append((sender, list(recipients), b"".join(chunks)))
        self.unanswered += 1

    def reply(self):
        self.unanswered -= 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class House:
    def __init__(self, path):
        self.home = path
        self.queue = Queue()
        self.log = []
        self.default = b"./Maildir/\n"
        self.calls = SystemCalls()

    def write(self, name, content, mode=0o600):
        path = self.home / name
        path.write_bytes(content)
        path.chmod(mode)

    def maildir(self, name):
        for folder in ("", "tmp", "new", "cur"):
            (self.home / name / folder).mkdir(mode=0o700)

    def mail(self, name="Maildir"):
        return sorted(path.read_bytes() for path in (self.home / name / "new").iterdir())

    def delivery(self, *, dash=b"", ext=b"", sender=b"s@x.y", recipient=b"u@ex.org", message=None):
        local, host = address.split(recipient)
        return Delivery(0, Order(b"u", str(self.home), local, dash, ext, host, sender, message or Message(BODY)))

    def run(self, *deliveries):
        told = []
        Batches(self.default, self.queue, self.log.append, self.calls).deliver(list(deliveries), told.extend)
        assert sorted(map(id, told)) == sorted(map(id, deliveries))
        return [(one.letter, one.text) for one in deliveries]

    def extended(self, content, mode=0o600, **how):
        """Deliver to u-x, whose .qmail-x holds `content`."""
        self.write(".qmail-x", content, mode)
        return self.run(self.delivery(dash=b"-", ext=b"x", recipient=b"u-x@ex.org", **how))[0]


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


def test_default_delivery_makes_the_maildir(house):
    assert house.run(house.delivery()) == [(b"K", b"did 1+0+0\n")]
    assert house.mail() == [b"Return-Path: <s@x.y>\nDelivered-To: u@ex.org\n" + BODY]


def test_default_delivery_of_several_lines(house):
    house.default = b"# everyone\n./Maildir/\n&archive@ex.org\n./Second/\n"
    assert house.run(house.delivery()) == [(b"K", b"did 2+1+0\nqp 17\n")]
    assert len(house.mail()) == len(house.mail("Second")) == 1
    assert house.queue.taken == [(b"s@x.y", [b"archive@ex.org"], b"Delivered-To: u@ex.org\n" + BODY)]


def test_maildir_named_in_a_file_is_not_made(house):
    assert house.extended(b"./M/\n") == (b"Z", b"Unable to chdir to maildir. (#4.2.1)\n")
    assert not (house.home / "M").exists()
    house.maildir("M")
    assert house.extended(b"./M/\n") == (b"K", b"did 1+0+0\n")


def test_absolute_maildir(house):
    house.maildir("M")
    assert house.extended(os.fsencode(house.home / "M") + b"/\n") == (b"K", b"did 1+0+0\n")
    assert len(house.mail("M")) == 1


@pytest.mark.parametrize(
    ("sender", "line"),
    [
        (b"", b"<>"),
        (b"#@[]", b"<#@[]>"),
        (b"s p@x.y", b'<"s p"@x.y>'),
        (b"a\nb@x.y", b'<"a\\_b"@x.y>'),
    ],
)
def test_return_path(house, sender, line):
    house.run(house.delivery(sender=sender, recipient=b"U\nv@ex.org"))
    assert house.mail() == [b"Return-Path: " + line + b"\nDelivered-To: U_v@ex.org\n" + BODY]


def test_comment_only_discards(house):
    assert house.extended(b"# only\n") == (b"K", b"did 0+0+0\n")


def test_empty_file_is_the_default_whatever_its_x_bit(house):
    assert house.extended(b"", 0o700) == (b"K", b"did 1+0+0\n")


@pytest.mark.parametrize("default", [b"\n", b"", b"\n./Maildir/\n"])
def test_blank_first_line_of_the_default(house, default):
    house.default = default
    assert house.run(house.delivery()) == [(b"Z", b"Uh-oh: first line of .qmail file is blank. (#4.2.1)\n")]


def test_blank_first_line(house):
    assert house.extended(b"\n./M/\n") == (b"Z", b"Uh-oh: first line of .qmail file is blank. (#4.2.1)\n")


def test_list_refuses_files(house):
    assert house.extended(b"+list\n./M/\n") == (b"Z", b"Uh-oh: .qmail has file delivery but has x bit set. (#4.7.0)\n")


def test_x_bit_refuses_programs(house):
    text = b"Uh-oh: .qmail has prog delivery but has x bit set. (#4.7.0)\n"
    assert house.extended(b"&a@b\n|true\n", 0o700) == (b"Z", text)
    assert house.queue.taken == []


@pytest.mark.parametrize("line", [b"|exit 99", b"./Mailbox"])
def test_what_may_wait_is_left_to_a_process_of_its_own(house, line):
    house.maildir("M")
    house.write(".qmail-x", b"./M/\n&a@b\n" + line + b"\n")
    apart, plain = house.delivery(dash=b"-", ext=b"x"), house.delivery()
    told = []
    batches = Batches(house.default, house.queue, house.log.append, house.calls)
    assert batches.deliver([apart, plain], told.extend) == [apart]
    assert told == [plain]
    assert (apart.letter, plain.letter) == (b"", b"K")
    assert house.mail("M") == house.queue.taken == []


def test_forwarding_by_another_way_than_the_queue_is_left_too(house):
    house.write(".qmail-x", b"&a@b\n")
    apart, plain = house.delivery(dash=b"-", ext=b"x"), house.delivery()
    batches = Batches(house.default, house.queue, house.log.append, house.calls, forwards=False)
    assert batches.deliver([apart, plain], list) == [apart]
    assert house.queue.taken == []


def test_program_lines_may_be_forbidden(house):
    house.write(".qmail-x", b"# mine\n./M/\n|true\n")
    delivery = house.delivery(dash=b"-", ext=b"x")
    batches = Batches(house.default, house.queue, house.log.append, house.calls, programs=False)
    assert batches.deliver([delivery], list) == []
    where = os.fsencode(house.home / ".qmail-x") + b" line 3: "
    assert (delivery.letter, delivery.text) == (b"Z", where + NO_PROGRAMS + b". (#4.3.0)\n")


def test_forwarding_waits_for_all_else(house):
    assert house.extended(b"&a@b\n./M/\n")[0] == b"Z"
    assert house.queue.taken == []
    house.maildir("M")
    assert house.extended(b"&a@b\n./M/\nc\n") == (b"K", b"did 1+2+0\nqp 17\n")
    assert house.queue.taken == [(b"s@x.y", [b"a@b", b"c"], b"Delivered-To: u-x@ex.org\n" + BODY)]


@pytest.mark.parametrize(
    ("files", "sender", "new"),
    [
        ([], b"s@x.y", b"s@x.y"),
        (["-default"], b"s@x.y", b"s@x.y"),
        ([""], b"s@x.y", b"u-x-owner@ex.org"),
        (["", "-default"], b"s@x.y", b"u-x-owner-@ex.org-@[]"),
        (["", "-default"], b"", b""),
        (["", "-default"], b"#@[]", b"#@[]"),
    ],
)
def test_owner_rewrites_the_sender(house, files, sender, new):
    for name in files:
        house.write(".qmail-x-owner" + name, b"# kept\n")
    assert house.extended(b"&a@b\n", sender=sender) == (b"K", b"did 0+1+0\nqp 17\n")
    assert house.queue.taken[0][0] == new


def test_owner_goes_by_the_whole_extension(house):
    house.write(".qmail-default", b"&a@b\n")
    house.write(".qmail-l:1-owner", b"&me\n")
    house.run(house.delivery(dash=b"-", ext=b"L.1", recipient=b"u-L.1@ex.org"))
    assert house.queue.taken[0][0] == b"u-L.1-owner@ex.org"


@pytest.mark.parametrize(
    ("answer", "letter", "text"),
    [
        (Reply(b"D", b"mail server permanently rejected message (#5.3.0)"), b"D",
         b"mail server permanently rejected message (#5.3.0)"),
        (Reply(b"Z", b"qq write error or disk full (#4.3.0)"), b"Z", b"qq write error or disk full (#4.3.0)"),
        (ConnectionRefusedError(111, "Connection refused"), b"Z",
         b"can't reach the queue: connection refused (#4.3.0)"),
    ],
)  # fmt: skip
def test_forwarding_fails(house, answer, letter, text):
    house.queue.answer = answer
    assert house.extended(b"&a@b\n") == (letter, b"Unable to forward message: " + text + b".\n")


def test_a_queue_that_does_not_answer_is_waited_for_once_and_holds_nothing_else_up(house):
    house.write(".qmail-x", b"&a@b\n")
    house.queue.answer = TimeoutError("timed out")
    number = 2 * MAX_UNANSWERED
    deliveries = [house.delivery(dash=b"-", ext=b"x") for _ in range(number)] + [house.delivery()]
    told = []
    batches = Batches(house.default, house.queue, house.log.append)
    batches.deliver(deliveries, lambda done: told.extend((one.letter, len(house.queue.taken)) for one in done))
    assert told == [(b"K", 0)] + [(b"Z", MAX_UNANSWERED)] * number
    assert {one.text for one in deliveries[:-1]} == {
        b"Unable to forward message: can't reach the queue: timed out (#4.3.0).\n"
    }
    house.queue.answer = Reply(b"K", b"17")
    house.queue.unanswered = 0
    assert house.run(house.delivery(dash=b"-", ext=b"x"))[0][0] == b"K"


def test_forwarded_mail_is_all_handed_over_before_a_reply_is_awaited(house):
    house.write(".qmail-x", b"&a@b\n")
    taken = []
    reply = house.queue.reply
    house.queue.reply = lambda: taken.append(len(house.queue.taken)) or reply()
    reports = house.run(*[house.delivery(dash=b"-", ext=b"x") for _ in range(MAX_UNANSWERED + 3)])
    assert reports == [(b"K", b"did 0+1+0\nqp 17\n")] * (MAX_UNANSWERED + 3)
    assert taken == [MAX_UNANSWERED] * MAX_UNANSWERED + [MAX_UNANSWERED + 3] * 3


def test_a_message_that_cannot_be_read_costs_the_others_nothing(house):
    house.write(".qmail-x", b"&a@b\n")
    fd = os.memfd_create("message")
    os.write(fd, b"0123456789")
    short = Message(b"A: b\n\n", fd)
    os.ftruncate(fd, 4)
    messages = [Message(b"1\n"), short, Message(b"3\n")]
    reports = house.run(*[house.delivery(dash=b"-", ext=b"x", message=message) for message in messages])
    assert [letter for letter, _ in reports] == [b"K", b"Z", b"K"]
    assert [body.rpartition(b"org\n")[2] for _, _, body in house.queue.taken] == [b"1\n", b"3\n"]
    os.close(fd)


@pytest.mark.parametrize("recipient", [b"u-x@ex.org", b"u-X@ex.org"])
def test_loop(house, recipient):
    message = Message(b"Delivered-To: u-x@ex.org\n" + BODY)
    house.write(".qmail-x", b"")
    (report,) = house.run(house.delivery(dash=b"-", ext=b"x", recipient=recipient, message=message))
    if recipient == b"u-x@ex.org":
        assert report == (b"D", b"This message is looping: it already has my Delivered-To line. (#5.4.6)\n")
    else:
        assert report == (b"K", b"did 1+0+0\n")


@pytest.mark.parametrize(
    ("mode", "report"),
    [
        (0o770, (b"K", b"did 1+0+0\n")),
        (0o702, (b"Z", b"Uh-oh: home directory is writable. (#4.7.0)\n")),
        (0o1700, (b"Z", b"Home directory is sticky: user is editing his .qmail file. (#4.2.1)\n")),
    ],
)
def test_home_mode(house, mode, report):
    house.home.chmod(mode)
    assert house.run(house.delivery()) == [report]


def test_no_home(house):
    house.home = house.home / "gone"
    text = b"Unable to switch to %b: file does not exist. (#4.3.0)\n" % os.fsencode(house.home)
    assert house.run(house.delivery()) == [(b"Z", text)]


def test_file_search(house):
    def letters():
        exts = (b"Foo-Bar.Baz", b"other", b"foo-")
        return [letter for letter, _ in house.run(*[house.delivery(dash=b"-", ext=ext) for ext in exts])]

    house.write(".qmail-foo-default", b"&foo-default\n")
    assert letters() == [b"K", b"D", b"K"]
    house.write(".qmail-foo-bar:baz", b"&exact\n")
    house.write(".qmail-default", b"&default\n")
    assert letters() == [b"K", b"K", b"K"]
    assert [recipients[0] for _, recipients, _ in house.queue.taken] == [
        b"foo-default", b"foo-default", b"exact", b"default", b"foo-default",
    ]  # fmt: skip


def test_no_mailbox(house):
    (house.home / ".qmail-x").mkdir()  # anything but a regular file counts as absent
    os.mkfifo(house.home / ".qmail-default")
    (report,) = house.run(house.delivery(dash=b"-", ext=b"x"))
    assert report == (b"D", b"Sorry, no mailbox here by that name. (#5.1.1)\n")


def test_writable_file(house):
    assert house.extended(b"./M/\n", 0o622) == (b"Z", b"Uh-oh: .qmail file is writable. (#4.7.0)\n")


def test_file_too_large(house):
    house.write(".qmail-x", b"# comment\n" * 200_000)
    (report,) = house.run(house.delivery(dash=b"-", ext=b"x"))
    assert report == (b"Z", b"Unable to read .qmail-x: more than 1048576 bytes. (#4.3.0)\n")


def test_unreadable_file(house, monkeypatch):
    real = os.open

    def refuse(path, *rest):
        if str(path).endswith(".qmail"):
            raise PermissionError(13, "Permission denied")
        return real(path, *rest)

    monkeypatch.setattr(os, "open", refuse)
    assert house.run(house.delivery()) == [(b"Z", b"Unable to open .qmail: access denied. (#4.3.0)\n")]


def test_one_batch_asks_the_disk_once(house, monkeypatch):
    house.maildir("Maildir")
    asked = []
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda path, *rest, **how: asked.append(path) or real(path, *rest, **how))
    assert house.run(*[house.delivery() for _ in range(20)]) == [(b"K", b"did 1+0+0\n")] * 20
    assert asked.count(f"{house.home}/.") == 1
    assert len(house.mail()) == 20


def test_a_failure_costs_only_its_own_message(house):
    house.write(".qmail-a", b"./None/\n")
    house.write(".qmail-b", b"&x@y\n./Maildir/\n")
    house.maildir("Maildir")
    exts = [b"a", b"b", b"c"]
    reports = house.run(*[house.delivery(dash=b"-", ext=ext) for ext in exts], house.delivery())
    assert [letter for letter, _ in reports] == [b"Z", b"K", b"D", b"K"]
    assert len(house.mail()) == 2


def test_large_message_from_a_descriptor(house):
    content = b"X" * 300_000 + b"\n"
    fd = os.memfd_create("message")
    os.write(fd, content)
    message = Message(b"Received: by queue\n\n", fd)
    house.default = b"./Maildir/\n&a@b\n"
    assert house.run(house.delivery(message=message)) == [(b"K", b"did 1+1+0\nqp 17\n")]
    assert house.mail() == [b"Return-Path: <s@x.y>\nDelivered-To: u@ex.org\nReceived: by queue\n\n" + content]
    assert house.queue.taken[0][2] == b"Delivered-To: u@ex.org\nReceived: by queue\n\n" + content
    os.close(fd)


@pytest.mark.parametrize("default", [b"./Maildir/\n", b"&a@b\n"])
def test_a_message_that_cannot_be_read_is_tried_again(house, default):
    fd = os.memfd_create("message")
    os.write(fd, b"0123456789")
    message = Message(b"A: b\n\n", fd)
    os.ftruncate(fd, 4)
    house.default = default
    assert house.run(house.delivery(message=message)) == [(b"Z", b"Unable to read message. (#4.3.0)\n")]
    assert "ends at 4 of 10" in house.log[0]
    os.close(fd)


def test_disk_full_is_told_to_the_log(house):
    def fail(_fd, _data):
        raise OSError(28, "No space left on device")

    house.calls.write = fail
    assert house.run(house.delivery()) == [(b"Z", b"Temporary error on maildir delivery. (#4.3.0)\n")]
    assert "No space left on device" in house.log[0]


@pytest.mark.parametrize("broken", ["quote", "deliver"])
def test_a_bug_loses_nothing(house, monkeypatch, broken):
    def bug(*_):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(address if broken == "quote" else batch_module.maildir, broken, bug)
    assert house.run(house.delivery(), house.delivery()) == [(b"Z", local_module.INTERNAL)] * 2
    assert "planted" in house.log[0]
