"""What becomes of a message, by its dot-qmail file: one row for each rule of facts 6.4 to 6.8, 6.10, 6.11 and 15.5.

A row is case(NAME, FILE, ...): FILE is the content of .qmail-x, in the home of user u, whose address is u-x@ex.org; or several
files by name. Before the delivery: `message` comes from `sender`, `default` is the default delivery, `maildirs` are there,
`modes` of files, `home` the mode of the home, `queue` what the queue answers to forwarded mail.
Afterwards: `code` (0, 100, 111) and `text` (/HOME stands for the home); `mail`: how many messages are in which Maildir;
`boxes`: content of mbox files (DATE stands for the date); `written`: content of other files; `forwards`: (sender, recipients)
of each message that was handed over. What is not named must not be there.
"""

MESSAGE = "Subject: hello\n\nbody\n"
LOOPING = "This message is looping: it already has my Delivered-To line. (#5.4.6)\n"
NO_MAILBOX = "Sorry, no mailbox here by that name. (#5.1.1)\n"
BLANK = "Uh-oh: first line of .qmail file is blank. (#4.2.1)\n"
FILE_AND_X = "Uh-oh: .qmail has file delivery but has x bit set. (#4.7.0)\n"
PROGRAM_AND_X = "Uh-oh: .qmail has prog delivery but has x bit set. (#4.7.0)\n"
CRASHED = "Aack, child crashed. (#4.3.0)\n"
NO_MAILDIR = "Unable to chdir to maildir. (#4.2.1)\n"
HEAD = "Return-Path: <s@x.y>\nDelivered-To: u-x@ex.org\n"
DID = "did %d+%d+%d\n"

CASES = []


class Case:
    def __init__(self, name, files, **fields):
        self.name = name
        self.files = {".qmail-x": files} if isinstance(files, str) else files
        self.dash, self.ext, self.local, self.host, self.sender = "-", "x", None, "ex.org", "s@x.y"
        self.default, self.message, self.maildirs, self.home = "./Maildir/\n", MESSAGE, ("M", "N"), 0o700
        self.modes, self.folders, self.queue, self.options = {}, (), "K17", ()
        self.code, self.text, self.mail, self.boxes, self.written, self.forwards = 0, "", {}, {}, {}, ()
        self.body = None  # of what is delivered, if it is not the message
        self.timeout = 0
        self.programs = True
        for field, value in fields.items():
            assert hasattr(self, field), field
            setattr(self, field, value)
        if self.local is None:
            self.local = "u" + self.dash + self.ext

    def __repr__(self):
        return self.name


def case(name, files, **fields):
    assert all(one.name != name for one in CASES), name
    CASES.append(Case(name, files, **fields))


def did(files=0, forwards=0, programs=0, before=""):
    return before + DID % (files, forwards, programs) + ("qp 17\n" if forwards else "")


def forward(*recipients, sender="s@x.y"):
    return (sender, list(recipients))


# A row is read as a row.
# fmt: off

# Which file speaks (6.5)

for name, ext, files, winner in (
    ("exact", "x", ["-x", "-default"], "-x"),
    ("default for want of an exact one", "x", ["-default", "-y"], "-default"),
    ("longest default", "a-b-c", ["-a-default", "-a-b-default", "-default"], "-a-b-default"),
    ("shorter default", "a-b-c", ["-a-default", "-default", "-b-default"], "-a-default"),
    ("shortest default", "a-b-c", ["-default", "-a-b-default-c"], "-default"),
    ("exact before defaults", "a-b", ["-a-b", "-a-default"], "-a-b"),
    ("lower case", "Foo-BAR", ["-foo-bar"], "-foo-bar"),
    ("never as written", "Foo", ["-Foo", "-default"], "-default"),
    ("colon for a dot", "a.b", ["-a:b", "-a.b"], "-a:b"),
    ("colon in a default", "a.b-c", ["-a:b-default"], "-a:b-default"),
    ("no way up", "../../x", ["-::/::/x", "-default"], "-default"),
    ("trailing dash, itself", "a-", ["-a-", "-a-default"], "-a-"),
    ("trailing dash, default", "a-", ["-a-default", "-default"], "-a-default"),
    ("two dashes", "a--b", ["-a--default", "-a-default"], "-a--default"),
    ("only dashes", "--", ["---default", "-default"], "---default"),
    ("extension named default", "default", ["-default"], "-default"),
    ("empty extension", "", ["-", "-default"], "-"),
    ("empty extension, default", "", ["-default"], "-default"),
    ("bytes above 127", "\xe4", ["-\xe4", "-default"], "-\xe4"),
    ("capitals above 127 are kept", "\xc4", ["-\xe4", "-default"], "-default"),
):
    case(
        f"search: {name}",
        {f".qmail{suffix}": f"&{number}@w\n" for number, suffix in enumerate(files) if "/" not in suffix},
        ext=ext, text=did(0, 1), forwards=[forward(f"{files.index(winner)}@w")],
    )

