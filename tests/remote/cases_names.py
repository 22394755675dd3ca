"""What the DNS says, and what it fails to say; control/smtproutes."""

import itertools

from tests.remote.cases import (
    DOMAIN,
    HOST_UNRESOLVED,
    NO_CONNECTION,
    NO_EXCHANGER,
    NO_SUCH_HOST,
    NULL_MX,
    REFUSED,
    Case,
    Message,
    accepted,
)
from tests.remote.qmtphost import QmtpHost
from tests.remote.smtphost import SmtpHost

HELD = "EHLO MAIL RCPT DATA ."
LONG_LABEL = "x" * 63


def chain(count, last):
    """@ is an alias of an alias ... of `last`."""
    names = ["@", *(f"alias{number}" for number in range(1, count)), last]
    return [f"{name} CNAME {target}" for name, target in itertools.pairwise(names)]


MX = [
    Case("no MX, but an address", accepted(), zone=["@ A {a}"], a=SmtpHost(), seen={"a": HELD}),
    Case("no MX, and no address", NO_EXCHANGER, zone=["@ TXT hello"]),
    Case("no such domain", NO_SUCH_HOST, zone=[]),
    Case("a name that only has names below it", NO_EXCHANGER, zone=["below A 192.0.2.1"]),
    Case("null MX", NULL_MX, zone=["@ MX 0 .", "@ A {a}"], a=SmtpHost(), seen={"a": ""}),
    Case("null MX beside a real one", accepted(), zone=["@ MX 0 .", "@ MX 10 a"], a=SmtpHost()),
    Case("an MX that does not exist", NO_EXCHANGER, zone=["@ MX 10 nowhere"]),
    Case("an MX without address", NO_EXCHANGER, zone=["@ MX 10 x", "x TXT hello"]),
    Case("two MX, the better does not exist", accepted(), zone=["@ MX 5 nowhere", "@ MX 10 a"], a=SmtpHost()),
    Case("two MX, the better has no address", accepted(), zone=["@ MX 5 x", "x TXT hello", "@ MX 10 a"], a=SmtpHost()),
    Case("an MX with an address does not make the domain's own count", NO_EXCHANGER, zone=["@ MX 10 nowhere",
         "@ A {a}"],
         a=SmtpHost(), seen={"a": ""}),
    Case("an MX that is an alias", accepted(), zone=["@ MX 10 x", "x CNAME a", "a A {a}"], a=SmtpHost()),
    Case("an MX that is an alias of an alias", accepted(), zone=["@ MX 10 x", "x CNAME y", "y CNAME a", "a A {a}"],
         a=SmtpHost()),
    Case("a domain that is an alias of one with MX", accepted(), zone=["@ CNAME x", "x MX 10 a", "a A {a}"],
         a=SmtpHost()),
    Case("a domain that is an alias of a host", accepted(), zone=["@ CNAME a", "a A {a}"], a=SmtpHost()),
    Case("a chain of eight aliases", accepted(), zone=[*chain(8, "a"), "a A {a}"], a=SmtpHost()),
    Case("an alias of nothing", NO_SUCH_HOST, zone=["@ CNAME nowhere"]),
    Case("an alias of itself", HOST_UNRESOLVED, zone=["@ CNAME @"]),
    Case("aliases in a circle", HOST_UNRESOLVED, zone=["@ CNAME x", "x CNAME y", "y CNAME @"]),
    Case("an MX whose aliases go in a circle", HOST_UNRESOLVED, zone=["@ MX 10 x", "x CNAME y", "y CNAME x"]),
    Case("fifty MX, the last is alive", accepted("living"), zone=[*(f"@ MX {number} dead{number}" for number in range(1,
         50)),
         *(f"dead{number} A {{dead}}" for number in range(1, 50)), "@ MX 50 living"], dead=REFUSED, living=SmtpHost(),
         seen={"living": HELD}),
    Case("fifty equal MX of which one exists", accepted(), zone=[*(f"@ MX 10 nowhere{number}" for number in range(49)),
         "@ MX 10 a"],
         a=SmtpHost()),
    Case("MX that is an address", accepted(), zone=["@ MX 10 {a}."], a=SmtpHost()),
    Case("names of 63 letters", accepted(), zone=[f"@ MX 10 {LONG_LABEL}", f"{LONG_LABEL} A {{a}}"], a=SmtpHost()),
    Case("capitals in the recipient's domain", accepted(), a=SmtpHost(), domain="CaPitals.TEST"),
    Case("an underscore in a name", accepted(), zone=["@ MX 10 _mx_1", "_mx_1 A {a}"], a=SmtpHost()),
]  # fmt: skip

