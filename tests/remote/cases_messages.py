"""What hosts take: extensions, addresses and bodies as they go out; many recipients; QMTP."""

import re

from tests.remote.cases import (
    DOMAIN,
    SENDER,
    Case,
    Host,
    Message,
    OldHost,
    accepted,
    died,
    died_late,
    message_failed,
    one_rejected,
    recipient_rejected,
    remote,
    sender_rejected,
)
from tests.remote.hostactions import CLOSE, HANG, MUTE, Act, and_close, raw, slowly
from tests.remote.qmtphost import QmtpHost, netstring
from tests.remote.smtphost import SmtpHost

HELD = "EHLO MAIL RCPT DATA ."
UTF8 = ((b"smtputf8", b""),)
UMLAUT_HEADER = "Subject: häüser\n\nhello\n".encode()
EIGHT_BITS = "Subject: hello\n\nGrüße\n".encode()


def needs_utf8(host="a"):
    return f"failure: {{{host}}} can't take this message: it needs SMTPUTF8, which that host does not offer. (#5.6.7)\n"


def mail_was(pattern):
    """The MAIL command of the only transaction."""

    def look(case):
        (transaction,) = case.hosts["a"].transactions
        assert re.fullmatch(case.fill(pattern).encode(), transaction.mail), transaction.mail

    return look


def arrived(body):
    """What goes out behind the line that the queue puts in front."""

    def look(case):
        (message,) = case.hosts["a"].messages
        received, _, rest = message.body.partition(b"\r\n")
        assert received.startswith(b"Received: (qmail ")
        assert rest == body, (rest[-200:], body[-200:])

    return look


KEYWORDS = [
    Case("SIZE is told", accepted(), a=SmtpHost(keywords=("SIZE 1000000",)),
         look=mail_was(rf"MAIL FROM:<{SENDER}> SIZE=\d+")),
    Case("SIZE without a number", accepted(), a=SmtpHost(keywords=("SIZE",)),
         look=mail_was(rf"MAIL FROM:<{SENDER}> SIZE=\d+")),
    Case("SIZE 0 is no limit", accepted(), a=SmtpHost(keywords=("SIZE 0",))),
    Case("SIZE with rubbish is no limit", accepted(), a=SmtpHost(keywords=("SIZE lots",))),
    Case("SIZE smaller than the message",
         "failure: {a} takes messages of 50 bytes at most; this one has {size}. (#5.3.4)\n",
         a=SmtpHost(keywords=("PIPELINING", "SIZE 50")), seen={"a": "EHLO"}),
    Case("keywords in small letters", accepted(), a=SmtpHost(keywords=("size 99999", "pipelining", "8bitmime")),
         message=Message(text=EIGHT_BITS), look=mail_was(rf"MAIL FROM:<{SENDER}> SIZE=\d+ BODY=8BITMIME")),
    Case("no keywords at all", accepted(), a=SmtpHost(keywords=()), message=Message(text=EIGHT_BITS),
         look=mail_was(rf"MAIL FROM:<{SENDER}>")),
    Case("after HELO no parameters", accepted(), a=OldHost(), message=Message(text=EIGHT_BITS),
         look=mail_was(rf"MAIL FROM:<{SENDER}>")),
    Case("8BITMIME for a text of 8 bits", accepted(), a=SmtpHost(keywords=("8BITMIME",)),
         message=Message(text=EIGHT_BITS),
         look=mail_was(rf"MAIL FROM:<{SENDER}> BODY=8BITMIME")),
    Case("8BITMIME is not said of ASCII", accepted(), a=SmtpHost(keywords=("8BITMIME",)),
         look=mail_was(rf"MAIL FROM:<{SENDER}>")),
    Case("8 bits to a host without 8BITMIME go as they are", accepted(), a=SmtpHost(keywords=("PIPELINING",)),
         message=Message(text=EIGHT_BITS), look=arrived(EIGHT_BITS.replace(b"\n", b"\r\n"))),
    Case("SMTPUTF8 for an address", accepted(), a=SmtpHost(), message=Message("jürgen", attributes=UTF8),
         look=mail_was(rf"MAIL FROM:<{SENDER}>( SIZE=\d+| SMTPUTF8)+")),
    Case("SMTPUTF8 for a header", accepted(), a=SmtpHost(), message=Message(text=UMLAUT_HEADER, attributes=UTF8),
         look=mail_was(rf"MAIL FROM:<{SENDER}> SIZE=\d+ BODY=8BITMIME SMTPUTF8")),
    Case("SMTPUTF8 is not used when nothing needs it", accepted(), a=SmtpHost(), message=Message(attributes=UTF8),
         look=mail_was(rf"MAIL FROM:<{SENDER}> SIZE=\d+")),
    Case("SMTPUTF8 is lacking for the recipient", needs_utf8(), a=SmtpHost(keywords=("PIPELINING", "8BITMIME")),
         message=Message("jürgen", attributes=UTF8), seen={"a": "EHLO"}),
    Case("SMTPUTF8 is lacking for the sender", needs_utf8(), a=SmtpHost(keywords=("8BITMIME",)),
         message=Message(sender=f"älice@{DOMAIN}", attributes=UTF8), seen={"a": "EHLO"}),
    Case("SMTPUTF8 is lacking for the header", needs_utf8(), a=SmtpHost(keywords=("8BITMIME",)),
         message=Message(text=UMLAUT_HEADER, attributes=UTF8), seen={"a": "EHLO"}),
    Case("SMTPUTF8 is lacking after HELO", needs_utf8(), a=OldHost(), message=Message("jürgen", attributes=UTF8),
         seen={"a": "EHLO HELO"}),
    Case("a header of 8 bits that nobody declared goes everywhere", accepted(), a=SmtpHost(keywords=("8BITMIME",)),
         message=Message(text=UMLAUT_HEADER)),
    Case("STARTTLS offered and not to be had", accepted(), a=SmtpHost(keywords=("STARTTLS", "PIPELINING")),
         seen={"a": HELD}),
    Case("STARTTLS twice, with parameters and rubbish", accepted(),
         a=Host(ehlo=raw(b"250-host\r\n250-STARTTLS REQUIRED\r\n250-STARTTLS\r\n250-\xff\xfe TLS\r\n250 \r\n")),
         seen={"a": HELD}),
    Case("STARTTLS in the greeting of another's", accepted(),
         a=Host(ehlo=raw(b"250-host\r\n250-TLS\r\n250-\r\n250 STARTTLS\0\r\n"))),
]  # fmt: skip