case("search: nothing", {".qmail-y": "# y\n", ".qmail": "# plain\n"}, code=100, text=NO_MAILBOX)
case("search: a folder is no file", {".qmail-default": "&a@b\n"}, folders=[".qmail-x"], text=did(0, 1),
     forwards=[forward("a@b")])
case("search: a folder alone", {}, folders=[".qmail-x"], code=100, text=NO_MAILBOX)
case("search: without dash", {".qmail": "&a@b\n", ".qmail-default": "&c@d\n"}, dash="", ext="", text=did(0, 1),
     forwards=[forward("a@b")])
case("search: without dash, .qmaildefault", {".qmaildefault": "&a@b\n"}, dash="", ext="", text=did(0, 1),
     forwards=[forward("a@b")])
case("search: without dash there is the default delivery", {".qmail-default": "&c@d\n"}, dash="", ext="",
     text=did(1), mail={"Maildir": 1})
case("search: dash with text", {".qmail-list-x": "&a@b\n"}, dash="-list-", text=did(0, 1), forwards=[forward("a@b")])
case("search: unreadable as a name", {}, ext="x" * 300, code=100, text=NO_MAILBOX)

# What DEFAULT says (6.5, 15.5)

for name, ext, file, default in (
    ("unset for an exact file", "x", "-x", "unset"),
    ("all of it", "Foo-Bar", "-default", "Foo-Bar"),
    ("what is behind the dash", "Foo-Bar.Baz-Qux", "-foo-default", "Bar.Baz-Qux"),
    ("empty", "foo-", "-foo-default", ""),
    ("the word itself", "a-DEFAULT", "-a-default", "DEFAULT"),
    ("the word at the end", "mydefault", "-mydefault", "default"),
):
    case(f"DEFAULT: {name}", {f".qmail{file}": "|printf %s ${DEFAULT-unset} > out\n"}, ext=ext, text=did(0, 0, 1),
         written={"out": default})

# Lines (6.6)