# Whatever a resolver does but answer: mail waits, and never bounces.
TROUBLES = ("servfail", "refused", "notimp", "silent", "truncate-all", "tcp-close", "garbage", "wrong-id-only", "lame")
TROUBLE = [
    *(Case(f"MX: {trouble}", HOST_UNRESOLVED, behave={"@ MX": trouble}, a=SmtpHost(),
           seen={"a": ""}) for trouble in TROUBLES),
    *(Case(f"the address of the only MX: {trouble}", HOST_UNRESOLVED, behave={"a": trouble},
           a=SmtpHost()) for trouble in TROUBLES),
    *(Case(f"the address of one of two MX: {trouble}", accepted("b"), behave={"a": trouble}, zone=["@ MX 10 a",
           "@ MX 20 b"],
           a=SmtpHost(), b=SmtpHost()) for trouble in ("servfail", "refused", "silent")),
    Case("no MX, and the address can't be told", HOST_UNRESOLVED, zone=["@ A {a}"], behave={"@ A": "servfail"},
         a=SmtpHost()),
    Case("the better MX can't be told, the other does not exist", HOST_UNRESOLVED, zone=["@ MX 10 a",
         "@ MX 20 nowhere"],
         behave={"a": "servfail"}, a=SmtpHost()),
    Case("the better MX can't be told, the other is dead", NO_CONNECTION, zone=["@ MX 10 a", "@ MX 20 b"],
         behave={"a": "servfail"},
         a=SmtpHost(), b=REFUSED),
    Case("a short answer is asked for over TCP", accepted(), behave={"@ MX": "truncate"}, a=SmtpHost()),
    Case("addresses over TCP", accepted(), behave={"a": "truncate"}, a=SmtpHost()),
    Case("a resolver that knows no EDNS", accepted(), behave={"@ MX": "no-edns", "a": "no-edns"}, a=SmtpHost()),
    Case("an answer with another's id is no answer", accepted(), behave={"@ MX": "wrong-id", "a": "wrong-id"},
         a=SmtpHost()),
    Case("an answer to another question is no answer", accepted(), behave={"@ MX": "wrong-question"}, a=SmtpHost()),
    Case("a late answer is an answer", accepted(), behave={"@ MX": "late:1"}, a=SmtpHost()),
    Case("AAAA fails, A is there", accepted(), behave={"a AAAA": "servfail"}, a=SmtpHost()),
    Case("AAAA is refused, A is there", accepted(), behave={"a AAAA": "refused"}, a=SmtpHost()),
    Case("NXDOMAIN for the MX question of a host with an address", NO_SUCH_HOST, zone=["@ A {a}"],
         behave={"@ MX": "nxdomain"},
         a=SmtpHost()),
]  # fmt: skip

LITERALS = [
    Case("an IPv4 literal", accepted(), a=SmtpHost(), message=Message("r@[{a}]"), seen={"a": HELD}),
    Case("a bare IPv4 address", accepted(), a=SmtpHost(), message=Message("r@{a}"), seen={"a": HELD}),
    Case("a literal that nobody listens at", NO_CONNECTION, a=REFUSED, message=Message("r@[{a}]")),
    Case("no host part", "failure: Sorry, I couldn't find any host named nodots. (#5.1.2)\n",
         message=Message("r@nodots"), zone=[]),
    Case("brackets around a name", "failure: Sorry, I couldn't find any host named [{domain}]. (#5.1.2)\n",
         a=SmtpHost(),
         message=Message("r@[{domain}]")),
]  # fmt: skip