def recipients_were(*expected):
    def look(case):
        got = [transaction.recipients for host in case.hosts.values() for transaction in host.transactions]
        assert [[address.decode() for address in one] for one in got] == [
            [case.fill(address) for address in one] for one in expected
        ]

    return look


ADDRESSES = [
    Case("a local part with a blank is quoted", accepted(), a=SmtpHost(), message=Message("r cpt"),
         look=recipients_were(['"r cpt"@{domain}'])),
    Case("a sender with a blank is quoted", accepted(), a=SmtpHost(), message=Message(sender="s p@x.test"),
         look=mail_was(r'MAIL FROM:<"s p"@x.test> SIZE=\d+')),
    Case("quotes and backslashes", accepted(), a=SmtpHost(), message=Message('q"u\\o'),
         look=recipients_were(['"q\\"u\\\\o"@{domain}'])),
    Case("dots where they may not be", accepted(), a=SmtpHost(), message=Message(".dots..here."),
         look=recipients_were(['".dots..here."@{domain}'])),
    Case("an at sign in the local part", accepted(), a=SmtpHost(), message=Message("a@b@{domain}"),
         look=recipients_were(['"a@b"@{domain}'])),
    Case("angle brackets in the local part", accepted(), a=SmtpHost(), message=Message("a<b>c"),
         look=recipients_were(['"a<b>c"@{domain}'])),
    Case("no sender: a bounce", accepted(), a=SmtpHost(), message=Message(sender=""),
         look=mail_was(r"MAIL FROM:<> SIZE=\d+")),
    Case("no sender, refused: a double bounce", recipient_rejected("550 no"), a=SmtpHost(rcpt="550 no"),
         message=Message(sender="")),
    Case("a local part of 800 letters", accepted(), a=SmtpHost(), message=Message("x" * 800)),
    Case("LF in a recipient", "failure: Sorry, that address has a character in it which SMTP can't send. (#5.1.3)\n",
         a=SmtpHost(),
         message=Message("a\nb"), seen={"a": ""}),
    Case("CR in a recipient", "failure: Sorry, that address has a character in it which SMTP can't send. (#5.1.3)\n",
         a=SmtpHost(),
         message=Message("a\rRCPT TO:<b"), seen={"a": ""}),
    Case("no local part", accepted(), a=SmtpHost(), message=Message("@{domain}"),
         look=recipients_were(['""@{domain}'])),
]  # fmt: skip

