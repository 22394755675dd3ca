"""Every file of control/, in one table: reader, checks, `quail config`, qmail-showctl and the manual all come from it.

To add a control file, add its row here, read it through `quail.control.reader.Control`, and write the documents again
(`python -m quail.control.document`); tests compare the three. Names and defaults of the first part are qmail's
(qmail-control(5)); the second part is Quail's own.
"""

LINE, INTEGER, LIST, PAIRS, LISTEN, CDB = "line", "integer", "list", "pairs", "listen", "cdb"

# When a changed file takes effect: services read theirs again on HUP, or only when `quail serve` starts again; a program
# that runs for one message or connection reads its files each time.
HUP, RESTART, EACH_RUN = "HUP", "restart", "each run"

MIB = 1 << 20
SEGMENT = 64 * MIB  # one file of the journal
TOP = (1 << 31) - 1  # no wait is longer, and no count larger, than this
TOP_BYTES = 1 << 62

# What a line of control/listen may begin with, and which of them this version serves.
SERVICES = ("smtp", "submission", "smtps", "lmtp", "pop3", "pop3s", "qmtp", "qmqp")
SERVED = ("smtp", "lmtp", "pop3", "qmtp", "qmqp")
ON_PATHS = ("lmtp",)  # those that can have a Unix socket in the place of address and port

# Readers that this version does not have, and why. Their files are known, so that a site can bring its control/ along.
NOT_YET: dict[str, str] = {}

_COMPLETING = "qmail-inject dot-forward newaliases newinclude"  # who completes addresses that people write


class Entry:
    """One control file.

    default: bytes (line), int (integer), tuple of bytes (list, pairs, listen) or None. readers: services and programs.
    me: a missing file means the content of control/me, and the default only if that is missing too. required: there must
    be a value, else the reader stops. blank: an existing file may be empty. low, high: an integer outside of them is taken
    as the nearest. effect: HUP, RESTART or EACH_RUN. own: a file that qmail does not know.
    """

    __slots__ = (
        "blank", "choices", "default", "doc", "effect", "example", "high", "kind", "low", "me", "name", "own", "readers",
        "required", "unit",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        kind: str,
        default: bytes | int | tuple[bytes, ...] | None,
        readers: str,
        *,
        doc: str,
        me: bool = False,
        required: bool = False,
        blank: bool = True,
        low: int = 0,
        high: int = TOP,
        unit: str = "",
        choices: tuple[bytes, ...] = (),
        example: str = "mail.example.com",
        effect: str = HUP,
        own: bool = False,
    ) -> None:
        self.name, self.kind, self.default, self.readers, self.doc = name, kind, default, tuple(readers.split()), doc
        self.me, self.required, self.blank = me, required, blank
        self.low, self.high, self.unit, self.choices, self.example = low, high, unit, choices, example
        self.effect, self.own = effect, own