ROUTES = [
    Case("a route for the domain, by address", accepted(), zone=[], a=SmtpHost(), routes="{domain}:{a}",
         seen={"a": HELD}),
    Case("a route goes before MX", accepted("b"), a=SmtpHost(), b=SmtpHost(), routes="{domain}:{b}", seen={"a": ""}),
    Case("a route by address in brackets", accepted(), zone=[], a=SmtpHost(), routes="{domain}:[{a}]"),
    Case("a route with a port", accepted(), zone=[], a=SmtpHost(), ports={"a": 2626}, routes="{domain}:{a}:2626"),
    Case("a route by address in brackets with a port", accepted(), zone=[], a=SmtpHost(), ports={"a": 2626},
         routes="{domain}:[{a}]:2626"),
    Case("a route by IPv6 address", accepted("a6"), zone=[], a=SmtpHost(), on={"a": "6"}, routes="{domain}:[{a6}]"),
    Case("a route by IPv6 address with a port", accepted("a6"), zone=[], a=SmtpHost(), on={"a": "6"}, ports={"a": 2626},
         routes="{domain}:[{a6}]:2626"),
    Case("a route by name", accepted(), zone=["x A {a}"], a=SmtpHost(), routes="{domain}:x.{domain}"),
    Case("a route by name takes no MX of it", accepted(), zone=["x A {a}", "x MX 10 b"], a=SmtpHost(), b=SmtpHost(),
         routes="{domain}:x.{domain}", seen={"b": ""}),
    Case("a route by name with a port", accepted(), zone=["x A {a}"], a=SmtpHost(), ports={"a": 2525},
         routes="{domain}:x.{domain}:2525"),
    Case("a route by a name with two addresses", accepted(), zone=["x A {a}", "x A {b}"], a=SmtpHost(), b=REFUSED,
         routes="{domain}:x.{domain}"),
    Case("a route for all below a domain", accepted(), zone=[], a=SmtpHost(), routes=".{domain}:{a}",
         message=Message("r@deep.below.{domain}")),
    Case("a route for all below a domain is not the domain's", accepted(), a=SmtpHost(), b=SmtpHost(),
         routes=".{domain}:{b}",
         seen={"b": ""}),
    Case("the longer suffix decides", accepted("b"), zone=[], a=SmtpHost(), b=SmtpHost(),
         routes=".{domain}:{a}\n.below.{domain}:{b}", message=Message("r@deep.below.{domain}")),
    Case("the whole name goes before a suffix", accepted("b"), zone=[], a=SmtpHost(), b=SmtpHost(),
         routes=".{domain}:{a}\nx.{domain}:{b}", message=Message("r@x.{domain}")),
    Case("an empty route is an exception: MX", accepted("b"), zone=["x MX 10 b"], a=SmtpHost(), b=SmtpHost(),
         routes=".{domain}:{a}\nx.{domain}:", message=Message("r@x.{domain}")),
    Case("capitals do not matter", accepted(), zone=[], a=SmtpHost(), routes="{domain}:{a}",
         domain="Routed-CAPITALS.test"),
    Case("the last of two lines counts", accepted("b"), zone=[], a=SmtpHost(), b=SmtpHost(),
         routes="{domain}:{a}\n{domain}:{b}",
         seen={"a": ""}),
    Case("a route to a host that is dead", NO_CONNECTION, zone=[], a=REFUSED, routes="{domain}:{a}"),
    Case("a route to a name that does not exist",
         "deferral: Sorry, I couldn't find x.{domain}, which control/smtproutes names. (#4.4.1)\n",
         zone=[], routes="{domain}:x.{domain}"),
    Case("a route to a name that can't be told", HOST_UNRESOLVED, zone=["x A 192.0.2.1"], behave={"x": "servfail"},
         routes="{domain}:x.{domain}"),
    Case("a route for an address literal", accepted("b"), a=SmtpHost(), b=SmtpHost(), routes="[{a}]:{b}",
         message=Message("r@[{a}]")),
    Case("a relay that greets with our own name is the operator's wish", accepted(), zone=[],
         a=SmtpHost(ehlo=f"250-{DOMAIN}\n250 PIPELINING"), routes="{domain}:{a}"),
    Case("QMTP by a route", "success: {a} accepted message.\nRemote host said: ok 1234567890 qp 99\n", zone=[],
         a=QmtpHost(),
         routes="{domain}:qmtp:{a}"),
    Case("QMTP by a route with a port", "success: {a} accepted message.\nRemote host said: ok 1234567890 qp 99\n",
         zone=[],
         a=QmtpHost(), ports={"a": 2090}, routes="{domain}:qmtp:{a}:2090"),
]  # fmt: skip

CASES = [*MX, *TROUBLE, *LITERALS, *ROUTES]