H = b"Subject: x\n\n"
HC = b"Subject: x\r\n\r\n"
TEXTS = {
    "no header and no body": (b"", b""),
    "a header only": (b"Subject: x\n", b"Subject: x\r\n"),
    "an empty body": (H, HC),
    "a last line without its end": (H + b"end", HC + b"end\r\n"),
    "dots": (H + b".\n..\n.x\nx.\n", HC + b"..\r\n...\r\n..x\r\nx.\r\n"),
    "a dot alone at the end, without LF": (H + b".", HC + b"..\r\n"),
    "CR LF": (H + b"a\r\nb\r\n", HC + b"a\r\nb\r\n"),
    "CR alone": (H + b"a\rb\r", HC + b"a\r\nb\r\n"),
    "CR CR LF": (H + b"a\r\r\nb\n", HC + b"a\r\n\r\nb\r\n"),
    "CR and dot": (H + b"a\r.\r\nb\n", HC + b"a\r\n..\r\nb\r\n"),
    "NUL": (H + b"a\0b\n", HC + b"a\0b\r\n"),
    "all bytes": (H + bytes(byte for byte in range(256) if byte not in b"\r\n") + b"\n",
                  HC + bytes(byte for byte in range(256) if byte not in b"\r\n") + b"\r\n"),
    "one line of 100,000 bytes": (H + b"x" * 100_000 + b"\n", HC + b"x" * 100_000 + b"\r\n"),
    "10,000 blank lines": (H + b"\n" * 10_000, HC + b"\r\n" * 10_000),
    "10,000 dots": (H + b".\n" * 10_000, HC + b"..\r\n" * 10_000),
    "1 MB": (H + b"x" * 63 + (b"\n." + b"y" * 62) * 16384, HC + b"x" * 63 + (b"\r\n.." + b"y" * 62) * 16384 + b"\r\n"),
    "1 MB of CR": (H + b"\r" * (1 << 20), HC + b"\r\n" * (1 << 20)),
}  # fmt: skip


def texts():
    for name, (stored, sent) in TEXTS.items():
        yield Case(f"a text with {name}", accepted(), a=SmtpHost(), message=Message(text=stored), look=arrived(sent))
    yield Case(
        "1 MB to a host without PIPELINING",
        accepted(),
        a=Host(),
        message=Message(text=TEXTS["1 MB"][0]),
        look=arrived(TEXTS["1 MB"][1]),
    )
    yield Case("1 MB refused at its beginning", message_failed("552 too large"), a=SmtpHost(body=(1000,
               and_close("552 too large", HANG))),
               message=Message(text=TEXTS["1 MB"][0]))  # fmt: skip
    # More than fits into the buffers between us and the host.
    yield Case("12 MB and the host closes at its beginning", died(), a=SmtpHost(body=(1000, CLOSE)),
               message=Message(text=H + b"0123456789abcde\n" * (3 << 18)))  # fmt: skip


BY_NAME = {"bad": "550 no such user", "later": "450 not now", "full": "452 mailbox full"}
NAMES = [f"r{number:03}" for number in range(250)]


def split(*counts):
    """One connection or more, with transactions of so many recipients, together everybody once."""

    def look(case):
        transactions = case.hosts["a"].messages
        assert sorted((len(one.accepted) for one in transactions), reverse=True) == list(counts)
        everybody = [address for one in transactions for address in one.accepted]
        assert sorted(everybody) == sorted({f"{to}@{case.domain}".encode() for to in case.messages[0].to})

    return look