# A row has its facts on the first line and its sentence on the next.
# fmt: off
_QMAIL = (
    Entry("me", LINE, None, "smtpd qmtpd qmqpd popd rspawn qmail-remote", required=True, blank=False,
          doc="full name of this host; stands in for many other files that are missing"),
    Entry("badmailfrom", LIST, (), "smtpd", example="@spam.example",
          doc="senders whose mail is refused: whole addresses, or @host for everybody there"),
    Entry("bouncefrom", LINE, b"MAILER-DAEMON", "queue", example="MAILER-DAEMON",
          doc="local part of the address that bounces come from"),
    Entry("bouncehost", LINE, b"bouncehost", "queue", me=True, blank=False,
          doc="host part of the address that bounces come from"),
    Entry("concurrencylocal", INTEGER, 10, "queue", high=1000,
          doc="local deliveries at once, at most half of them to one mailbox; 0 holds them all"),
    Entry("concurrencyremote", INTEGER, 20, "queue", high=10_000,
          doc="remote deliveries at once; 0 holds them all"),
    Entry("databytes", INTEGER, 0, "smtpd qmtpd", high=TOP_BYTES, unit="bytes",
          doc="largest message that is accepted, 0 for any size; DATABYTES set by a tcprules rule goes first"),
    Entry("defaultdomain", LINE, b"defaultdomain", _COMPLETING, me=True, effect=EACH_RUN, example="example.com",
          doc="added to a host name without a dot in the header of outgoing mail"),
    Entry("defaulthost", LINE, b"defaulthost", _COMPLETING, me=True, effect=EACH_RUN,
          doc="added to an address without a host in the header of outgoing mail"),
    Entry("doublebouncehost", LINE, b"doublebouncehost", "queue", me=True, blank=False,
          doc="host part of the address that double bounces go to"),
    Entry("doublebounceto", LINE, b"postmaster", "queue", example="postmaster",
          doc="local part of the address that double bounces go to; an empty file discards them"),
    Entry("envnoathost", LINE, b"envnoathost", "queue users", me=True, blank=False,
          doc="host part given to a recipient that has none"),
    Entry("helohost", LINE, None, "rspawn qmail-remote qmail-lmtp", me=True, required=True, blank=False,
          doc="name by which this host greets others"),
    Entry("idhost", LINE, b"idhost", "qmail-inject", me=True, effect=EACH_RUN,
          doc="host part of the Message-ID fields made here"),
    Entry("localiphost", LINE, None, "smtpd", me=True, blank=False,
          doc="replaces the address in a recipient like user@[192.0.2.1] where that is an address of this host"),
    Entry("locals", LIST, (), "queue users smtpd", me=True, required=True, example="example.com",
          doc="domains that are delivered here, to the users of this host"),
    Entry("morercpthosts", LIST, (), "qmail-newmrh", effect=EACH_RUN, example="example.org",
          doc="further domains like those of rcpthosts; qmail-newmrh compiles them into morercpthosts.cdb"),
    Entry("morercpthosts.cdb", CDB, None, "smtpd qmtpd", effect=EACH_RUN,
          doc="morercpthosts as a constant database, for thousands of domains"),
    Entry("percenthack", LIST, (), "queue users", example="example.com",
          doc="domains in which user%host@domain means user@host"),
    Entry("plusdomain", LINE, b"plusdomain", _COMPLETING, me=True, effect=EACH_RUN, example="example.com",
          doc="added to a host name that ends in a plus sign in the header of outgoing mail"),
    Entry("qmqpservers", LIST, (), "qmail-qmqpc", effect=EACH_RUN, example="192.0.2.7",
          doc="addresses of QMQP servers, with :PORT if it is not 628; the first that can be reached takes this host's mail"),
    Entry("queuelifetime", INTEGER, 604_800, "queue", unit="seconds",
          doc="how long delivery of a message is tried before it is returned"),
    Entry("rcpthosts", LIST, (), "smtpd qmtpd", example="example.com",
          doc="domains that mail from outside is accepted for; .domain means all below it; without the file, none"),
    Entry("smtpgreeting", LINE, None, "smtpd", me=True, required=True, blank=False,
          doc="how the SMTP server greets; must begin with the name of this host"),
    Entry("smtproutes", PAIRS, (), "rspawn qmail-remote", example="example.com:relay.example.com:26",
          doc="lines host:relay or host:relay:port that go before the DNS; with qmtp: or lmtp: before relay, or lmtp:/path"),
    Entry("timeoutconnect", INTEGER, 60, "rspawn qmail-remote qmail-lmtp", low=1, unit="seconds",
          doc="longest wait for a remote host to take a connection"),
    Entry("timeoutremote", INTEGER, 1200, "rspawn qmail-remote qmail-lmtp", low=1, unit="seconds",
          doc="longest wait for each answer of a remote host"),
    Entry("timeoutsmtpd", INTEGER, 1200, "smtpd qmtpd qmqpd", low=1, unit="seconds",
          doc="longest silence of a client of SMTP, QMTP or QMQP"),
    Entry("virtualdomains", PAIRS, (), "queue users", example="example.org:jane",
          doc="lines domain:prefix; mail for anybody@domain is delivered here to prefix-anybody"),
)
_OWN = (
    Entry("apop", INTEGER, 0, "popd", high=1, own=True,
          doc="1 offers APOP to POP3 clients; it works for users whose password was set with --cram alone"),
    Entry("bouncemaxbytes", INTEGER, 102_400, "queue", high=TOP, unit="bytes", own=True,
          doc="how much of the original message a bounce repeats"),
    Entry("checkpassword", LINE, b"", "authd", example="/bin/checkpassword", own=True,
          doc="a checkpassword program, with arguments, that judges log-ins instead of Quail itself"),
    Entry("concurrencyincoming", INTEGER, 10_000, "smtpd qmtpd qmqpd popd", low=1, high=1_000_000, own=True,
          doc="SMTP connections at once, over all workers; as many of QMTP, of QMQP, and of POP3 before the log-in"),
    Entry("concurrencyperdomain", INTEGER, 20, "queue", low=1, high=10_000, own=True,
          doc="remote deliveries at once to one host"),
    Entry("concurrencypop3", INTEGER, 1000, "authd", low=1, high=100_000, own=True,
          doc="POP3 sessions at once, at most 20 of one user"),
    Entry("defaultdelivery", LIST, (b"./Maildir/",), "lspawn authd", blank=False, example="./Maildir/", own=True,
          doc="what happens to mail for a user without a .qmail file, as lines of dot-qmail(5)"),
    Entry("listen", LISTEN, (), "serve", effect=RESTART, example="smtp 127.0.0.1:2525", own=True,
          doc="lines SERVICE ADDRESS:PORT or lmtp PATH; a service without a line is not started; port 0 is any free one"),
    Entry("maxbadcommands", INTEGER, 10, "smtpd", low=1, own=True,
          doc="unknown or malformed commands after which an SMTP client is sent away"),
    # RFC 5321 s4.5.3.1.4 asks for 512 and extensions add to it; the longest address taken is 900 bytes.
    Entry("maxcommandlength", INTEGER, 2048, "smtpd", low=512, high=65_536, unit="bytes", own=True,
          doc="longest line of an SMTP command"),
    Entry("maxconnectionsperip", INTEGER, 100, "smtpd qmtpd qmqpd popd", low=1, high=1_000_000, own=True,
          doc="SMTP connections at once from one address, or one /64 of IPv6; as many of QMTP, QMQP and POP3"),
    Entry("maxjunkcommands", INTEGER, 100, "smtpd", low=10, own=True,
          doc="SMTP commands without an accepted message after which a client is sent away"),
    # RFC 5321 s4.5.3.1.6 asks for 1000, but much real mail has whole paragraphs or data in one line, and qmail takes any;
    # this stops only what no mail reader would survive.
    Entry("maxlinelength", INTEGER, MIB, "smtpd", high=TOP_BYTES, unit="bytes", own=True,
          doc="longest line of a message that is accepted, 0 for any length"),
    # RFC 5321 s4.5.3.1.8 forbids less than 100. More than 8000 of the longest would not fit one envelope of the hand-over.
    Entry("maxrecipients", INTEGER, 1000, "smtpd qmtpd", low=100, high=8000, own=True,
          doc="recipients of one message"),
    # Marks of finished deliveries and bounces must still fit when new mail no longer does: never below two segments.
    Entry("minfree", INTEGER, 4 * SEGMENT, "queue", low=2 * SEGMENT, high=TOP_BYTES, unit="bytes", own=True,
          doc="space of the queue's file system that new mail leaves free"),
    Entry("mode", LINE, b"system", "serve qmail-lspawn qmail-rspawn qmail-pw2u checkpassword", blank=False,
          choices=(b"single", b"system"), effect=RESTART, example="single", own=True,
          doc="single: all services run as the user that starts them; system: as qmail's accounts"),
    Entry("nameservers", LIST, (), "smtpd qmtpd qmqpd popd rspawn qmail-remote", example="192.0.2.53", own=True,
          doc="addresses of name servers, with :PORT if it is not 53; without the file those of /etc/resolv.conf"),
    Entry("outgoingip", LIST, (), "rspawn qmail-remote", example="192.0.2.1", own=True,
          doc="addresses of this host that connections to others come from: one of IPv4, one of IPv6, or both"),
    Entry("pop3quirks", INTEGER, 0, "qmail-pop3d authd", high=1, own=True,
          doc="1 has POP3 count and send messages as qmail-pop3d does, where that is not what RFC 1939 says"),
    Entry("programtimeout", INTEGER, 3600, "lspawn qmail-lspawn qmail-local", unit="seconds", own=True,
          doc="how long a program named in a .qmail file may run before it is ended and its delivery put off; 0 for ever"),
    Entry("rcptcheck", INTEGER, 1, "smtpd qmtpd users", high=1, own=True,
          doc="1 refuses unknown local users while the client waits; 0 accepts them and bounces later"),
    Entry("remotelookup", INTEGER, 0, "smtpd qmtpd qmqpd popd", high=1, own=True,
          doc="1 looks up the name of each client, and takes it only if the name leads back to the address"),
    Entry("smtpdworkers", INTEGER, 2, "serve", low=1, high=64, effect=RESTART, own=True,
          doc="processes that share the SMTP connections"),
)
# fmt: on

TABLE: dict[str, Entry] = {row.name: row for row in _QMAIL + _OWN}


def absent(entry: Entry) -> str | None:
    """Why nothing in this version reads the file, or None if something does."""
    reasons = [NOT_YET.get(reader) for reader in entry.readers]
    return None if None in reasons else reasons[0]


def bounds(entry: Entry) -> str:
    """The numbers that an integer can be, in words; empty where there is nothing to say."""
    if entry.kind != INTEGER or entry.high >= TOP:
        return f"at least {entry.low}" if entry.low else ""
    return f"{entry.low} to {entry.high}"
