"""Hosts that take LMTP, by a route: each recipient has an answer of his own to the message."""

from tests.remote.cases import (
    PLAIN,
    SENDER,
    Case,
    Message,
    accepted,
    data_failed,
    died,
    died_late,
    greeting_failed,
    message_failed,
    name_rejected,
    one_rejected,
    recipient_rejected,
    remote,
    sender_rejected,
)
from tests.remote.hostactions import CLOSE, HANG, RESET, and_close, late, raw, slowly
from tests.remote.lmtphost import LmtpHost

GOOD, BAD, LATER, FULL = "250 2.0.0 <good> saved", "550 5.1.1 no such user", "450 4.2.0 busy", "452 4.2.2 mailbox full"


def failed(said):
    """And others were accepted."""
    return message_failed(said)


def failed_alone(said):
    return remote("failure" if said.startswith("5") else "deferral", "{a} failed after I sent the message.", said,
                  "Giving up on {a}.")  # fmt: skip


def by_lmtp(name, says, *to, host, **more):
    text = more.pop("text", b"Subject: hello\n\nhello\n")
    more = {"message": Message(*to or ["r"], text=text), **more}
    return Case(f"LMTP: {name}", says, zone=[], a=host, routes="{domain}:lmtp:{a}", **more)


def got(case):
    (message,) = case.hosts["a"].messages
    assert message.sender == SENDER.encode()
    assert message.text.partition(b"\n")[2] == case.messages[0].text


def one_transaction(case):
    (connection,) = case.hosts["a"].connections
    assert len(connection.transactions) == 1


def two_connections(case):
    assert [len(connection.transactions) for connection in case.hosts["a"].connections] == [1, 1]


