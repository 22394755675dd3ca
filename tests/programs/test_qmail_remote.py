"""qmail-remote as a process, its reports byte by byte (facts 4.5, 15.4), with a host and a DNS server of the test's own."""

import socket
import struct
import threading

import pytest
from tests.programs.launch import launch
from tests.remote.dnsserver import DnsServer
from tests.remote.hostactions import CLOSE, HANG, RESET, and_close, raw, slowly
from tests.remote.qmtphost import QmtpHost
from tests.remote.smtphost import Hosts, Silence, SmtpHost, bind

PLAIN = ("8BITMIME",)
MESSAGE = b"Subject: hello\n\nhello\n"
HERE = b"127.0.0.1"
NO_CONNECTION = b"ZSorry, I wasn't able to establish an SMTP connection. (#4.4.1)\n\0"
UNRESOLVED = b"ZSorry, I couldn't find any host by that name. (#4.1.2)\n\0"
DIED = b"ZConnected to 127.0.0.1 but connection died. (#4.4.2)\n\0"
DIED_LATE = b"ZConnected to 127.0.0.1 but connection died. Possible duplicate! (#4.4.2)\n\0"
GIVING_UP = b"DGiving up on 127.0.0.1.\n\0"
ACCEPTED = b"K127.0.0.1 accepted message.\nRemote host said: 250 ok\n\0"
NO_SUCH_USER = b"h127.0.0.1 does not like recipient.\nRemote host said: 550 no\n\0"
LATER = b"s127.0.0.1 does not like recipient.\nRemote host said: 450 later\n\0"
TABLE = {"bad": "550 no", "later": "450 later"}


class Home:
    def __init__(self, path, hosts):
        self.path, self.hosts = path, hosts
        (path / "control").mkdir()
        self.control("me", "mx.example.com")

    def control(self, name, text):
        (self.path / "control" / name).write_text(f"{text}\n")

    def serve(self, host):
        """Everybody's mail goes to this host."""
        self.control("smtproutes", f":127.0.0.1:{self.hosts.open(host)}")
        return host

    def run(self, host, sender, *recipients, text=MESSAGE, **env):
        """What is printed; nothing may be said on descriptor 2, and the exit code is 0 whatever happens (facts 4.5)."""
        done = launch("qmail-remote", host, sender, *recipients, stdin=text, env={"QMAILHOME": str(self.path), **env})
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout

    def send(self, *recipients, text=MESSAGE):
        return self.run("example.org", "s@example.com", *(f"{to}@example.org" for to in recipients or ["r"]), text=text)


@pytest.fixture(scope="module")
def hosts():
    with Hosts() as hosts:
        yield hosts


@pytest.fixture
def home(tmp_path, hosts):
    return Home(tmp_path, hosts)


def message(letter, line, said):
    return b"%b127.0.0.1 %b\nRemote host said: %b\n\0" % (letter.encode(), line.encode(), said.encode())


def connected(letter, line, said):
    return b"%bConnected to 127.0.0.1 but %b.\nRemote host said: %b\n\0" % (
        letter.encode(),
        line.encode(),
        said.encode(),
    )