for name, content, fields in (
    ("comments discard", "# only\n", {"text": did()}),
    ("a comment without line feed", "#", {"text": did()}),
    ("Maildir", "./M/\n", {"text": did(1), "mail": {"M": 1}}),
    ("Maildir twice", "./M/\n./M/\n", {"text": did(2), "mail": {"M": 2}}),
    ("two Maildirs", "./M/\n./N/\n", {"text": did(2), "mail": {"M": 1, "N": 1}}),
    ("Maildir by its full path", "/HOME/M/\n", {"text": did(1), "mail": {"M": 1}}),
    ("Maildir, many slashes", "./M//\n", {"text": did(1), "mail": {"M": 1}}),
    ("a dot without slash", ".M/\n", {"text": did(1), "mail": {".M": 1}, "maildirs": (".M",)}),
    ("no line feed at the end", "./M/", {"text": did(1), "mail": {"M": 1}}),
    ("blanks at the end", "./M/ \t \n", {"text": did(1), "mail": {"M": 1}}),
    ("a blank inside is kept", "./M x/\n", {"text": did(1), "mail": {"M x": 1}, "maildirs": ("M x",)}),
    ("an empty line later", "./M/\n\n \t\n&a@b\n", {"text": did(1, 1), "mail": {"M": 1}, "forwards": [forward("a@b")]}),
    ("carriage return is part of a path", "./M/\r\n",
     {"text": did(1), "boxes": {"M/\r": "From s@x.y DATE\n" + HEAD + MESSAGE + "\n"}}),
    ("first line empty", "\n./M/\n", {"code": 111, "text": BLANK}),
    ("first line blank", " \t\n./M/\n", {"code": 111, "text": BLANK}),
    ("first line NUL", "\0./M/\n", {"code": 111, "text": BLANK}),
    ("forward", "&a@b\n", {"text": did(0, 1), "forwards": [forward("a@b")]}),
    ("forward without ampersand", "a@b\n", {"text": did(0, 1), "forwards": [forward("a@b")]}),
    ("forward: digit first", "9a@b\n", {"text": did(0, 1), "forwards": [forward("9a@b")]}),
    ("forward: blank first", " a@b\n", {"text": did(0, 1), "forwards": [forward(" a@b")]}),
    ("forward: blank behind ampersand", "& a@b\n", {"text": did(0, 1), "forwards": [forward(" a@b")]}),
    ("forward: two ampersands", "&&a@b\n", {"text": did(0, 1), "forwards": [forward("&a@b")]}),
    ("forward: no host", "&joe\n", {"text": did(0, 1), "forwards": [forward("joe")]}),
    ("forward: no header syntax", "&Joe <a@b>, c@d\n", {"text": did(0, 1), "forwards": [forward("Joe <a@b>, c@d")]}),
    ("forward: several are one message", "&a@b\nc@d\n&e@f\n", {"text": did(0, 3),
     "forwards": [forward("a@b", "c@d", "e@f")]}),
    ("forward: twice the same", "&a@b\n&a@b\n", {"text": did(0, 2), "forwards": [forward("a@b", "a@b")]}),
    ("forward: up to NUL", "&a@b\0&c@d\n", {"text": did(0, 1), "forwards": [forward("a@b")]}),
    ("forward: an address that is none", "|\n@\n", {"text": did(0, 1, 1), "forwards": [forward("@")]}),
    ("plus something", "+other\n./M/\n", {"text": did(1), "mail": {"M": 1}}),
    ("plus alone", "+\n|true\n", {"text": did(0, 0, 1)}),
    ("program", "|true\n", {"text": did(0, 0, 1)}),
    ("program: leading blanks", "|  true\n", {"text": did(0, 0, 1)}),
    ("program: nothing", "|\n", {"text": did(0, 0, 1)}),
    ("program: quotes and pipes", "|printf '%s|%s' \"$LOCAL\" 'a;b' | tr a-z A-Z > out\n",
     {"text": did(0, 0, 1), "written": {"out": "U-X|A;B"}}),
    ("program: blanks at the end", "|printf %s x > out \t\n", {"text": did(0, 0, 1), "written": {"out": "x"}}),
    ("program: up to NUL", "|printf x > out\0; printf y > out\n", {"text": did(0, 0, 1), "written": {"out": "x"}}),
    ("program: what it says", "|echo out; echo err >&2\n", {"text": did(0, 0, 1, "out\nerr\n")}),
    ("program: not there", "|/nonexistent 2>/dev/null\n", {"code": 111}),
    ("program: it has the message", "|cat > out\n", {"text": did(0, 0, 1), "written": {"out": MESSAGE}}),
    ("program: each from the start", "|head -c 4 > a\n|cat > b\n",
     {"text": did(0, 0, 2), "written": {"a": "Subj", "b": MESSAGE}}),
    ("program: it can move in it", "|dd bs=1 skip=9 2>/dev/null > out\n",
     {"text": did(0, 0, 1), "written": {"out": MESSAGE[9:]}}),
    ("program: it can't change the message", "|(echo x >&0) 2>/dev/null || printf no > out; cat > body\n",
     {"text": did(0, 0, 1), "written": {"out": "no", "body": MESSAGE}}),
    ("program: in the home", "|pwd > out\n", {"text": did(0, 0, 1), "written": {"out": "/HOME\n"}}),
    ("program: umask", "|umask > out\n", {"text": did(0, 0, 1), "written": {"out": "0077\n"}}),
    # The last is the folder that ls itself has opened.
    ("program: nothing else is open", "|exec ls /proc/self/fd > out\n",
     {"text": did(0, 0, 1), "written": {"out": "0\n1\n2\n3\n"}}),
    ("program: its own session", "|test $$ = $(cut -d' ' -f6 /proc/$$/stat) && echo yes > out\n",
     {"text": did(0, 0, 1), "written": {"out": "yes\n"}}),
    # posix_spawn leaves 32 and 33, the C library's own, ignored: sed takes them out (see tests/signals.py).
    ("program: no signal ignored or blocked",
     "|grep -E '^Sig(Blk|Ign)' /proc/self/status | sed -E 's/[01][08](.{7})$/00\\1/' > out\n",
     {"text": did(0, 0, 1), "written": {"out": "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"}}),
    ("all kinds", "# all\n&a@b\n./M/\n|echo hi\n./box\nc@d\n",
     {"text": did(2, 2, 1, "hi\n"), "mail": {"M": 1}, "forwards": [forward("a@b", "c@d")],
      "boxes": {"box": "From s@x.y DATE\n" + HEAD + MESSAGE + "\n"}}),
):
    case(f"line: {name}", content, **fields)

