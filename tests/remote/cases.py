"""What becomes of mail to hosts that behave in every way a host can: the form of the table. Its rows are in cases_*.py.

A case is one message (or a few) to a domain of its own. Hosts have one-letter names: `a=SmtpHost(...)` has the name a.DOMAIN,
an address of its own, and stands in reports as {a}. Without a zone, the domain's only MX is `a`.

says: the text after `delivery D: `, in plain: blanks are the log's underscores, line feeds its slashes. One text for all
recipients, or one for each. What is deferred must be in the queue afterwards, with its next try; the rest must be gone,
and bounced where it failed.
seen: what each host heard, verbs only, connections separated by "|"; QUIT at the end of a connection is not looked at.
"""

from tests.remote.smtphost import SmtpHost

DOMAIN = "example.test"  # ours
SENDER = f"alice@{DOMAIN}"
SILENT, REFUSED, OURS = (
    "silent",
    "refused",
    "ours",
)  # hosts: no answer to SYN; nobody listens; an address of this machine
PLAIN = ("8BITMIME", "SIZE 0", "SMTPUTF8")  # keywords of a host without PIPELINING


class Message:
    """to: local parts, or whole addresses. text: as stored, behind the Received line that the queue's client would add."""

    def __init__(self, *to, sender=SENDER, text=b"Subject: hello\n\nhello\n", attributes=()):
        self.to, self.sender, self.text, self.attributes = to or ("r",), sender, text, attributes


class Case:
    """zone: lines NAME TYPE DATA with @ for the domain, names without a dot at the end below it, and {a}, {a6} for addresses.

    behave: as DnsServer.behave() takes it, with such names. on: letter -> "4", "6" or "46", the addresses of a host.
    one_after_another: a message is sent when the one before it has its reports; the texts of `says` may
    then be a list, one for each message. routes: lines of control/smtproutes. ports: letter -> port instead of 25.
    look(case): any further check.
    """

    def __init__(self, name, says, *, zone=None, behave=None, message=None, messages=(), seen=None, on=None,
                 look=None, domain=None, routes="", ports=None, one_after_another=False, **hosts):  # fmt: skip
        self.name, self.says, self.zone, self.behave, self.seen = name, says, zone, behave or {}, seen or {}
        self.messages = tuple(messages) or (message or Message(),)
        self.hosts, self.on, self.look, self.domain, self.routes = hosts, on or {}, look, domain, routes
        self.one_after_another, self.ports = one_after_another, ports or {}
        self.addresses = {}  # letter, or letter and 6 -> address; the stage fills them in
        self.numbers = []  # of its messages in the queue
        self.sizes = {}  # of messages in bytes, as the log tells
        self.dns = None  # the server, for look()
        self.sent = []  # when, and the recipients as the log shows them

    def fill(self, text):
        """With the addresses and the domain instead of {a} and {domain}."""
        return text.format(domain=self.domain, **self.addresses)

    def wanted(self, recipient, number):
        """The report about a recipient, as the log shows him, of one of the messages."""
        text = self.says[self.numbers.index(number)] if isinstance(self.says, list) else self.says
        text = text if isinstance(text, str) else text[recipient.rpartition("@")[0]]
        if "{size}" in text:  # each line end counts as two bytes (RFC 1870 s3), that of the queue's Received line too
            message = self.messages[self.numbers.index(number)]
            text = text.replace("{size}", str(self.sizes[number] + 1 + message.text.count(b"\n")))
        return self.fill(text)

    def fqdn(self, name):
        return self.domain if name == "@" else name if name.endswith(".") else f"{name}.{self.domain}"

    def records(self):
        """The zone's lines, addresses of hosts included."""
        own = [line.split() for line in (["@ MX 10 a"] if self.zone is None else self.zone) if line.strip()]
        named = {words[0] for words in own}
        for letter in self.hosts:
            if letter not in named:
                kinds = self.on.get(letter, "4")
                own += [[letter, "A", f"{{{letter}}}"]] * ("4" in kinds)
                own += [[letter, "AAAA", f"{{{letter}6}}"]] * ("6" in kinds)
        for words in own:
            if words[1] in ("MX", "CNAME"):
                words[-1] = self.fqdn(words[-1]) if words[-1] != "." else "."
            yield self.fill(" ".join([self.fqdn(words[0]), *words[1:]]))

    def behaviours(self):
        for name, behaviour in self.behave.items():
            first, *kind = name.split()
            yield " ".join([self.fqdn(first), *kind]), behaviour


# Reports in qmail-remote's words.


def remote(letter, line, said, *more):
    said = f"Remote host said: {said}\n" if said else ""
    return f"{letter}: {line}\n{said}" + "".join(f"{text}\n" for text in more)


def kind(said):
    return "failure" if said.startswith("5") else "deferral"


def accepted(host="a", said="250 ok"):
    return remote("success", f"{{{host}}} accepted message.", said)


def greeting_failed(said, host="a"):
    return remote("deferral", f"Connected to {{{host}}} but greeting failed.", said)


def name_rejected(said, host="a"):
    return remote("deferral", f"Connected to {{{host}}} but my name was rejected.", said)


def sender_rejected(said, host="a"):
    return remote(kind(said), f"Connected to {{{host}}} but sender was rejected.", said)


def recipient_rejected(said, host="a"):
    """And it was the only one."""
    return remote(kind(said), f"{{{host}}} does not like recipient.", said, f"Giving up on {{{host}}}.")


def one_rejected(said, host="a"):
    """And others were accepted."""
    return remote(kind(said), f"{{{host}}} does not like recipient.", said)


def data_failed(said, host="a"):
    return remote(kind(said), f"{{{host}}} failed on DATA command.", said)


def message_failed(said, host="a"):
    return remote(kind(said), f"{{{host}}} failed after I sent the message.", said)


def died(host="a"):
    return f"deferral: Connected to {{{host}}} but connection died. (#4.4.2)\n"


def died_late(host="a"):
    return f"deferral: Connected to {{{host}}} but connection died. Possible duplicate! (#4.4.2)\n"


NO_CONNECTION = "deferral: Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)\n"
HOST_UNRESOLVED = "deferral: Sorry, I couldn't find any host by that name. (#4.1.2)\n"
NO_SUCH_HOST = "failure: Sorry, I couldn't find any host named {domain}. (#5.1.2)\n"
NO_EXCHANGER = "failure: Sorry, I couldn't find a mail exchanger or IP address. (#5.4.4)\n"
NULL_MX = "failure: Sorry, {domain} says that it takes no mail: it has a null MX record. (#5.1.10)\n"
OWN_EXCHANGER = (
    "failure: Sorry. {domain} has this host as its best mail exchanger or as its address,\n"
    "but it isn't in my control/locals file, so I don't treat it as local. (#5.4.6)\n"
)
TALKS_TO_ITSELF = "failure: Sorry. {a} greets me with my own name, so the mail would come back to this host. (#5.4.6)\n"


def Host(**script):
    """Without PIPELINING."""
    return SmtpHost(keywords=PLAIN, **script)


def OldHost(**script):
    return SmtpHost(keywords=None, **script)