ANSWERS = {
    "accepted": ({"final": "250 got it 100% ok"}, message("K", "accepted message.", "250 got it 100% ok"), b"r"),
    "greeting 421": ({"greeting": "421 busy"}, connected("Z", "greeting failed", "421 busy"), None),
    "greeting 554": ({"greeting": "554 no"}, connected("Z", "greeting failed", "554 no"), None),
    "greeting 250": ({"greeting": "250 odd"}, connected("Z", "greeting failed", "250 odd"), None),
    "greeting of many lines": ({"greeting": "220-a\n220 b"}, ACCEPTED, b"r"),
    "EHLO 450": ({"ehlo": "450 no"}, connected("Z", "my name was rejected", "450 no"), None),
    "HELO 550": ({"keywords": None, "helo": "550 no"}, connected("Z", "my name was rejected", "550 no"), None),
    "HELO only": ({"keywords": None}, ACCEPTED, b"r"),
    "MAIL 450": ({"mail": "450 later"}, connected("Z", "sender was rejected", "450 later"), None),
    "MAIL 550": ({"mail": "550 no"}, connected("D", "sender was rejected", "550 no"), None),
    "MAIL 421 and the end": ({"mail": and_close("421 bye")}, connected("Z", "sender was rejected", "421 bye"), None),
    "DATA 451": ({"data": "451 later"}, message("Z", "failed on DATA command.", "451 later"), b"r"),
    "DATA 554": ({"data": "554 no"}, message("D", "failed on DATA command.", "554 no"), b"r"),
    "the dot 451": ({"final": "451 later"}, message("Z", "failed after I sent the message.", "451 later"), b"r"),
    "the dot 554-": ({"final": "554-a\n554 b"}, message("D", "failed after I sent the message.", "554-a\n554 b"), b"r"),
    "everything slowly": ({"greeting": slowly("220 a"), "mail": slowly("250 b"), "data": slowly("354 c")}, ACCEPTED, b"r"),
    "the end instead of a greeting": ({"greeting": CLOSE}, DIED, None),
    "no SMTP": ({"greeting": raw(b"HTTP/1.0 400 Bad Request\r\n\r\n")}, DIED, None),
    "the end after EHLO": ({"ehlo": CLOSE}, DIED, None),
    "the end after MAIL": ({"keywords": PLAIN, "mail": CLOSE}, DIED, None),
    "the end after RCPT": ({"keywords": PLAIN, "rcpt": CLOSE}, DIED, None),
    "the end after DATA": ({"keywords": PLAIN, "data": CLOSE}, DIED, b"r"),
    "the end after the dot": ({"final": CLOSE}, DIED_LATE, b"r"),
    "RST after the dot": ({"final": RESET}, DIED_LATE, b"r"),
}  # fmt: skip


@pytest.mark.parametrize("keywords", ["pipelining", "plain"])
@pytest.mark.parametrize("name", ANSWERS)
def test_answers(home, name, keywords):
    script, report, recipient = ANSWERS[name]
    host = home.serve(SmtpHost(**({} if keywords == "pipelining" else {"keywords": PLAIN}) | script))
    assert home.send() == (b"" if recipient is None else recipient + b"\0") + report
    assert not host.faults


RECIPIENTS = {
    "two": (["a", "b"], b"r\0r\0" + ACCEPTED),
    "one that is refused": (["bad"], NO_SUCH_USER + GIVING_UP),
    "one that is put off": (["later"], LATER + GIVING_UP),
    "none is left": (["bad", "later"], NO_SUCH_USER + LATER + GIVING_UP),
    "the middle one is fine": (["bad", "ok", "later"], NO_SUCH_USER + b"r\0" + LATER + ACCEPTED),
    "the same twice": (["ok", "ok"], b"r\0r\0" + ACCEPTED),
    "100": ([f"r{number}" for number in range(100)], b"r\0" * 100 + ACCEPTED),
    "250": ([f"r{number}" for number in range(250)], b"r\0" * 250 + ACCEPTED),
}  # fmt: skip


@pytest.mark.parametrize("keywords", ["pipelining", "plain", "helo"])
@pytest.mark.parametrize("name", RECIPIENTS)
def test_recipients_in_the_order_of_the_arguments(home, name, keywords):
    recipients, report = RECIPIENTS[name]
    modes = {"pipelining": {}, "plain": {"keywords": PLAIN}, "helo": {"keywords": None}}
    host = home.serve(SmtpHost(rcpt=TABLE, **modes[keywords]))
    assert home.send(*recipients) == report
    assert not host.faults
    taken = [address for one in host.messages for address in one.accepted]
    assert taken == [f"{to}@example.org".encode() for to in recipients if to not in TABLE]