# Order, and what fails (6.6, 15.5)

case("order: a failure ends it", "./M/\n|exit 1\n./N/\n&a@b\n", code=111, mail={"M": 1})
case("order: forwards wait for all else", "&a@b\n./None/\n", code=111, text=NO_MAILDIR)
case("order: forwards wait for programs", "&a@b\n|echo no; exit 100\n", code=100, text="no\n")
case("order: 99 alone", "|exit 99\n./M/\n&a@b\n", text=did(0, 0, 1))
case("order: 99 keeps what was before", "&a@b\n|exit 99\n./M/\n&c@d\n", text=did(0, 1, 1), forwards=[forward("a@b")])
case("order: 99 after files", "./M/\n|echo bye; exit 99\n|exit 100\n", text=did(1, 0, 1, "bye\n"), mail={"M": 1})
case("order: a mbox that fails", "./None/box\n./M/\n&a@b\n", code=111,
     text="Unable to open ./None/box: file does not exist. (#4.2.1)\n")
case("order: a program sees what was delivered before it", "./M/\n|ls M/new | wc -l | tr -d ' ' > out\n",
     text=did(1, 0, 1), mail={"M": 1}, written={"out": "1\n"})

# Exit codes of programs (6.6)

for exit_code in (64, 65, 70, 76, 77, 78, 100, 112):
    case(f"exit code: {exit_code} is for good", f"|echo sorry; exit {exit_code}\n./M/\n", code=100, text="sorry\n")
for exit_code in (1, 2, 63, 66, 69, 71, 74, 75, 79, 98, 101, 111, 113, 127, 128, 255):
    case(f"exit code: {exit_code} is for now", f"|exit {exit_code}\n./M/\n", code=111)
for signal in ("KILL", "TERM", "SEGV", "PIPE", "HUP"):
    case(f"exit code: killed by {signal}", f"|echo oh; kill -{signal} $$\n./M/\n", code=111, text="oh\n" + CRASHED)

# Nothing but forwarding (6.6)

case("x bit: file", "./M/\n", modes={".qmail-x": 0o700}, code=111, text=FILE_AND_X)
case("x bit: mbox", "./box\n", modes={".qmail-x": 0o700}, code=111, text=FILE_AND_X)
case("x bit: program", "&a@b\n|true\n", modes={".qmail-x": 0o700}, code=111, text=PROGRAM_AND_X)
case("x bit: forward", "# list\n&a@b\n", modes={".qmail-x": 0o700}, text=did(0, 1), forwards=[forward("a@b")])
case("x bit: of others does not count", "./M/\n", modes={".qmail-x": 0o611}, text=did(1), mail={"M": 1})
case("x bit: of an empty file does not count", "", modes={".qmail-x": 0o700}, text=did(1), mail={"Maildir": 1})
case("list: file", "+list\n./M/\n", code=111, text=FILE_AND_X)
case("list: program", "+list\n|true\n", code=111, text=PROGRAM_AND_X)
case("list: forward", "+list\n&a@b\n", text=did(0, 1), forwards=[forward("a@b")])
case("list: from there on", "./M/\n+list \n&a@b\n./N/\n", code=111, text=FILE_AND_X, mail={"M": 1})
case("list: a program may run before it", "|echo hi\n+list\n&a@b\n", text=did(0, 1, 1, "hi\n"), forwards=[forward("a@b")])
case("list: and fail behind it", "|echo hi\n+list\n|echo ho\n", code=111, text="hi\n" + PROGRAM_AND_X)
case("list: other words mean nothing", "+lists\n+ list\n./M/\n", text=did(1), mail={"M": 1})

