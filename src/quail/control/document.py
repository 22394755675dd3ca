"""The manual of the control files, written from the table: docs/control.md and docs/man/qmail-control.5.

After a change of the table:  python -m quail.control.document markdown > docs/control.md
                              python -m quail.control.document man > docs/man/qmail-control.5
"""

import sys
from collections.abc import Iterator

from quail.control.table import CDB, EACH_RUN, HUP, TABLE, Entry, absent, bounds

_INTRODUCTION = (
    "The folder control/ of a home has one small text file for each thing that can be set. A file that is not there means the"
    " default. Services run by quail serve read their files when it starts and again on HUP; programs that run for one"
    " message or connection read them each time (qmail-smtpd and qmail-lmtpd those of smtpd and users)."
    " quail config shows and sets them, and quail config check finds mistakes."
)
_KINDS = (
    ("line", "the first line of the file, without blanks and tabs at its end. There are no comments."),
    (
        "integer",
        "the decimal digits that the first line begins with. A number outside the bounds is taken as the nearest of them.",
    ),
    ("list", "one entry a line, without blanks at its end. Empty lines and lines that begin with # do not count."),
    (
        "pairs",
        "a list of name:value, split at the first colon. Of equal names the last counts; case makes no difference.",
    ),
    (
        "listen",
        (
            "a list of SERVICE ADDRESS:PORT. The address is in digits, one of IPv6 in brackets: smtp [::1]:25. In its place"
            " lmtp can have the path of a Unix socket, from / or from the home on: lmtp run/lmtp."
        ),
    ),
    ("cdb", "compiled from another file."),
)
_MISREAD = (
    "A file that exists but is empty is an empty value, not the default: an empty locals means that nothing is local. A file"
    " that nobody can have meant (an integer without a digit, a pair without a colon, a carriage return at the end of a line,"
    " an empty host name) is refused by name and line: the service does not start, or goes on with what it read before, and"
    " mail waits."
)
_DIFFERENCES = (
    "Without rcpthosts qmail accepts mail for every domain; Quail accepts it for none.",
    "On HUP qmail-send reads only locals and virtualdomains again; Quail reads all of them.",
    "qmail-send rewrites a message's recipients once; Quail by the files of now, whenever it takes the message up anew.",
    "What qmail would misread (see above) is refused.",
)


def default(entry: Entry) -> str:
    """What a missing file means, in words."""
    literal = entry.default
    words = ["me"] if entry.me else []
    if isinstance(literal, bytes):
        words.append(literal.decode())
    elif isinstance(literal, int):
        words.append(f"{literal} {entry.unit}".strip())
    elif isinstance(literal, tuple):
        words += [value.decode() for value in literal]
    return ", else ".join(words) or ("none, the file must be there" if entry.required else "none")


def effect(entry: Entry) -> str:
    """How a change comes to count."""
    if reason := absent(entry):
        return f"not yet: {reason}"
    if entry.effect == EACH_RUN:
        return "at once" if entry.kind == CDB else "each time it runs"
    return "HUP" if entry.effect == HUP else "restart of quail serve"


def _parts() -> Iterator[tuple[str, list[Entry]]]:
    yield "Files of qmail", [entry for entry in TABLE.values() if not entry.own]
    yield "Files of Quail", [entry for entry in TABLE.values() if entry.own]


def markdown() -> str:
    """The page docs/control.md."""
    lines = ["# Control files", "", "<!-- Written by quail.control.document from the table; do not edit. -->", ""]
    lines += [_INTRODUCTION, "", *(f"- **{kind}**: {meaning}" for kind, meaning in _KINDS), "", _MISREAD, ""]
    for title, entries in _parts():
        lines += [f"## {title}", "", "| File | Kind | Default | Meaning | Read by | A change counts after |"]
        lines += ["|---|---|---|---|---|---|"]
        for entry in entries:
            kind = f"{entry.kind}, {bounds(entry)}" if bounds(entry) else entry.kind
            cells = (f"`{entry.name}`", kind, default(entry), entry.doc, ", ".join(entry.readers), effect(entry))
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    lines += ["## Where this differs from qmail", "", *(f"- {text}" for text in _DIFFERENCES)]
    return "\n".join(lines) + "\n"


def man() -> str:
    """The same as a manual page."""
    lines = ['.\\" Written by quail.control.document from the table; do not edit.', ".TH qmail-control 5"]
    lines += [".SH NAME", "qmail-control \\- the control files of a home", ".SH DESCRIPTION", _roff(_INTRODUCTION)]
    lines += [".PP", "There are these kinds of files:"]
    for kind, meaning in _KINDS:
        lines += [".TP", f".B {kind}", _roff(meaning)]
    lines += [".PP", _roff(_MISREAD)]
    for title, entries in _parts():
        lines.append(f".SH {title.upper()}")
        for entry in entries:
            lines += [".TP", f".B {_roff(entry.name)}", *(_roff(line) for line in _paragraph(entry))]
    lines.append('.SH "WHERE THIS DIFFERS FROM QMAIL"')
    for text in _DIFFERENCES:
        lines += [".PP", _roff(text)]
    lines += [".SH SEE ALSO", "quail(1), qmail-showctl(8), qmail-newmrh(8), dot-qmail(5), tcprules(1)"]
    return "\n".join(lines) + "\n"


def _paragraph(entry: Entry) -> Iterator[str]:
    yield f"{entry.doc[0].upper()}{entry.doc[1:]}."
    limits = f", {bounds(entry)}" if bounds(entry) else ""
    yield f"Kind: {entry.kind}{limits}. Default: {default(entry)}."
    if absent(entry):
        yield f"Not read yet: {absent(entry)}."
    else:
        yield f"Read by {' and '.join(entry.readers)}; a change counts after: {effect(entry)}."


def _roff(text: str) -> str:
    """Text that no character of is an instruction to the formatter."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in {".", "'"} else text


if __name__ == "__main__":
    sys.stdout.write({"markdown": markdown, "man": man}[sys.argv[1]]())
