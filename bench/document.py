"""usage: python -m bench.document RESULTS.json ... [--documents FOLDER] [--remark TEXT]

Writes bench.md, one table, and bench.svg, one picture, of results of the bench. Of tables that are in several files the last
one counts. The remark is for what the reader must know of the circumstances.
"""

import argparse
import json
import os
import re
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from bench import picture

DOCS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs")
FIRST, OTHER, BARE = "Quail", "Postfix", "bare python3"
STANDS_IN = "Dovecot"  # for Postfix, where there is no Postfix
Row = dict[str, Any]

SETTINGS = """\
Both are what a newcomer gets, with every sync that it makes of its own accord, and its log in a file. Load, far end and server
share the machine and its loopback. Messages are of {size:,} bytes (those of `sendmail` alone: 1,024) and come on {sessions}
connections at a time.

- **Quail {quail}**: the first three rows are a home of `quail init --single`, in the first two with `concurrencylocal` 0, so
  that what it accepts stays queued; all others are a home of `quail init --system` on Debian's Python. Where mail goes out:
  `listen` 127.0.0.1:2525, `RELAYCLIENT` for 127. in the access rules, and `smtproutes` where there is a relay. For the
  connections nothing is set: its defaults allow 10,000.
- **Postfix {postfix}** of Debian: in the first two rows recipients are on `hold`. `home_mailbox = Maildir/`, no alias maps,
  `inet_protocols = ipv4`, `inet_interfaces = 127.0.0.1`, no chroot, and `local_destination_concurrency_limit = 20`, not 2.
  Where mail goes out: port 2525, and `relayhost` where there is a relay. For the connections: `default_process_limit = 1100`,
  not 100: each of them has a process, and 10,000 are not feasible here.
- **The far end** is one smtp-sink for all hosts, which have addresses of their own; it keeps what comes in memory, and every
  recipient is counted. A name server answers for them at once. Messages to many recipients come one after another, {lists} a
  round, to hosts that have not been met before. What load generator, smtp-sink and name server cost is left out of the
  processor time, but they take it from both.
- **POP3**: one client fetches a mailbox of as many messages as the first rows have, one by one or with 50 RETR on their way.
  Quail: the home of a machine with a `pop3` line in `listen`. In Postfix's place: Dovecot {dovecot} of Debian, with its index.
- **Memory** is PSS, just after the start. What the kernel holds for a connection is not in it.
"""


class Line(NamedTuple):
    """One row of the table and of the picture."""

    label: str
    unit: str
    rows: dict[str, Row]  # by peer
    figure: str  # the name of the row's figure, beside NAME_least and NAME_most
    scale: float

    def value(self, peer: str) -> str:
        """The median and the spread, in the row's unit."""
        if (row := self.rows.get(peer)) is None:
            return "-"
        middle, least, most = (row[self.figure + end] / self.scale for end in ("", "_least", "_most"))
        return f"{_number(middle)} ({_span(least, most)})"

    @property
    def other(self) -> Row | None:
        """The row that has the ratios, if the other one was measured too."""
        return self.rows.get(OTHER) if FIRST in self.rows else None


def write(paths: Sequence[str], folder: str, remark: str = "") -> None:
    """Make both documents of these results; `remark` is a sentence or two."""
    facts, lines = read(paths)
    os.makedirs(folder, exist_ok=True)
    for name, text in (("bench.svg", drawn(facts, lines, remark)), ("bench.md", told(facts, lines, remark))):
        with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
            file.write(text)