# The default delivery (6.5)

case("default: for an empty file", "", text=did(1), mail={"Maildir": 1})
case("default: several lines", "", default="# all\n./M/\n|echo hi\n./box\n&a@b\n", text=did(2, 1, 1, "hi\n"),
     mail={"M": 1}, boxes={"box": "From s@x.y DATE\n" + HEAD + MESSAGE + "\n"}, forwards=[forward("a@b")])
case("default: mbox", {}, dash="", ext="", default="./Mailbox", text=did(1),
     boxes={"Mailbox": "From s@x.y DATE\nReturn-Path: <s@x.y>\nDelivered-To: u@ex.org\n" + MESSAGE + "\n"})
case("default: program", {}, dash="", ext="", default="|cat > out", text=did(0, 0, 1), written={"out": MESSAGE})
case("default: forward", {}, dash="", ext="", default="&a@b", text=did(0, 1), forwards=[forward("a@b")])
case("default: its list line", "", default="+list\n./M/\n", code=111, text=FILE_AND_X)
case("default: blank", "", default="", code=111, text=BLANK)
case("default: first line blank", "", default=" \n./M/\n", code=111, text=BLANK)
case("default: DEFAULT of the empty file", {".qmail-default": ""}, default="|printf %s $DEFAULT > out", text=did(0, 0, 1),
     written={"out": "x"})
case("default: not for an address without file", {}, default="./M/\n", code=100, text=NO_MAILBOX)

# Before anything is done (6.4)

case("home: group may write", "./M/\n", home=0o770, text=did(1), mail={"M": 1})
case("home: all may write", "./M/\n", home=0o702, code=111, text="Uh-oh: home directory is writable. (#4.7.0)\n")
case("home: sticky", "./M/\n", home=0o1700, code=111,
     text="Home directory is sticky: user is editing his .qmail file. (#4.2.1)\n")
case("home: sticky and writable", "./M/\n", home=0o1777, code=111, text="Uh-oh: home directory is writable. (#4.7.0)\n")
case("file: all may write", "|true\n", modes={".qmail-x": 0o602}, code=111, text="Uh-oh: .qmail file is writable. (#4.7.0)\n")
case("file: group may write", "|true\n", modes={".qmail-x": 0o660}, text=did(0, 0, 1))
case("file: empty and writable", "", modes={".qmail-x": 0o666}, code=111, text="Uh-oh: .qmail file is writable. (#4.7.0)\n")
case("loop", "|true\n", message="Delivered-To: u-x@ex.org\n\n", code=100, text=LOOPING)
case("loop: before the file is looked for", {}, message="A: b\nDelivered-To: u-x@ex.org\n\n", code=100, text=LOOPING)
case("loop: other letters", "|true\n", ext="X", message="Delivered-To: u-x@ex.org\n\n", text=did(0, 0, 1))
case("loop: other field name", "|true\n", message="delivered-to: u-x@ex.org\n\n", text=did(0, 0, 1))
case("loop: in the body", "|true\n", message="A: b\n\nDelivered-To: u-x@ex.org\n", text=did(0, 0, 1))
case("loop: somebody else's", "|true\n", message="Delivered-To: u-xy@ex.org\nDelivered-To: u-x@ex.or\n\n",
     text=did(0, 0, 1))
