"""Which host gets the mail when some of them do not answer, refuse, or are this host itself; IPv6 and IPv4; tcpto."""

from tests.remote.cases import (
    NO_CONNECTION,
    OURS,
    OWN_EXCHANGER,
    REFUSED,
    SILENT,
    TALKS_TO_ITSELF,
    Case,
    Message,
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
from tests.remote.hostactions import CLOSE, HANG, RESET, and_close
from tests.remote.smtphost import SmtpHost

TWO = ["@ MX 10 a", "@ MX 20 b"]
THREE = [*TWO, "@ MX 30 c"]
EQUAL = ["@ MX 10 a", "@ MX 10 b"]
HELD = "EHLO MAIL RCPT DATA ."
NEXT = {
    "refuses the connection": REFUSED,
    "does not answer": SILENT,
    "closes before its greeting": SmtpHost(greeting=CLOSE),
    "resets before its greeting": SmtpHost(greeting=RESET),
    "never greets": SmtpHost(greeting=HANG),
    "greets with 421": SmtpHost(greeting="421 busy"),
    "greets with 421 and closes": SmtpHost(greeting=and_close("421 busy")),
    "greets with 450": SmtpHost(greeting="450 later"),
    "greets with 554": SmtpHost(greeting="554 not for you"),
    "greets with 554 and closes": SmtpHost(greeting=and_close("554 not for you")),
    "answers EHLO with 421": SmtpHost(ehlo=and_close("421 busy")),
    "answers EHLO with 450": SmtpHost(ehlo="450 later"),
    "answers EHLO and HELO with 550": OldHost(helo="550 who are you?"),
    "closes after EHLO": SmtpHost(ehlo=CLOSE),
    "closes after HELO": OldHost(helo=CLOSE),
    "never answers EHLO": SmtpHost(ehlo=HANG),
    "has too many connections": SmtpHost(max_connections=0),
}


def check_nobody_spoke(case):
    assert not case.hosts["b"].connections


STAY = {  # the host has taken the connection and the greeting: its word stands, and no other is asked (facts 9.1)
    "MAIL 450": ({"mail": "450 later"}, sender_rejected("450 later")),
    "MAIL 421": ({"mail": and_close("421 later")}, sender_rejected("421 later")),
    "MAIL 550": ({"mail": "550 no"}, sender_rejected("550 no")),
    "RCPT 450": ({"rcpt": "450 later"}, recipient_rejected("450 later")),
    "RCPT 550": ({"rcpt": "550 no"}, recipient_rejected("550 no")),
    "DATA 450": ({"data": "450 later"}, data_failed("450 later")),
    "the dot 451": ({"final": "451 later"}, message_failed("451 later")),
    "the dot 554": ({"final": "554 no"}, message_failed("554 no")),
    "the end after MAIL": ({"mail": CLOSE}, died()),
    "the end after the dot": ({"final": CLOSE}, died_late()),
}


def fallbacks():
    for what, host in NEXT.items():
        yield Case(
            f"the best MX {what}, the next gets the mail",
            accepted("b"),
            zone=TWO,
            a=host,
            b=SmtpHost(),
            seen={"b": HELD},
        )
    for what, (script, says) in STAY.items():
        yield Case(f"the best MX says {what}: no other is asked", says, zone=TWO, a=SmtpHost(**script), b=SmtpHost(),
                   look=check_nobody_spoke)  # fmt: skip


def heard_over(name):
    """The mail came to this address of the host."""

    def look(case):
        (message,) = case.hosts["a"].messages
        (address,) = {one.local[0] for one in case.hosts["a"].connections if message in one.transactions}
        assert address == case.addresses[name]

    return look


MX = [
    *fallbacks(),
    Case("two hosts fail, the third gets the mail", accepted("c"), zone=THREE, a=REFUSED, b=SmtpHost(greeting="421 x"),
         c=SmtpHost(), seen={"b": "", "c": HELD}),
    Case("a dead, a silent and a living host", accepted("c"), zone=THREE, a=REFUSED, b=SILENT, c=SmtpHost()),
    Case("all refuse the connection", NO_CONNECTION, zone=THREE, a=REFUSED, b=REFUSED, c=REFUSED),
    Case("nobody answers", NO_CONNECTION, zone=TWO, a=SILENT, b=SILENT),
    Case("the only host refuses the connection", NO_CONNECTION, a=REFUSED),
    Case("the only host does not answer", NO_CONNECTION, a=SILENT),
    Case("all greet with 421", greeting_failed("421 second", "b"), zone=TWO, a=SmtpHost(greeting="421 first"),
         b=SmtpHost(greeting="421 second"), seen={"a": "", "b": ""}),
    Case("the last greets with 554", greeting_failed("554 second", "b"), zone=TWO, a=SmtpHost(greeting="421 first"),
         b=SmtpHost(greeting="554 second")),
    Case("all reject our name", name_rejected("550 b", "b"), zone=TWO, a=SmtpHost(ehlo="450 a"),
         b=OldHost(helo="550 b")),
    Case("the best greets with 421, the next refuses the connection", greeting_failed("421 first"), zone=TWO,
         a=SmtpHost(greeting="421 first"), b=REFUSED),
    Case("of two equal hosts one is dead", accepted("b"), zone=EQUAL, a=REFUSED, b=SmtpHost()),
    Case("of two equal hosts one is silent", accepted("b"), zone=EQUAL, a=SILENT, b=SmtpHost()),
    Case("preference counts, not the order of the records", accepted("b"), zone=["@ MX 20 a", "@ MX 5 b", "@ MX 10 c"],
         a=SmtpHost(), b=SmtpHost(), c=SmtpHost(), seen={"a": "", "c": ""}),
    Case("preference 0 and 65535", accepted("b"), zone=["@ MX 65535 a", "@ MX 0 b"], a=SmtpHost(), b=SmtpHost()),
    Case("one MX with two addresses, one of them dead", accepted("b"), zone=["@ MX 10 x", "x A {a}", "x A {b}"],
         a=REFUSED,
         b=SmtpHost()),
]  # fmt: skip

OURSELVES = [
    Case("this host is the best MX", OWN_EXCHANGER, a=OURS),
    Case("this host is the only address", OWN_EXCHANGER, zone=["@ A {a}"], a=OURS),
    Case("this host and another are equally good", OWN_EXCHANGER, zone=EQUAL, a=OURS, b=SmtpHost(), seen={"b": ""}),
    Case("this host is second, the best is alive", accepted(), zone=TWO, a=SmtpHost(), b=OURS),
    Case("this host is second, the best is dead", NO_CONNECTION, zone=TWO, a=REFUSED, b=OURS),
    Case("this host is second, the third is not asked", NO_CONNECTION, zone=THREE, a=REFUSED, b=OURS, c=SmtpHost(),
         seen={"c": ""}),
    Case("the best MX is 127.0.0.1", OWN_EXCHANGER, zone=["@ MX 10 x", "x A 127.0.0.1"]),
    Case("the best MX is 127.9.9.9", OWN_EXCHANGER, zone=["@ MX 10 x", "x A 127.9.9.9"]),
    Case("the best MX is 0.0.0.0", OWN_EXCHANGER, zone=["@ MX 10 x", "x A 0.0.0.0"]),
    Case("the best MX has our name and another's address", OWN_EXCHANGER, zone=["@ MX 10 example.test.", "x A {a}"],
         a=SmtpHost(),
         seen={"a": ""}),
    Case("the host greets us with our name", TALKS_TO_ITSELF, a=SmtpHost(ehlo="250-EXAMPLE.TEST\n250 PIPELINING"),
         seen={"a": "EHLO"}),
    Case("an address literal that is ours",
         "failure: Sorry. [127.0.0.1] has this host as its best mail exchanger or as its"
         " address,\nbut it isn't in my control/locals file, so I don't treat it as local. (#5.4.6)\n",
         message=Message("r@[127.0.0.1]")),
]  # fmt: skip

IPV6 = [
    Case("IPv6 only", accepted("a6"), a=SmtpHost(), on={"a": "6"}, seen={"a": HELD}, look=heard_over("a6")),
    Case("IPv6 goes first", accepted("a6"), a=SmtpHost(), on={"a": "46"}, look=heard_over("a6")),
    Case("IPv6 refuses the connection", accepted(), zone=["@ MX 10 a", "a A {a}", "a AAAA {b6}"], a=SmtpHost(),
         b=REFUSED,
         on={"b": "6"}, look=heard_over("a")),
    Case("IPv6 does not answer", accepted(), zone=["@ MX 10 a", "a A {a}", "a AAAA {b6}"], a=SmtpHost(), b=SILENT,
         on={"b": "6"}, look=heard_over("a")),
    Case("IPv6 has no way there", accepted(), zone=["@ MX 10 a", "a A {a}", "a AAAA fd99::1"], a=SmtpHost()),
    Case("IPv6 has no way there, and there is nothing else", NO_CONNECTION, zone=["@ MX 10 a", "a AAAA fd99::1"]),
    Case("IPv6 greets with 421, IPv4 takes the mail", accepted(), zone=["@ MX 10 a", "a A {a}", "a AAAA {b6}"],
         a=SmtpHost(),
         b=SmtpHost(greeting="421 no"), on={"b": "6"}),
    Case("IPv6 takes the mail of a second MX", accepted("b6"), zone=TWO, a=REFUSED, b=SmtpHost(), on={"b": "6"}),
    Case("neither IPv6 nor IPv4 answers", NO_CONNECTION, a=SILENT, on={"a": "46"}),
    Case("an IPv6 literal", accepted("a6"), a=SmtpHost(), on={"a": "6"}, message=Message("r@[IPv6:{a6}]")),
    Case("this host by its IPv6 address", OWN_EXCHANGER, a=OURS, on={"a": "6"}),
    Case("this host as ::1", OWN_EXCHANGER, zone=["@ MX 10 x", "x AAAA ::1"]),
    Case("this host as ::ffff:10.67.0.1", OWN_EXCHANGER, zone=["@ MX 10 x", "x AAAA ::ffff:10.67.0.1"]),
]  # fmt: skip


def nobody_asked_for_ipv6(case):
    assert not [asked for asked in case.dns.questions if asked.type == "AAAA" and asked.name.endswith(case.domain)]


WITHOUT_IPV6 = [
    Case("IPv6 and IPv4", accepted(), a=SmtpHost(), on={"a": "46"}, seen={"a": HELD}, look=nobody_asked_for_ipv6),
    Case("IPv6 only", NO_CONNECTION, a=SmtpHost(), on={"a": "6"}),
    Case("the best MX has IPv6 only", accepted("b"), zone=TWO, a=SmtpHost(), b=SmtpHost(), on={"a": "6"},
         seen={"b": HELD}),
    Case("an IPv6 literal", NO_CONNECTION, message=Message("r@[IPv6:fd99::1]")),
    Case("a route by IPv6 address", NO_CONNECTION, routes="{domain}:[fd99::1]"),
    Case("no MX, but both addresses", accepted(), zone=["@ A {a}", "@ AAAA fd99::1"], a=SmtpHost()),
    Case("IPv4 refuses the connection", NO_CONNECTION, zone=["@ MX 10 x", "x A {a}", "x AAAA fd99::1"], a=REFUSED),
    Case("nobody answers, and that is remembered", NO_CONNECTION, a=SILENT),
    Case("two MX", accepted(), zone=TWO, a=SmtpHost(), b=SmtpHost()),
]  # fmt: skip

CASES = [*MX, *OURSELVES, *IPV6]
