"""Every class of reply at every stage, from a host with PIPELINING, one without, and one that knows no EHLO; and ends."""

from tests.remote.cases import (
    Case,
    Host,
    OldHost,
    accepted,
    data_failed,
    died,
    died_late,
    greeting_failed,
    message_failed,
    name_rejected,
    recipient_rejected,
    sender_rejected,
)
from tests.remote.hostactions import CLOSE, HANG, RESET, and_close, raw, slowly
from tests.remote.smtphost import SmtpHost

# What is said to whom before the transaction, and what comes with MAIL in one piece.
MODES = {
    "with PIPELINING": (SmtpHost, "EHLO"),
    "without PIPELINING": (Host, "EHLO"),
    "with HELO only": (OldHost, "EHLO HELO"),
}
ALL = "MAIL RCPT DATA"
LONG = "550-no such user here,\n550-nor anywhere else:\n550 see http://example.org/"

GREETINGS = [
    Case("greeting 421", greeting_failed("421 busy"), a=SmtpHost(greeting="421 busy"), seen={"a": ""}),
    Case("greeting 450", greeting_failed("450 later"), a=SmtpHost(greeting="450 later"), seen={"a": ""}),
    Case("greeting 554", greeting_failed("554 no mail here"), a=SmtpHost(greeting="554 no mail here"), seen={"a": ""}),
    Case("greeting 554 of many lines", greeting_failed("554-go\n554-go\n554 go"),
         a=SmtpHost(greeting="554-go\n554-go\n554 go")),
    Case("greeting 250", greeting_failed("250 hello"), a=SmtpHost(greeting="250 hello"), seen={"a": ""}),
    Case("greeting 354", greeting_failed("354 hello"), a=SmtpHost(greeting="354 hello"), seen={"a": ""}),
    Case("greeting of many lines", accepted(), a=SmtpHost(greeting="220-host\n220-with\n220 news")),
    Case("greeting without a text", accepted(), a=SmtpHost(greeting="220")),
    Case("greeting with LF only", accepted(), a=SmtpHost(greeting=raw(b"220 host\n"))),
    Case("greeting of another protocol", died(), a=SmtpHost(greeting=raw(b"+OK POP3 ready\r\n")), seen={"a": ""}),
    Case("greeting of SSH", died(), a=SmtpHost(greeting=raw(b"SSH-2.0-OpenSSH_9.2\r\n")), seen={"a": ""}),
    Case("greeting of one blank line", died(), a=SmtpHost(greeting=raw(b"\r\n220 host\r\n"))),
    Case("greeting byte by byte", accepted(), a=SmtpHost(greeting=slowly("220-slow\n220 host"))),
    Case("greeting twice in one piece", died(), a=SmtpHost(greeting=raw(b"220 host\r\n220 host\r\n"))),
    Case("EHLO 421", name_rejected("421 bye"), a=SmtpHost(ehlo=and_close("421 bye")), seen={"a": "EHLO"}),
    Case("EHLO 450", name_rejected("450 later"), a=SmtpHost(ehlo="450 later"), seen={"a": "EHLO"}),
    Case("EHLO 220", name_rejected("220 odd"), a=SmtpHost(ehlo="220 odd"), seen={"a": "EHLO"}),
    Case("EHLO 500, HELO is good enough", accepted(), a=OldHost(ehlo="500 what?"), seen={"a": f"EHLO HELO {ALL} ."}),
    Case("EHLO 550, HELO is good enough", accepted(), a=OldHost(ehlo="550 no ESMTP"), seen={"a": f"EHLO HELO {ALL} ."}),
    Case("EHLO 502 and then HELO 550", name_rejected("550 who?"), a=OldHost(helo="550 who?"), seen={"a": "EHLO HELO"}),
    Case("EHLO 502 and then HELO 450", name_rejected("450 later"), a=OldHost(helo="450 later"),
         seen={"a": "EHLO HELO"}),
    Case("EHLO 502 and then HELO 220", name_rejected("220 odd"), a=OldHost(helo="220 odd"), seen={"a": "EHLO HELO"}),
    Case("EHLO 502 and then the end", died(), a=OldHost(helo=CLOSE), seen={"a": "EHLO HELO"}),
    Case("EHLO makes it close", died(), a=SmtpHost(ehlo=CLOSE), seen={"a": "EHLO"}),
    Case("EHLO makes it reset", died(), a=SmtpHost(ehlo=RESET), seen={"a": "EHLO"}),
    Case("EHLO is never answered", died(), a=SmtpHost(ehlo=HANG), seen={"a": "EHLO"}),
    Case("the answer to EHLO byte by byte", accepted(), a=Host(ehlo=slowly("250-host\n250-SIZE 0\n250 HELP"))),
    Case("a thousand keywords", accepted(), a=Host(ehlo="\n".join(["250-X"] * 1000 + ["250 host"]))),
]  # fmt: skip