def read(paths: Iterable[str]) -> tuple[Row, list[Line]]:
    """The facts, and a line for each table."""
    facts: Row = {}
    found: dict[str, tuple[str, dict[str, Row]]] = {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        facts |= content["facts"]
        for kind in ("medians", "calls", "weights"):
            for table in dict.fromkeys(row["table"] for row in content[kind]):
                rows = [row for row in content[kind] if row["table"] == table]
                found[table] = (kind, {OTHER if row["peer"] == STANDS_IN else row["peer"]: row for row in rows})
    lines = [_line(kind, table, rows, facts) for table, (kind, rows) in found.items()]
    order = list(_labels(facts))
    return facts, sorted(lines, key=lambda line: order.index(_kind(next(iter(line.rows.values()))["table"])))


def _labels(facts: Row) -> dict[str, str]:
    return {
        "connection": "accepted, one message a connection",
        "persistent": "accepted, on persistent connections",
        "deliver": "delivered into one Maildir",
        "users": f"delivered to {facts['users']} users",
        "relay": f"{facts['relayed']:,} messages sent on to a relay",
        "onehost": f"one message to {facts['recipients']:,} recipients at one host",
        "manyhosts": f"one message to {facts['recipients']:,} recipients at {facts['hosts']} hosts",
        "sendmail": "calls of sendmail",
        "pop3": f"fetched by POP3 (beside {STANDS_IN})",
        "idle": "memory",
    }


def _kind(table: str) -> str:
    return table.partition(" ")[0]


def _line(kind: str, table: str, rows: dict[str, Row], facts: Row) -> Line:
    label = _labels(facts)[_kind(table)]
    if _kind(table) == "pop3":
        label += f", {table.partition(' x')[2] or 'one'} at a time"
    if kind == "medians":
        return Line(label, "recipients/s" if "recipients" in label else "messages/s", rows, "rate", 1)
    if kind == "calls":
        return Line(f"{label}, {table.partition(' x')[2] or 'one'} at a time", "ms a call", rows, "ms", 1)
    count = next(iter(rows.values()))["connections"]
    if count:
        return Line(f"{label} for each of {count:,} idle connections", "KB", rows, "bytes", 1e3)
    return Line(f"{label} of everything, idle", "MB", rows, "bytes", 1e6)


def told(facts: Row, lines: Sequence[Line], remark: str) -> str:
    """The text of bench.md."""
    table = "".join(_table_row(line) for line in lines)
    bare = [line.rows[BARE] for line in lines if BARE in line.rows]
    note = f"\nOf a call of sendmail, {_number(bare[0]['ms'])} ms are the start of a bare Python.\n" if bare else ""
    settings = SETTINGS.format(
        **facts, quail=facts.get(FIRST, "?"), postfix=facts.get(OTHER, "?"), dovecot=facts.get(STANDS_IN, "?")
    )
    return f"""# Quail beside Postfix

<!-- Written by `make bench`; do not edit. -->

{facts["date"]}, {_machine(facts)}; medians of {facts["rounds"]} rounds in turns (in brackets: from and to). Differences under
a third are unresolved on a machine like this: run `make bench` on yours. {remark}

![how many times as good as Postfix](bench.svg)

| | Quail | Postfix | times as good | CPU-s per 1,000: Quail | Postfix | syncs per 1,000: Quail | Postfix |
|---|---|---|---|---|---|---|---|
{table}
Times as good: so many times as fast, or the other's time of a call or memory as a multiple of Quail's; the median of the
rounds' ratios. Below 1 (**bold**) Postfix is better. Processor seconds and syncs are for 1,000 messages, recipients or
calls; the syncs of a start are among them.
{note}
## Settings

{settings}"""


def _table_row(line: Line) -> str:
    cells = [f"{line.label}, {line.unit}", line.value(FIRST), line.value(OTHER)]
    if (row := line.other) is None:
        cells.append("-")
    else:
        ratio = _number(row["ratio"])
        cells.append(
            f"{ratio if row['ratio'] >= 1 else f'**{ratio}**'} ({_span(row['ratio_least'], row['ratio_most'])})"
        )
    for name in ("cpu_per_thousand", "syncs_per_thousand"):
        for peer in (FIRST, OTHER):
            value = line.rows.get(peer, {}).get(name)
            cells.append("-" if value is None else _number(value))
    return "| " + " | ".join(cells) + " |\n"


def drawn(facts: Row, lines: Sequence[Line], remark: str) -> str:
    """The text of bench.svg."""
    bars: dict[str, list[picture.Bar]] = {"speed": [], "processor time": [], "memory": []}
    for line in lines:
        if (row := line.other) is None:
            continue
        bars["memory" if line.figure == "bytes" else "speed"].append(
            picture.Bar(line.label, row["ratio"], row["ratio_least"], row["ratio_most"])
        )
        if row.get("cpu_ratio_least"):
            bars["processor time"].append(
                picture.Bar(line.label, row["cpu_ratio"], row["cpu_ratio_least"], row["cpu_ratio_most"])
            )
    panels = [
        picture.Panel(title, bars[name])
        for title, name in (
            ("Times as fast as Postfix", "speed"),
            ("Postfix needs so many times as much processor time", "processor time"),
            ("Postfix needs so many times as much memory", "memory"),
        )
        if bars[name]
    ]
    versions = f"Quail {facts.get(FIRST, '?')} and Postfix {facts.get(OTHER, '?')} with what a newcomer gets"
    notes = [
        f"{versions}, {facts['date']}.",
        f"{_machine(facts)}. Medians and range of {facts['rounds']} rounds in turns.",
        *([remark] if remark else []),
        "To the right of 1 Quail is better, to the left Postfix.",
    ]
    return picture.svg("Quail beside Postfix", notes, panels)


def _machine(facts: Row) -> str:
    """In words, without anybody's name for it."""
    kernel = re.match(r"(\w+)-(\d+\.\d+)", facts["machine"])
    system = " ".join(kernel.groups()) if kernel else "Linux"
    return f"{facts['processors']} processors, {facts['memory_gb']} GB, {system}, {facts['file_system']}"


def _number(value: float) -> str:
    """Three digits, or all that are before the point."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"


def _span(least: float, most: float) -> str:
    return f"{_number(least)} to {_number(most)}"


def date() -> str:
    """Today, for the facts."""
    return time.strftime("%d %B %Y").lstrip("0")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.document", usage=(__doc__ or "").partition("usage: ")[2])
    parser.add_argument("results", nargs="+")
    parser.add_argument("--documents", default=DOCS)
    parser.add_argument("--remark", default="")
    options = parser.parse_args()
    write(options.results, options.documents, options.remark)


if __name__ == "__main__":
    main()