case("loop: a blank more", "|true\n", message="Delivered-To: u-x@ex.org \n\n", text=did(0, 0, 1))
case("programs forbidden", "./M/\n# two\n|true\n", programs=False, code=111,
     text="/HOME/.qmail-x line 3: programs are not run in a single home that is served by root: serve it as its user, or make"
          " it a system home (quail init --system). (#4.3.0)\n")
case("programs forbidden: mbox is not", "./box\n", programs=False, text=did(1),
     boxes={"box": "From s@x.y DATE\n" + HEAD + MESSAGE + "\n"})

# Maildir (6.11)

case("maildir: not there", "./None/\n", code=111, text=NO_MAILDIR)
case("maildir: an mbox of that name", {".qmail-x": "./box/\n", "box": "x"}, code=111, text=NO_MAILDIR,
     written={"box": "x"})
case("maildir: the message as it is", "./M/\n", message="From here\n>From there\nlast", text=did(1), mail={"M": 1})
case("maildir: empty message", "./M/\n", message="", text=did(1), mail={"M": 1})
case("maildir: NUL and CR", "./M/\n|true\n", message="A: b\r\n\r\n\0\xff\r\n", text=did(1, 0, 1), mail={"M": 1})
case("maildir: large", "./M/\n|wc -c | tr -d ' '\n", message="A: b\n\n" + "x" * 300_000, text=did(1, 0, 1, "300006\n"),
     mail={"M": 1})

# Mbox (6.10)

FROM = "From s@x.y DATE\n"
for name, message, stands in (
    ("quoting From", "A: b\n\nFrom here\n", "A: b\n\n>From here\n\n"),
    ("quoting what is quoted", "\n>From there\n>>>From far\n", "\n>>From there\n>>>>From far\n\n"),
    ("unfinished line", "\nlast no nl", "\nlast no nl\n\n"),
    ("unfinished From", "\nFrom ", "\n>From \n\n"),
    ("unfinished beginning", "\n>From", "\n>From\n\n"),
    ("From in the first line", "From me\n\n", ">From me\n\n\n"),
    ("no From", "\nfrom x\nFrom\nFROM x\n From x\nxFrom x\n>>\n", "\nfrom x\nFrom\nFROM x\n From x\nxFrom x\n>>\n\n"),
    ("From twice in a line", "\nFrom From From \n", "\n>From From From \n\n"),
    ("empty message", "", "\n"),
    ("one line feed", "\n", "\n\n"),
    ("NUL and CR", "\0\r\nFrom \0\r\n", "\0\r\n>From \0\r\n\n"),
):
    case(f"mbox: {name}", "./box\n", message=message, text=did(1), boxes={"box": FROM + HEAD + stands})
case("mbox: vector", "./box\n", message="From here\n>From there\nlast no nl", text=did(1),
     boxes={"box": FROM + HEAD + ">From here\n>>From there\nlast no nl\n\n"})
case("mbox: blank in the sender", "./box\n", sender="s p@x.y", text=did(1),
     boxes={"box": 'From s-p@x.y DATE\nReturn-Path: <"s p"@x.y>\nDelivered-To: u-x@ex.org\n' + MESSAGE + "\n"})
case("mbox: tab and line feed in the sender", "./box\n", sender="a\tb\nc@x.y", text=did(1),
     boxes={"box": 'From a-b-c@x.y DATE\nReturn-Path: <"a\tb\\_c"@x.y>\nDelivered-To: u-x@ex.org\n' + MESSAGE + "\n"})
case("mbox: empty sender", "./box\n", sender="", text=did(1),
     boxes={"box": "From MAILER-DAEMON DATE\nReturn-Path: <>\nDelivered-To: u-x@ex.org\n" + MESSAGE + "\n"})
case("mbox: sender of a double bounce", "./box\n", sender="#@[]", text=did(1),
     boxes={"box": "From #@[] DATE\nReturn-Path: <#@[]>\nDelivered-To: u-x@ex.org\n" + MESSAGE + "\n"})
case("mbox: line feed in the recipient", "./box\n", local="u\nv", text=did(1),
     boxes={"box": "From s@x.y DATE\nReturn-Path: <s@x.y>\nDelivered-To: u_v@ex.org\n" + MESSAGE + "\n"})