# stage, reply, report; a reply of None in the report: the message is accepted.
GOOD = [("mail", "250-fine\n250 ok"), ("mail", "251 odd"), ("mail", "299 odd"), ("rcpt", "251 I forward"), ("rcpt",
"252 maybe"),
        ("rcpt", "250-fine\n250 ok"), ("data", "354-go\n354 on"), ("data", "399 odd")]  # fmt: skip
BAD = {
    "mail": (sender_rejected, ["421 bye", "450 later", "451 later", "452 full", "500 what?", "501 no", "550 no",
    "552 big", LONG]),
    "rcpt": (recipient_rejected, ["450 later", "451 later", "452 full", "500 what?", "501 no", "550 no", "553 no",
    LONG]),
    "data": (data_failed, ["450 later", "451 later", "452 full", "500 what?", "503 no", "550 no", "554 no", LONG]),
    "final": (message_failed, ["421 bye", "450 later", "451 later", "452 full", "500 what?", "550 no", "552 big",
    "554 no", LONG]),
}  # fmt: skip
ODD = {"mail": ["150 odd", "354 odd", "600 odd", "25", "ok", "250_ok"], "rcpt": ["150 odd", "354 odd", "999 odd",
"2500 ok"],
       "data": ["150 odd", "250 ok", "200 ok", "354"[:2], "go ahead"], "final": ["354 odd", "150 odd", "600 odd",
       "ok"]}  # fmt: skip
# The last command that a host without PIPELINING hears when a stage goes wrong.
LAST = {"mail": "MAIL", "rcpt": "MAIL RCPT", "data": ALL, "final": f"{ALL} ."}
STAGE = {"mail": "MAIL", "rcpt": "RCPT", "data": "DATA", "final": "the final dot"}


def heard(start, stage, mode):
    """The conversation up to a stage that goes wrong."""
    return f"{start} {ALL if stage in ('mail', 'rcpt') and mode == 'with PIPELINING' else LAST[stage]}"


def short(reply):
    return reply.split("\n")[0] + (" ..." if "\n" in reply else "")


def replies():
    for mode, (make, start) in MODES.items():
        for stage, reply in GOOD:
            yield Case(f"{STAGE[stage]} {short(reply)!r} {mode}", accepted(), a=make(**{stage: reply}),
                       seen={"a": f"{start} {ALL} ."})  # fmt: skip
        for said in ("250-it is\n250 mine now", "251 taken", "200"):
            yield Case(f"the final dot {short(said)!r} {mode}", accepted(said=said), a=make(final=said))
        for stage, (report, bad) in BAD.items():
            for reply in bad:
                yield Case(f"{STAGE[stage]} {short(reply)!r} {mode}", report(reply), a=make(**{stage: reply}),
                           seen={"a": heard(start, stage, mode)})  # fmt: skip
        for stage, odd in ODD.items():
            for reply in odd:
                yield Case(f"{STAGE[stage]} answered {reply!r} {mode}", died_late() if stage == "final" else died(),
                           a=make(**{stage: raw(reply.encode() + b"\r\n")}))  # fmt: skip


