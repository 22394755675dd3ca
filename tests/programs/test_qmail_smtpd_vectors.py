"""What qmail-smtpd stores for what a client sends: the vectors of the facts, section 15.2, with the program as a process.

Where Quail answers otherwise (unit/smtp/test_smtp_vectors.py) the row has Quail's answer.
"""

import re

import pytest
from tests.dialogues.dialogue import SocketPeer, make_home
from tests.programs.queue_home import KEEP
from tests.programs.smtpd_process import SmtpdProcess

CLIENT = {
    "TCPREMOTEHOST": "Client.Example", "TCPREMOTEIP": "1.2.3.4", "TCPLOCALHOST": "here.example", "QMAILQUEUE": "bin/queue",
}  # fmt: skip
SENDER = "MAIL FROM:<s@x>"
BOTH = "example.com\nmx.example.com\n"
DATE = r"\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d -0000"


class Session:
    """Codes of the replies to lines; then what is in the queue."""

    def __init__(self, path, *, control=(), **environment):
        self.path = path
        make_home(str(path))
        (path / "bin").mkdir(exist_ok=True)
        for name, text in {"rcpthosts": BOTH, "rcptcheck": "0\n", **dict(control)}.items():
            (path / "control" / name).write_text(text)
        (path / "bin/queue").write_text(f"#!/bin/sh\n{KEEP}\n")
        (path / "bin/queue").chmod(0o755)
        told = {name: value for name, value in (CLIENT | environment).items() if value is not None}
        self._process = SmtpdProcess(path, {name.encode(): value.encode() for name, value in told.items()})
        self._peer = SocketPeer(self._process.socket)
        assert self._peer.line().startswith(b"220 ")

    def code(self, line):
        self._peer.send(line.encode() + b"\r\n")
        while (reply := self._peer.line())[3:4] == b"-":
            pass
        return int(reply[:3])

    def codes(self, *lines):
        return [self.code(line) for line in lines]

    def data(self, text="x\r\n"):
        assert self.code("DATA") == 354
        return self.code(f"{text}.")

    def quit(self):
        assert self.code("QUIT") == 221
        self._peer.close()
        assert self._process.finish() == (0, b"")

    def envelope(self):
        """(sender, recipients)"""
        first, *rest = (self.path / "envelope").read_bytes()[:-2].split(b"\0")
        return first[1:].decode(), [each[1:].decode() for each in rest]

    def message(self):
        return (self.path / "message").read_bytes().decode()


def stored(session, mail, rcpt):
    assert session.codes(mail, rcpt) == [250, 250]
    assert session.data() == 250
    session.quit()
    sender, recipients = session.envelope()
    return sender, *recipients


@pytest.mark.parametrize(
    ("line", "sender"),
    [("MAIL", ""), ('MAIL FROM:<a\\"q@x>', 'a"q@x'), ("MAIL FROM:<>", ""), ("mail from: s@x", "s@x")],
)
def test_senders(tmp_path, line, sender):
    assert stored(Session(tmp_path), line, "RCPT TO:<a@example.com>") == (sender, "a@example.com")


@pytest.mark.parametrize(
    ("line", "recipient"),
    [
        ('RCPT TO:<"x y"@EXAMPLE.com>', "x y@EXAMPLE.com"),
        ("RCPT TO: c@example.com foo", "c@example.com"),
        ("RCPT TO:<@r1,@r2:d@example.com>", "d@example.com"),
        ("RCPT TO:<nodomain>", "nodomain"),
        ("RCPT TO:<b@[0.0.0.0]>", "b@mx.example.com"),
        ('RCPT TO:<"a>b"@mx.example.com>', "a>b@mx.example.com"),
        ("RCPT TO:x<c@mx.example.com", "c@mx.example.com"),
    ],
)
def test_recipients(tmp_path, line, recipient):
    assert stored(Session(tmp_path), SENDER, line) == ("s@x", recipient)


def test_an_address_of_this_host_is_replaced_before_rcpthosts_is_asked(tmp_path):
    session = Session(tmp_path, control={"rcpthosts": "example.com\n"})
    assert session.codes(SENDER, "RCPT TO:<e@[127.0.0.1]>", "RCPT TO:<e@example.com>") == [250, 553, 250]
    session.quit()


@pytest.mark.parametrize("sender", ["BAD@evil.COM", "u@Spam.ORG"])
def test_badmailfrom_is_heard_at_rcpt(tmp_path, sender):
    session = Session(tmp_path, control={"badmailfrom": "Bad@Evil.com\n@spam.org\n"})
    rcpt = "RCPT TO:<a@example.com>"
    assert session.codes(f"MAIL FROM:<{sender}>", rcpt, "MAIL FROM:<good@evil.com>", rcpt) == [250, 553, 250, 250]
    session.quit()