case("mbox: twice", "./box\n./box\n", text=did(2), boxes={"box": (FROM + HEAD + MESSAGE + "\n") * 2})
case("mbox: behind what is there", {".qmail-x": "./box\n", "box": "From x\n\nold\n\n"}, text=did(1),
     boxes={"box": "From x\n\nold\n\n" + FROM + HEAD + MESSAGE + "\n"})
case("mbox: behind half a line", {".qmail-x": "./box\n", "box": "From x\n\nhal"}, text=did(1),
     boxes={"box": "From x\n\nhal\n\n" + FROM + HEAD + MESSAGE + "\n"})
case("mbox: by its full path", "/HOME/box\n", text=did(1), boxes={"box": FROM + HEAD + MESSAGE + "\n"})
case("mbox: a folder", "./M\n", code=111, text="Unable to open ./M: is a directory. (#4.2.1)\n")
case("mbox: the null device", "/dev/null\n", text=did(1))
case("mbox: a full device", "/dev/full\n", code=111, text="Unable to write /dev/full: out of disk space. (#4.3.0)\n")
case("mbox: large", "./box\n", message="\n" + "From x\n" * 50_000, text=did(1),
     boxes={"box": FROM + HEAD + "\n" + ">From x\n" * 50_000 + "\n"})

# Environment (6.8, 15.5)

for name, value, fields in (
    ("SENDER", "s@x.y", {}),
    ("SENDER", "", {"sender": ""}),
    ("SENDER", "s p\n@x.y", {"sender": "s p\n@x.y"}),
    ("NEWSENDER", "s@x.y", {}),
    ("RECIPIENT", "u-x@ex.org", {}),
    ("RECIPIENT", "u-x@Ex.ORG", {"host": "Ex.ORG"}),
    ("USER", "u", {}),
    ("HOME", "/HOME", {}),
    ("LOCAL", "u-X", {"ext": "X"}),
    ("HOST", "a.b.c.d.org", {"host": "a.b.c.d.org"}),
    ("HOST2", "a.b.c.d", {"host": "a.b.c.d.org"}),
    ("HOST3", "a.b.c", {"host": "a.b.c.d.org"}),
    ("HOST4", "a.b", {"host": "a.b.c.d.org"}),
    ("HOST2", "localhost", {"host": "localhost"}),
    ("HOST3", "localhost", {"host": "localhost"}),
    ("HOST4", "localhost", {"host": "localhost"}),
    ("HOST4", "ex", {}),
    ("EXT", "Foo-Bar.Baz-Qux", {"ext": "Foo-Bar.Baz-Qux"}),
    ("EXT2", "Bar.Baz-Qux", {"ext": "Foo-Bar.Baz-Qux"}),
    ("EXT3", "Qux", {"ext": "Foo-Bar.Baz-Qux"}),
    ("EXT4", "", {"ext": "Foo-Bar.Baz-Qux"}),
    ("EXT2", "", {}),
    ("DTLINE", "Delivered-To: u-x@ex.org\n", {}),
    ("DTLINE", "Delivered-To: u_v@ex.org\n", {"local": "u\nv"}),
    ("RPLINE", "Return-Path: <s@x.y>\n", {}),
    ("RPLINE", 'Return-Path: <"s p"@x.y>\n', {"sender": "s p@x.y"}),
    ("RPLINE", "Return-Path: <>\n", {"sender": ""}),
    ("UFLINE", "From s@x.y DATE\n", {}),
    ("UFLINE", "From MAILER-DAEMON DATE\n", {"sender": ""}),
    ("PATH", "/usr/bin:/bin", {}),
    ("TZ", "Europe/Vienna", {}),
):
    case(
        f"environment: {name} {len(CASES)}",
        {".qmail-default": f'|printf %s "${name}" > out\n'},
        text=did(0, 0, 1), written={"out": value}, **fields,
    )

# Lists with an owner (6.7, 15.5)