def verp_senders(case):
    assert sorted(one.sender.decode() for one in case.hosts["a"].messages) == sorted(
        f"list-{to}={case.domain}@{DOMAIN}" for to in ("r1", "r2", "r3")
    )


def connections(count, transactions):
    def look(case):
        found = [len(one.transactions) for one in case.hosts["a"].connections]
        assert len(found) == count, found
        assert sum(found) == transactions

    return look


# facts 4.6: the message's record is told too unless it sounds better than the recipient's.
TWICE_REFUSED = remote("failure", "{a} does not like recipient.", "550 no such user",
"{a} failed after I sent the message.",
                       "Remote host said: 554 spam")  # fmt: skip
MANY = [
    Case("two recipients in one transaction", accepted(), a=SmtpHost(), message=Message("r1", "r2"), look=split(2),
         seen={"a": "EHLO MAIL RCPT RCPT DATA ."}),
    Case("two recipients, without PIPELINING", accepted(), a=Host(), message=Message("r1", "r2"), look=split(2),
         seen={"a": "EHLO MAIL RCPT RCPT DATA ."}),
    Case("a hundred recipients", accepted(), a=SmtpHost(), message=Message(*NAMES[:100]), look=split(100)),
    Case("101 recipients", accepted(), a=SmtpHost(), message=Message(*NAMES[:101]), look=split(100, 1)),
    Case("250 recipients", accepted(), a=SmtpHost(), message=Message(*NAMES), look=split(100, 100, 50)),
    Case("250 recipients, without PIPELINING", accepted(), a=Host(), message=Message(*NAMES), look=split(100, 100, 50)),
    Case("domains that differ in capitals only", accepted(), a=SmtpHost(), domain="c-caps.test",
         message=Message("r1@c-caps.test", "r2@C-CAPS.test"), seen={"a": "EHLO MAIL RCPT RCPT DATA ."}),
    *(Case(f"one of three does not exist, {how}", {"r1": accepted(), "bad": one_rejected("550 no such user"),
           "r3": accepted()},
           a=make(rcpt=BY_NAME), message=Message("r1", "bad", "r3"), seen={"a": f"{hello} MAIL RCPT RCPT RCPT DATA ."})
      for how, make, hello in (("with PIPELINING", SmtpHost, "EHLO"), ("without", Host, "EHLO"), ("with HELO", OldHost,
      "EHLO HELO"))),
    Case("one of three is put off", {"r1": accepted(), "later": one_rejected("450 not now"), "r3": accepted()},
         a=SmtpHost(rcpt=BY_NAME), message=Message("r1", "later", "r3")),
    Case("one fails, one is put off, one is fine",
         {"bad": one_rejected("550 no such user"), "later": one_rejected("450 not now"), "r": accepted()},
         a=SmtpHost(rcpt=BY_NAME), message=Message("bad", "later", "r")),
    Case("one fails, one is put off, none is left",
         {"bad": recipient_rejected("550 no such user"), "later": recipient_rejected("450 not now")},
         a=SmtpHost(rcpt=BY_NAME), message=Message("bad", "later")),
    Case("one fails, and then DATA is refused", {"bad": one_rejected("550 no such user"), "r": remote("deferral",
         "{a} failed on DATA command.", "451 oops")}, a=SmtpHost(rcpt=BY_NAME, data="451 oops"), message=Message("bad",
         "r")),
    Case("one fails, and then the text is refused", {"bad": TWICE_REFUSED, "r": message_failed("554 spam")},
         a=SmtpHost(rcpt=BY_NAME, final="554 spam"), message=Message("bad", "r")),
    Case("one fails, one is put off, and then the text is refused for good", {"bad": TWICE_REFUSED,
         "later": remote("deferral", "{a} does not like recipient.", "450 not now",
         "{a} failed after I sent the message.",
                         "Remote host said: 554 spam"), "r": message_failed("554 spam")},
         a=SmtpHost(rcpt=BY_NAME, final="554 spam"), message=Message("bad", "later", "r")),
    Case("one fails, and then the host closes", {"bad": one_rejected("550 no such user"), "r": died_late()},
         a=SmtpHost(rcpt=BY_NAME, final=CLOSE), message=Message("bad", "r")),
    Case("the sender is refused for all", sender_rejected("550 no"), a=SmtpHost(mail="550 no"), message=Message("r1",
         "r2", "r3")),
    Case("ten of thirty at a time", accepted(), a=SmtpHost(rcpt_limit=10), message=Message(*NAMES[:30]), look=split(10,
         10, 10)),
    Case("ten of twenty-five at a time, without PIPELINING", accepted(), a=Host(rcpt_limit=10),
         message=Message(*NAMES[:25]),
         look=split(10, 10, 5)),
    Case("one at a time", accepted(), a=SmtpHost(rcpt_limit=1), message=Message(*NAMES[:5]), look=split(1, 1, 1, 1, 1)),
    Case("a full mailbox among others", {"r1": accepted(), "full": one_rejected("452 mailbox full"), "r3": accepted()},
         a=SmtpHost(rcpt=BY_NAME), message=Message("r1", "full", "r3")),
    Case("VERP gives everyone a sender of his own", accepted(), a=SmtpHost(), message=Message("r1", "r2", "r3",
         sender=f"list-@{DOMAIN}-@[]"),
         look=verp_senders),
]  # fmt: skip