def test_a_reply_of_two_lines(home):
    home.serve(SmtpHost(rcpt="550-no such\n550 user"))
    report = b"h127.0.0.1 does not like recipient.\nRemote host said: 550-no such\n550 user\n\0"
    assert home.send("r") == report + GIVING_UP


def test_addresses_are_quoted(home):
    host = home.serve(SmtpHost(keywords=()))
    assert home.run("h.org", "s p@x.y", "r cpt@h.org") == b"r\0" + ACCEPTED
    (connection,) = host.connections
    assert connection.commands[1:3] == [b'MAIL FROM:<"s p"@x.y>', b'RCPT TO:<"r cpt"@h.org>']


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        (b"", b""),
        (b"a: b\n\nno end", b"a: b\r\n\r\nno end\r\n"),
        (b".\n..\n", b"..\r\n...\r\n"),
        (b"a\r.\r\nb\n", b"a\r\n..\r\nb\r\n"),
        (b"x" * 300_000 + b"\r", b"x" * 300_000 + b"\r\n"),
    ],
    ids=["empty", "no end", "dots", "CR and dot", "large"],
)
def test_texts(home, stored, sent):
    host = home.serve(SmtpHost())
    assert home.send(text=stored) == b"r\0" + ACCEPTED
    assert [one.body for one in host.messages] == [sent]
    assert not host.faults


def test_it_takes_its_leave(home):
    host = home.serve(SmtpHost())
    home.send()
    (connection,) = host.connections
    assert connection.all_verbs() == "EHLO MAIL RCPT DATA . QUIT"
    assert connection.commands[0] == b"EHLO mx.example.com"


def test_helohost(home):
    home.control("helohost", "greeter.example.com")
    host = home.serve(SmtpHost())
    home.send()
    assert host.connections[0].commands[0] == b"EHLO greeter.example.com"


def test_outgoingip(home):
    home.control("outgoingip", "127.0.0.7")
    host = home.serve(SmtpHost())
    assert home.send() == b"r\0" + ACCEPTED
    assert host.connections[0].peer[0] == "127.0.0.7"


class TestNobodyThere:
    def test_refused(self, home):
        with bind("127.0.0.1", 0) as sock:
            port = sock.getsockname()[1]
        home.control("smtproutes", f":127.0.0.1:{port}")
        assert home.send() == NO_CONNECTION

    def test_silent(self, home):
        home.control("timeoutconnect", "1")
        silence = Silence(("127.0.0.1", 0))
        home.control("smtproutes", f":127.0.0.1:{silence.places[0][1]}")
        assert home.send() == NO_CONNECTION
        silence.close()

    @pytest.mark.parametrize("stage", ["greeting", "ehlo", "mail", "rcpt", "data", "final"])
    def test_it_stops_waiting(self, home, stage):
        home.control("timeoutremote", "1")
        home.serve(SmtpHost(keywords=PLAIN, **{stage: HANG}))
        before = b"r\0" if stage in ("data", "final") else b""
        assert home.send() == before + (DIED_LATE if stage == "final" else DIED)


class TestQmtp:
    def serve(self, home, host):
        home.control("smtproutes", f":qmtp:127.0.0.1:{home.hosts.open(host)}")
        return host

    def test_accepted(self, home):
        host = self.serve(home, QmtpHost("Kok 1 qp 2"))
        assert home.send("a", "b") == b"r\0r\0K127.0.0.1 accepted message.\nRemote host said: ok 1 qp 2\n\0"
        (package,) = host.messages
        assert (package.text, package.sender) == (MESSAGE, b"s@example.com")
        assert package.recipients == [b"a@example.org", b"b@example.org"]

    def test_each_his_own(self, home):
        self.serve(home, QmtpHost({"bad": "Dno", "later": "Znot now", "": "Kok"}))
        assert home.send("bad", "later", "r") == (
            b"h127.0.0.1 does not like recipient.\nRemote host said: no\n\0"
            b"s127.0.0.1 does not like recipient.\nRemote host said: not now\n\0"
            b"r\0K127.0.0.1 accepted message.\nRemote host said: ok\n\0"
        )

    def test_the_end(self, home):
        self.serve(home, QmtpHost(CLOSE))
        assert home.send() == DIED_LATE

    def test_the_end_in_the_middle_of_the_message(self, home):
        """It can't have been taken, so nothing is said of duplicates."""

        def hear_some():
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # end by a reset

        with socket.create_server(("127.0.0.1", 0)) as listener:
            home.control("smtproutes", f":qmtp:127.0.0.1:{listener.getsockname()[1]}")
            host = threading.Thread(target=hear_some)
            host.start()
            assert home.send(text=b"Subject: large\n\n" + b"0123456789abcde\n" * (1 << 20)) == DIED
            host.join()