MIXED = {"good": GOOD, "bad": BAD, "later": LATER, "full": FULL}
REPORTS = {"good": accepted(said=GOOD), "bad": failed(BAD), "later": failed(LATER), "full": failed(FULL)}
CASES = [
    by_lmtp("accepted", accepted(), host=LmtpHost(), look=got, seen={"a": "LHLO MAIL RCPT DATA ."}),
    by_lmtp("accepted, step by step", accepted(), host=LmtpHost(keywords=PLAIN), look=got),
    Case("LMTP: a port", accepted(), zone=[], a=LmtpHost(), ports={"a": 2424}, routes="{domain}:lmtp:{a}:2424", look=got),
    by_lmtp("two", {"r1": accepted(said="250 one"), "r2": accepted(said="250 two")}, "r1", "r2",
            host=LmtpHost(finals={"r1": "250 one", "r2": "250 two"}), look=got, seen={"a": "LHLO MAIL RCPT RCPT DATA ."}),
    by_lmtp("each his own", REPORTS, *MIXED, host=LmtpHost(finals=MIXED), look=one_transaction),
    by_lmtp("each his own, step by step", REPORTS, *MIXED, host=LmtpHost(finals=MIXED, keywords=PLAIN)),
    by_lmtp("each his own, in the other order", REPORTS, *reversed(MIXED), host=LmtpHost(finals=MIXED)),
    by_lmtp("each his own, at RCPT and after", REPORTS | {"ghost": one_rejected("550 ghost")}, *MIXED, "ghost",
            host=LmtpHost(finals=MIXED, rcpt={"ghost": "550 ghost"})),
    by_lmtp("refused", failed_alone(BAD), host=LmtpHost(finals=BAD)),
    by_lmtp("put off", failed_alone(LATER), host=LmtpHost(finals=LATER)),
    by_lmtp("452 after the message is no reason to send it again at once", failed_alone(FULL), "r1", "r2",
            host=LmtpHost(finals=FULL), look=one_transaction),
    by_lmtp("refused at RCPT", recipient_rejected("550 no"), host=LmtpHost(rcpt="550 no")),
    by_lmtp("sender refused", sender_rejected("550 no"), host=LmtpHost(mail="550 no")),
    by_lmtp("DATA refused", data_failed("451 no"), "r1", "r2", host=LmtpHost(data="451 no")),
    by_lmtp("greeting refused", greeting_failed("421 busy"), host=LmtpHost(greeting="421 busy")),
    by_lmtp("LHLO refused", name_rejected("502 what"), host=LmtpHost(ehlo="502 what")),
    by_lmtp("closes after the dot", died_late(), "r1", "r2", host=LmtpHost(finals=CLOSE)),
    by_lmtp("resets after the dot", died_late(), "r1", "r2", host=LmtpHost(finals=RESET)),
    by_lmtp("silent after the dot", died_late(), "r1", "r2", host=LmtpHost(finals=HANG)),
    by_lmtp("closes in the middle of the answers", {"good": accepted(said=GOOD), "bad": failed(BAD), "x": died_late()},
            "good", "bad", "x", host=LmtpHost(finals=MIXED | {"x": CLOSE})),
    by_lmtp("silent in the middle of the answers", {"good": accepted(said=GOOD), "x": died_late(), "y": died_late()},
            "good", "x", "y", host=LmtpHost(finals=MIXED | {"x": HANG})),
    by_lmtp("closes after a refusal", {"bad": remote("failure", "{a} failed after I sent the message.", BAD,
            "Giving up on {a}."), "x": remote("deferral", "Connected to {a} but connection died. Possible duplicate! (#4.4.2)",
            "", "Giving up on {a}.")}, "bad", "x", host=LmtpHost(finals=MIXED | {"x": CLOSE})),
    by_lmtp("421 in the middle of the answers", {"good": accepted(said=GOOD), "x": failed("421 bye"), "y": failed("421 bye")},
            "good", "x", "y", host=LmtpHost(finals=MIXED | {"x": and_close("421 bye")})),
    by_lmtp("rubbish in the middle of the answers", {"good": accepted(said=GOOD), "x": died_late()}, "good", "x",
            host=LmtpHost(finals=MIXED | {"x": raw(b"what?\r\n")})),
    by_lmtp("answers byte by byte", REPORTS, *MIXED,
            host=LmtpHost(finals={name: slowly(said, 0.001) for name, said in MIXED.items()})),
    by_lmtp("late answers", REPORTS, *MIXED, host=LmtpHost(finals={name: late(said, 0.1) for name, said in MIXED.items()})),
    by_lmtp("one answer too many", [accepted(), accepted()], host=LmtpHost(finals=[raw(b"250 ok\r\n250 ok\r\n"), "250 ok"]),
            message=None, messages=(Message(), Message()), one_after_another=True, look=two_connections),
    by_lmtp("354 for nobody", recipient_rejected("550 no"), host=LmtpHost(rcpt="550 no", data_anyway=True)),
    by_lmtp("closes before the greeting", died(), host=LmtpHost(greeting=CLOSE)),
    by_lmtp("too many recipients at RCPT get the message too", accepted(), "r1", "r2", "r3", "r4", "r5",
            host=LmtpHost(rcpt_limit=2)),
    by_lmtp("too many recipients, and each his own", REPORTS, *MIXED, host=LmtpHost(rcpt_limit=1, finals=MIXED)),
    by_lmtp("any text", accepted(), host=LmtpHost(), text=b"a: b\n\n.\n..\n\0\xff\n", look=got),
    by_lmtp("a large text", accepted(), host=LmtpHost(), text=b"a: b\n\n" + b"0123456\n" * 131_072, look=got),
    by_lmtp("a hundred", accepted(), *(f"r{number}" for number in range(100)), host=LmtpHost(), look=one_transaction),
    Case("LMTP: there is no such socket", "deferral: Sorry, I wasn't able to connect to the LMTP server at /run/none/lmtp:"
         " file does not exist (ENOENT). (#4.4.1)\n", zone=[], routes="{domain}:lmtp:/run/none/lmtp"),
    Case("LMTP: nobody listens on the socket", "deferral: Sorry, I wasn't able to connect to the LMTP server at"
         " /etc/passwd: access denied (EACCES). (#4.4.1)\n", zone=[], routes="{domain}:lmtp:/etc/passwd"),
]  # fmt: skip