@pytest.mark.parametrize(("suffix", "recipient"), [("@fix", "a@other.com@fix"), ("", "a@other.com")])
def test_relayclient(tmp_path, suffix, recipient):
    assert stored(Session(tmp_path, RELAYCLIENT=suffix), SENDER, "RCPT TO:<a@other.com>") == ("s@x", recipient)


@pytest.mark.parametrize(
    ("lines", "info", "first"),
    [
        (["EHLO Foo[1]_x"], None, "from Client.Example (HELO Foo[1]?x) (1.2.3.4)"),
        (["HELO client.EXAMPLE"], None, "from Client.Example (1.2.3.4)"),
        ([], "us er", "from Client.Example (us?er@1.2.3.4)"),
        ([], None, "from Client.Example (1.2.3.4)"),
    ],
)
def test_received(tmp_path, lines, info, first):
    session = Session(tmp_path, **({"TCPREMOTEINFO": info} if info else {}))
    assert set(session.codes(*lines, SENDER, "RCPT TO:<a@example.com>")) == {250}
    assert session.data("Subject: x\r\n\r\n..dot\r\n.x\r\n") == 250
    session.quit()
    field = re.escape(f"Received: {first}\n  by here.example with SMTP; ") + DATE + "\n"
    assert re.fullmatch(field + re.escape("Subject: x\n\n.dot\nx\n"), session.message())


def test_received_of_a_client_of_which_nothing_is_known(tmp_path):
    session = Session(tmp_path, TCPREMOTEHOST=None, TCPREMOTEIP=None, TCPLOCALHOST=None, TCPLOCALIP="5.6.7.8")
    assert stored(session, SENDER, "RCPT TO:<a@example.com>")[0] == "s@x"
    assert session.message().startswith("Received: from unknown (unknown)\n  by 5.6.7.8 with SMTP; ")


@pytest.mark.parametrize(("limit", "code"), [("1", 552), ("2", 250), ("0", 250)])
def test_databytes_of_the_rules_go_before_the_file(tmp_path, limit, code):
    session = Session(tmp_path, control={"databytes": "1\n"}, DATABYTES=limit)
    assert session.codes(SENDER, "RCPT TO:<a@example.com>") == [250, 250]
    assert session.data() == code
    session.quit()


@pytest.mark.parametrize(("count", "code"), [(99, 250), (100, 554)])
def test_hops(tmp_path, count, code):
    session = Session(tmp_path)
    assert session.codes(SENDER, "RCPT TO:<a@example.com>") == [250, 250]
    fields = "".join(("Received: x\r\n", "DELIVERED-xyz: x\r\n")[number % 2] for number in range(count))
    assert session.data(fields + "\r\nReceived: in the body\r\n") == code
    session.quit()


@pytest.mark.parametrize(("length", "code"), [(899, 250), (900, 555)])
def test_the_longest_address(tmp_path, length, code):
    address = "a" * (length - len("@example.com")) + "@example.com"
    session = Session(tmp_path)
    assert session.codes(f"MAIL FROM:<{address}>", SENDER, f"RCPT TO:<{address}>") == [code, 250, code]
    session.quit()


@pytest.mark.parametrize(
    ("hosts", "accepted", "refused"),
    [
        (
            "Example.com\n.Sub.example\n",
            ["example.COM", "a.sub.example", "a.b.SUB.example"],
            ["x.example.com", "sub.example"],
        ),
        (" example.com\n#example.org\n\n", [], ["example.com", "example.org"]),
        ("", [], ["example.com", "mx.example.com"]),
        ("example.com", ["example.com"], ["example.org"]),
    ],
    ids=["suffixes and capitals", "blanks and comments", "empty", "without an end of line"],
)
def test_rcpthosts(tmp_path, hosts, accepted, refused):
    """And an address without a host is always taken (envnoathost is its host)."""
    session = Session(tmp_path, control={"rcpthosts": hosts})
    assert session.codes(SENDER, "RCPT TO:<a>") == [250, 250]
    assert session.codes(*(f"RCPT TO:<a@{host}>" for host in accepted)) == [250] * len(accepted)
    assert session.codes(*(f"RCPT TO:<a@{host}>" for host in refused)) == [553] * len(refused)
    session.quit()


def test_mail_may_be_said_again_and_helo_not_at_all(tmp_path):
    session = Session(tmp_path)
    assert session.codes("MAIL FROM:<old@x>", "RCPT TO:<old@example.com>", "MAIL FROM:<new@x>") == [250, 250, 250]
    assert session.code("DATA") == 503
    assert stored(session, SENDER, "RCPT TO:<a@example.com>") == ("s@x", "a@example.com")