class TestNames:
    """With a name server of control/nameservers."""

    @pytest.fixture
    def dns(self, home):
        with DnsServer(
            "own.test MX 10 mx.own.test", "mx.own.test A 127.0.0.1", "null.test MX 0 .", "bare.test TXT bare"
        ) as server:
            home.control("nameservers", f"{server.address}:{server.port}")
            yield server

    @pytest.mark.parametrize(
        ("host", "report"),
        [
            ("nowhere.test", b"DSorry, I couldn't find any host named nowhere.test. (#5.1.2)\n\0"),
            ("bare.test", b"DSorry, I couldn't find a mail exchanger or IP address. (#5.4.4)\n\0"),
            ("null.test", b"DSorry, null.test says that it takes no mail: it has a null MX record. (#5.1.10)\n\0"),
            (
                "own.test",
                (
                    b"DSorry. own.test has this host as its best mail exchanger or as its address,\n"
                    b"but it isn't in my control/locals file, so I don't treat it as local. (#5.4.6)\n\0"
                ),
            ),
        ],
    )
    def test_for_good(self, home, dns, host, report):
        assert home.run(host, "s@example.com", f"r@{host}") == report

    @pytest.mark.parametrize("trouble", ["servfail", "refused", "lame"])
    def test_for_now(self, home, dns, trouble):
        dns.behave("own.test", trouble)
        assert home.run("own.test", "s@example.com", "r@own.test") == UNRESOLVED

    def test_nobody_to_ask(self, home, dns):
        home.control("nameservers", "127.0.0.1:1")
        assert home.run("own.test", "s@example.com", "r@own.test") == UNRESOLVED

    def test_a_relay_by_name(self, home, dns):
        port = home.hosts.open(SmtpHost())
        home.control("smtproutes", f"own.test:mx.own.test:{port}")
        assert home.run("own.test", "s@example.com", "r@own.test") == b"r\0" + ACCEPTED


class TestTheHome:
    @pytest.mark.parametrize("words", [(), ("host",), ("host", "sender")])
    def test_too_few_arguments(self, home, words):
        assert launch("qmail-remote", *words, env={"QMAILHOME": str(home.path)}).stdout == (
            b"DI (qmail-remote) was invoked improperly. (#5.3.5)\n\0"
        )

    def said(self, home, report, **env):
        done = launch("qmail-remote", "h.org", "s@x", "r@h.org", env={"QMAILHOME": str(home.path), **env})
        assert (done.returncode, done.stdout) == (0, report)
        assert done.stderr.startswith(b"qmail-remote: ")

    def test_no_home(self, home):
        self.said(home, b"ZUnable to switch to home directory. (#4.3.0)\n\0", QMAILHOME=str(home.path / "none"))

    def test_no_name(self, home):
        (home.path / "control/me").unlink()
        self.said(home, b"ZUnable to read control files. (#4.3.0)\n\0")

    def test_a_broken_route(self, home):
        home.control("smtproutes", "h.org:relay:port")
        self.said(home, b"ZUnable to read control files. (#4.3.0)\n\0")
