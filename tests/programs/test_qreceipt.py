"""qreceipt as a process: when it sends a notice, to whom, and what the notice says."""

import subprocess
import sys

import pytest
from tests.programs.launch import launch
from tests.programs.queue_home import QueueHome

FIELD = b"Notice-Requested-Upon-Delivery-To: joe@example.org\n"
ID = b"Message-ID: <1.2.qmail@x>\n"


@pytest.fixture
def home(tmp_path):
    return QueueHome(tmp_path / "home", SENDER="s@x")


def asked(home, message, address="joe@example.org", **environment):
    assert home.run("qreceipt", address, stdin=message, **environment) == (0, b"", b"")
    return home.taken()


def test_the_notice(home):
    sender, recipients, notice = asked(home, b"Subject: x\n" + FIELD + ID + b"\nhello\n")
    assert (sender, recipients) == (b"", [b"s@x"])
    header, _, body = notice.partition(b"\n\n")
    assert header == b"From: DELIVERY NOTICE SYSTEM <s@x>\nTo: <s@x>\nSubject: success notice"
    assert b"joe@example.org" in body
    assert body.endswith(b" " + ID)


def test_a_message_without_an_id(home):
    notice = asked(home, FIELD + b"\nMessage-ID: <in the body>\n")[2]
    assert b"joe@example.org" in notice
    assert b"Message-ID" not in notice


def test_an_id_in_two_lines(home):
    assert asked(home, FIELD + b"message-id:\n <1@x>\n")[2].endswith(b" message-id:\n <1@x>\n")


@pytest.mark.parametrize(
    "field",
    [
        b"Notice-Requested-Upon-Delivery-To: joe@example.org",
        b"NOTICE-REQUESTED-UPON-DELIVERY-TO:joe@example.org",
        b"Notice-Requested-Upon-Delivery-To : joe@example.org",
        b"Notice-Requested-Upon-Delivery-To: Joe <joe@example.org> (that's me)",
        b"Notice-Requested-Upon-Delivery-To: a@b, joe@example.org, c@d",
        b"Notice-Requested-Upon-Delivery-To: a@b,\n joe@example.org",
        b"Notice-Requested-Upon-Delivery-To: a@b\nnotice-requested-upon-delivery-to: joe@example.org",
        b'Notice-Requested-Upon-Delivery-To: "joe"@example.org',
        b"Notice-Requested-Upon-Delivery-To: (((\nNotice-Requested-Upon-Delivery-To: joe@example.org",
        b"Subject: x\nnonsense: y\nNotice-Requested-Upon-Delivery-To: joe@example.org",
    ],
)
def test_asked_for(home, field):
    assert asked(home, field + b"\n\nhello\n")[1] == [b"s@x"]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"Subject: x\n\nhello\n",
        b"Subject: x\n\n" + FIELD,
        b"no header\n" + FIELD,
        b"Notice-Requested-Upon-Delivery-To: jane@example.org\n\n",
        b"Notice-Requested-Upon-Delivery-To: Joe@example.org\n\n",
        b"Notice-Requested-Upon-Delivery-To: joe@EXAMPLE.ORG\n\n",
        b"Notice-Requested-Upon-Delivery-To: joe\n\n",
        b"Notice-Requested-Upon-Delivery-To: xjoe@example.org\n\n",
        b"Notice-Requested-Upon-Delivery-To: joe@example.org.uk\n\n",
        b"Notice-Requested-Upon-Delivery-To: (joe@example.org) a@b\n\n",
        b"Notice-Requested-Upon-Delivery-To:\n\n",
        b"X-Notice-Requested-Upon-Delivery-To: joe@example.org\n\n",
    ],
)
def test_not_asked_for(home, message):
    """Exactly this address, in the header."""
    assert asked(home, message) is None


@pytest.mark.parametrize("sender", [b"", b"#@[]"])
def test_nobody_to_tell(home, sender):
    assert asked(home, FIELD + b"\n", SENDER=sender) is None


@pytest.mark.parametrize(
    ("sender", "written"),
    [(b"two words@x", b'"two words"@x'), (b'a"b@x', b'"a\\"b"@x'), (b"two\nlines@x", b'"two\\_lines"@x'), (b"s", b"s")],
)
def test_unusual_senders(home, sender, written):
    """Quoted in the header, as they are in the envelope."""
    _, recipients, notice = asked(home, FIELD + b"\n", SENDER=sender)
    assert recipients == [sender]
    assert notice.startswith(b"From: DELIVERY NOTICE SYSTEM <%b>\nTo: <%b>\nSubject: " % (written, written))


def test_a_bare_name_is_compared_as_it_is(home):
    assert asked(home, b"Notice-Requested-Upon-Delivery-To: joe\n\n", "joe")[1] == [b"s@x"]


def test_further_arguments_do_not_count(home):
    assert home.run("qreceipt", "jane@example.org", "joe@example.org", stdin=FIELD) == (0, b"", b"")
    assert home.taken() is None
    assert home.run("qreceipt", "joe@example.org", "jane@example.org", stdin=FIELD) == (0, b"", b"")
    assert home.taken()[1] == [b"s@x"]


def test_called_wrongly():
    done = launch("qreceipt")
    assert (done.returncode, done.stderr) == (100, b"qreceipt: usage: qreceipt address\n")


def test_outside_of_a_delivery(home):
    assert home.run("qreceipt", "a@b", stdin=FIELD, SENDER=None) == (100, b"", b"qreceipt: fatal: SENDER not set\n")


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ("exit 31", 100, b"mail server permanently rejected message (#5.3.0)"),
        ("exit 53", 111, b"qq write error or disk full (#4.3.0)"),
        ("kill -9 $$", 111, b"qq crashed (#4.3.0)"),
    ],
)
def test_what_the_queue_says(home, answer, code, words):
    home.queue(f"cat > message; {answer}")
    assert home.run("qreceipt", "joe@example.org", stdin=FIELD) == (code, b"", b"qreceipt: fatal: %b\n" % words)


def test_a_message_that_cannot_be_read(home):
    with (home.path / "only-written").open("wb") as file:
        done = subprocess.run(
            [sys.executable, "-m", "quail.programs.qmail.qreceipt", "a@b"],
            stdin=file, capture_output=True, env=home.environment, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 111
    assert done.stderr == b"qreceipt: fatal: unable to read message: file descriptor not open\n"


def test_only_the_header_is_read(home):
    """A body of any size does not matter."""
    assert asked(home, FIELD + b"\n" + b"0123456789abcde\n" * 200_000)[1] == [b"s@x"]