for name, files, sender, new in (
    ("none", [], "s@x.y", "s@x.y"),
    ("VERP needs the owner too", ["-x-owner-default"], "s@x.y", "s@x.y"),
    ("owner", ["-x-owner"], "s@x.y", "u-x-owner@ex.org"),
    ("VERP", ["-x-owner", "-x-owner-default"], "s@x.y", "u-x-owner-@ex.org-@[]"),
    ("empty sender", ["-x-owner", "-x-owner-default"], "", ""),
    ("double bounce", ["-x-owner"], "#@[]", "#@[]"),
    ("of another address", ["-y-owner", "-owner"], "s@x.y", "s@x.y"),
):
    made = {f".qmail{suffix}": "# kept\n" for suffix in files}
    case(f"owner: {name}", {".qmail-x": "&a@b\n", **made}, sender=sender, text=did(0, 1), forwards=[forward("a@b", sender=new)])
    case(f"owner: {name}: told to programs", {".qmail-x": '|printf %s "$NEWSENDER" > out\n', **made}, sender=sender,
         text=did(0, 0, 1), written={"out": new})
case("owner: whole extension although the file is a default", {".qmail-default": "&a@b\n", ".qmail-l:1-owner": "# k\n"},
     ext="L.1", text=did(0, 1), forwards=[forward("a@b", sender="u-L.1-owner@ex.org")])
case("owner: a folder will do", {".qmail-x": "&a@b\n"}, folders=[".qmail-x-owner"], text=did(0, 1),
     forwards=[forward("a@b", sender="u-x-owner@ex.org")])
case("owner: vector", {".qmail-x": "&a@b\n|exit 99\n./M\n&c@d\n", ".qmail-x-owner": "# k\n", ".qmail-x-owner-default": "# k\n"},
     text=did(0, 1, 1), forwards=[forward("a@b", sender="u-x-owner-@ex.org-@[]")])

# What the queue says to forwarded mail (8.6)

for answer, code in (
    ("Dmail server permanently rejected message (#5.3.0)", 100),
    ("Denvelope address too long for qq (#5.1.3)", 100),
    ("Zqq write error or disk full (#4.3.0)", 111),
    ("Zmail system is stopping, try again later (#4.3.2)", 111),
):
    for kind, line in (("", ""), (" after a program", "|true\n")):
        case(f"queue: {answer}{kind}", line + "&a@b\n", queue=answer, code=code,
             text=f"Unable to forward message: {answer[1:]}.\n", forwards=[forward("a@b")])

# What qmail-local -n says: nothing is done. Rows as above.

DRY = []
_ALL = "# all\n&a@b\n./M/\n|echo hi \n./box\nc@d\n"
for name, content, fields in (
    ("all kinds", _ALL, {"text": "forward a@b\nmaildir ./M/\nprogram echo hi\nmbox ./box\nforward c@d\ndid 2+2+1\n"}),
    ("nothing ends it", "|exit 99\n./M/\n", {"text": "program exit 99\nmaildir ./M/\ndid 1+0+1\n"}),
    ("comments", "# only\n", {"text": "did 0+0+0\n"}),
    ("the default delivery", "", {"text": "maildir ./Maildir/\ndid 1+0+0\n"}),
    ("no mailbox", {}, {"code": 100, "text": NO_MAILBOX}),
    ("blank", "\n", {"code": 111, "text": BLANK}),
    ("x bit", "&a@b\n./M/\n", {"modes": {".qmail-x": 0o700}, "code": 111, "text": "forward a@b\n" + FILE_AND_X}),
    ("list", "+list\n|x\n", {"code": 111, "text": PROGRAM_AND_X}),
    ("a loop does not matter", "./M/\n", {"message": "Delivered-To: u-x@ex.org\n\n", "text": "maildir ./M/\ndid 1+0+0\n"}),
    ("sticky home", "&a@b\n",
     {"home": 0o1700, "text": "Warning: home directory is sticky.\nforward a@b\ndid 0+1+0\n"}),
    ("writable home", "&a@b\n", {"home": 0o702, "code": 111, "text": "Uh-oh: home directory is writable. (#4.7.0)\n"}),
):
    DRY.append(Case(f"dry: {name}", content, **fields))