def endings():
    """The connection ends, or nothing more comes, instead of an answer."""
    for mode, (make, start) in MODES.items():
        for how, act in (("closes", CLOSE), ("resets", RESET), ("says nothing more", HANG)):
            for stage in BAD:
                yield Case(f"{STAGE[stage]}: the host {how}, {mode}", died_late() if stage == "final" else died(),
                           a=make(**{stage: act}),
                           seen={"a": f"{start} {LAST[stage]}"} if mode != "with PIPELINING" else {})  # fmt: skip
        for how, act in (("closes", CLOSE), ("resets", RESET)):
            # Not that we could know: so small a text has left us whole.
            yield Case(f"in the middle of the text the host {how}, {mode}", died_late(), a=make(body=(10, act)),
                       seen={"a": f"{start} {ALL}"})  # fmt: skip
        yield Case(f"in the middle of the text the host refuses, {mode}", message_failed("552 too large"),
                   a=make(body=(10, and_close("552 too large"))), seen={"a": f"{start} {ALL}"})  # fmt: skip
        yield Case(f"half of an answer to the final dot, {mode}", died_late(), a=make(final=raw(b"250-al", then=CLOSE)))
        yield Case(f"the answer to the final dot without its line end, {mode}", died_late(),
                   a=make(final=raw(b"250 ok", then=CLOSE)))  # fmt: skip
        yield Case(f"421 to RCPT, {mode}", recipient_rejected("421 bye"), a=make(rcpt=and_close("421 bye")))
        yield Case(f"421 to DATA, {mode}", data_failed("421 bye"), a=make(data=and_close("421 bye")))
        yield Case(f"421 to MAIL and the end, {mode}", sender_rejected("421 bye"), a=make(mail=and_close("421 bye")))
        yield Case(f"accepted, and then the end, {mode}", accepted(), a=make(final=and_close("250 ok")))
        yield Case(f"every answer byte by byte, {mode}", accepted(said="250 done at last"),
                   a=make(greeting=slowly("220 a"), mail=slowly("250 b"), rcpt=slowly("250 c"), data=slowly("354 d"),
                          final=slowly("250 done at last")))  # fmt: skip


HUGE = b"550-" + b"x" * (1 << 20) + b"\r\n550 end\r\n"
MANY = b"550-more\r\n" * 80_000 + b"550 end\r\n"
MALFORMED = [
    Case("a refusal with NUL and CR", recipient_rejected("550 a?b c"), a=SmtpHost(rcpt=raw(b"550 a\0b\r c\r\n"))),
    Case("a refusal with 8 bits and controls", recipient_rejected("550 _____"),
         a=SmtpHost(rcpt=raw(b"550 \x01\x7f\xe9%\t\r\n"))),
    Case("a refusal with LF only", recipient_rejected("550-a\n550 b"), a=SmtpHost(rcpt=raw(b"550-a\n550 b\n"))),
    Case("a refusal with other codes in later lines", recipient_rejected("550-a\n250 b"),
         a=SmtpHost(rcpt="550-a\n250 b")),
    Case("a good answer with a refusal in its last line", accepted(), a=SmtpHost(rcpt="250-a\n550 b")),
    Case("a refusal of 5000 bytes", recipient_rejected("550 " + "x" * 4996), a=SmtpHost(rcpt="550 " + "x" * 4996)),
    Case("a refusal of 6000 bytes is cut", recipient_rejected("550 " + "x" * 4996),
         a=SmtpHost(rcpt="550 " + "x" * 5996)),
    Case("a refusal line of one MB", died(), a=Host(rcpt=raw(HUGE))),
    Case("a refusal of 800 KB in 80,000 lines is cut", recipient_rejected((MANY[:6000].replace(b"\r\n",
         b"\n")).decode()[:5000]),
         a=Host(rcpt=raw(MANY))),
    Case("a greeting of one MB", died(), a=SmtpHost(greeting=raw(b"220-" + b"x" * (2 << 20)))),
    Case("an answer without end to EHLO", died(), a=SmtpHost(ehlo=raw(b"250-more\r\n" * 120_000))),
    Case("lines that begin with a blank", died(), a=Host(mail=raw(b" 250 ok\r\n"))),
]  # fmt: skip

CASES = [*GREETINGS, *replies(), *endings(), *MALFORMED]