TWICE = [Message("r1"), Message("r2")]
REUSE = [
    Case("a connection is used again", accepted(), a=SmtpHost(), messages=TWICE, one_after_another=True,
         look=connections(1, 2)),
    Case("a connection is used again, without PIPELINING", accepted(), a=Host(), messages=TWICE, one_after_another=True,
         look=connections(1, 2)),
    Case("a connection is used again after HELO", accepted(), a=OldHost(), messages=TWICE, one_after_another=True,
         look=connections(1, 2)),
    Case("after a refused recipient the connection is used again", [recipient_rejected("550 no such user"), accepted()],
         a=SmtpHost(rcpt=BY_NAME), messages=[Message("bad"), Message("r")], one_after_another=True, look=connections(1,
         2)),
    Case("after a refused recipient the connection is used again, without PIPELINING",
         [recipient_rejected("550 no such user"), accepted()],
         a=Host(rcpt=BY_NAME), messages=[Message("bad"), Message("r")], one_after_another=True, look=connections(1, 2)),
    Case("after a refused text the connection is used again", [message_failed("554 spam"), accepted()],
         a=SmtpHost(final=["554 spam", "250 ok"]), messages=TWICE, one_after_another=True, look=connections(1, 2)),
    Case("the host closes an idle connection", accepted(), a=SmtpHost(final=and_close("250 ok")), messages=TWICE,
         one_after_another=True, look=connections(2, 2)),
    Case("the host closes when it is used again", accepted(), a=SmtpHost(mail=["250 ok", CLOSE, "250 ok"]),
         messages=TWICE,
         one_after_another=True, look=connections(2, 3)),
    Case("the host says 421 when it is used again", [accepted(), sender_rejected("421 bye")],
         a=SmtpHost(mail=["250 ok", and_close("421 bye")]), messages=TWICE, one_after_another=True),
]  # fmt: skip


def q(host="a", said="ok"):
    return f"success: {{{host}}} accepted message.\nRemote host said: {said}\n"


def qmtp_got(case):
    (package,) = case.hosts["a"].messages
    assert package.text.partition(b"\n")[2] == case.messages[0].text
    assert package.sender == SENDER.encode()


def by_qmtp(name, says, *to, host, text=b"Subject: hello\n\nhello\n", **more):
    return Case(
        f"QMTP: {name}",
        says,
        zone=[],
        a=host,
        routes="{domain}:qmtp:{a}",
        message=Message(*to or ["r"], text=text),
        **more,
    )


QMTP = [
    by_qmtp("accepted", q(), host=QmtpHost("Kok"), look=qmtp_got),
    by_qmtp("two recipients", q(), "r1", "r2", host=QmtpHost("Kok"), look=qmtp_got),
    by_qmtp("any text goes as it is", q(), host=QmtpHost("Kok"), text=b"a: b\n\n.\n\r\r\n\0\xff no end", look=qmtp_got),
    by_qmtp("a large text", q(), host=QmtpHost("Kok"), text=b"a: b\n\n" + b"0123456\n" * 131_072, look=qmtp_got),
    by_qmtp("put off", remote("deferral", "{a} does not like recipient.", "not now", "Giving up on {a}."),
            host=QmtpHost("Znot now")),
    by_qmtp("refused", remote("failure", "{a} does not like recipient.", "no", "Giving up on {a}."),
            host=QmtpHost("Dno")),
    by_qmtp("each his own", {"good": q(), "bad": remote("failure", "{a} does not like recipient.", "no"), "later":
            remote("deferral", "{a} does not like recipient.", "not now")}, "good", "bad", "later",
            host=QmtpHost({"bad": "Dno", "later": "Znot now", "": "Kok"})),
    by_qmtp("closes at once", died_late(), host=QmtpHost(CLOSE)),
    by_qmtp("one has his answer, and then the end", {"good": q(), "other": died_late()}, "good", "other",
            host=QmtpHost({"good": "Kok", "": CLOSE})),
    by_qmtp("rubbish", died_late(), host=QmtpHost(raw(b"250 ok\r\n"))),
    by_qmtp("an unknown letter", died_late(), host=QmtpHost(raw(netstring(b"Xwhat")))),
    by_qmtp("an empty answer", died_late(), host=QmtpHost(raw(b"0:,"))),
    by_qmtp("too many answers", q(), host=QmtpHost(raw(netstring(b"Kok") + netstring(b"Kok")))),
    by_qmtp("byte by byte", q(said="ok at last"), host=QmtpHost(Act(netstring(b"Kok at last"), gap=0.002))),
    by_qmtp("an endless answer", died_late(), host=QmtpHost(raw(b"99999999999:K"))),
    by_qmtp("a late answer", q(), host=QmtpHost(Act(netstring(b"Kok"), wait=0.5))),
]  # fmt: skip

OUT_OF_STEP = [
    Case("two answers to MAIL", died(), a=Host(mail=raw(b"250 ok\r\n250 ok\r\n"))),
    Case("an answer too many to RCPT, without PIPELINING", died(), a=Host(rcpt=raw(b"250 ok\r\n250 ok\r\n"))),
    Case("an answer too many to RCPT, with PIPELINING", died(), a=SmtpHost(rcpt=raw(b"250 ok\r\n250 ok\r\n"))),
    Case("354 before DATA is asked", died(), a=Host(rcpt=raw(b"250 ok\r\n354 go ahead\r\n"))),
    Case("the answer to the text comes with 354", died(), a=SmtpHost(data=raw(b"354 go ahead\r\n250 ok\r\n"))),
    Case("a refusal comes with 354", message_failed("554 no"), a=SmtpHost(data=raw(b"354 go ahead\r\n554 no\r\n"))),
    Case("an answer too few to RCPT", died(), a=SmtpHost(rcpt=MUTE, data=CLOSE)),
    Case("no answer to RCPT, but 354", died(), a=SmtpHost(rcpt=MUTE)),
    Case("all answers in one piece", accepted(), a=SmtpHost(mail=MUTE, rcpt=MUTE,
         data=raw(b"250 ok\r\n250 ok\r\n354 go\r\n"))),
    Case("all answers with the first", died(), a=Host(mail=raw(b"250 ok\r\n250 ok\r\n354 go\r\n250 done\r\n"))),
    Case("354 although nobody is left", recipient_rejected("550 no"), a=SmtpHost(rcpt="550 no", data_anyway=True)),
    Case("354 although the sender was refused", sender_rejected("550 no"), a=SmtpHost(mail="550 no", data_anyway=True)),
    Case("answers cut in the middle", accepted(), a=SmtpHost(mail=slowly("250 ok", 0.001), rcpt=slowly("250 ok",
         0.001))),
    Case("speaks while nobody listens", [accepted(), accepted()], a=SmtpHost(final=[raw(b"250 ok\r\n221 bored\r\n"),
         "250 ok"]),
         messages=TWICE, one_after_another=True, look=connections(2, 2)),
]  # fmt: skip

CASES = [*KEYWORDS, *ADDRESSES, *texts(), *MANY, *REUSE, *QMTP, *OUT_OF_STEP]
