"""Runs of the bench, and the tables and the JSON that are made of them."""

import json
import os
import statistics
import time
from collections.abc import Iterator
from typing import NamedTuple, TypeVar


class Run(NamedTuple):
    """One measured run: which table, which peer, and what came out (seconds; processor seconds of the server)."""

    table: str
    peer: str
    messages: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        return self.messages / self.seconds

    @property
    def cpu_per_thousand(self) -> float:
        return 1000 * self.cpu / self.messages

    def __str__(self) -> str:
        return f"{self.rate:8.0f}/s  {self.cpu_per_thousand:6.2f} CPU-s per 1,000"


class CallRun(NamedTuple):
    """Calls of a program: `seconds` for all; milliseconds of one: its time (median, 95th percentile), processor time."""

    table: str
    peer: str
    calls: int
    seconds: float
    median: float
    slow: float
    cpu: float  # of the call's own processes
    servers: float  # of the servers, until everything was delivered

    def __str__(self) -> str:
        return f"{self.median:8.1f} ms  {self.cpu:6.1f} CPU-ms and {self.servers:.1f} of the servers"


Kind = TypeVar("Kind", Run, CallRun)


class Report:
    """Collects runs as they come; prints medians, and how many times as fast the first peer is as each other."""

    def __init__(self, facts: dict[str, object]) -> None:
        """`facts` go into the JSON: versions, sizes, the machine."""
        self.facts = facts
        self.runs: list[Run | CallRun] = []
        self.syncs: dict[tuple[str, str], float] = {}

    def add(self, run: Run | CallRun) -> None:
        self.runs.append(run)
        print(f"  {run.table:<12} {run.peer:<12} {run}", flush=True)

    def add_syncs(self, table: str, peer: str, per_thousand: float) -> None:
        self.syncs[table, peer] = per_thousand

    def _groups(self, kind: type[Kind]) -> Iterator[tuple[list[Kind], list[Kind]]]:
        """The runs of each peer in each table, and those of the table's first peer in the same rounds."""
        runs = [run for run in self.runs if isinstance(run, kind)]
        for table in dict.fromkeys(run.table for run in runs):
            first: list[Kind] = []
            for peer in dict.fromkeys(run.peer for run in runs if run.table == table):
                mine = [run for run in runs if (run.table, run.peer) == (table, peer)]
                first = first or mine
                yield mine, first

    def _rows(self) -> list[dict[str, object]]:
        return [
            {
                "table": mine[0].table,
                "peer": mine[0].peer,
                "rate": statistics.median(run.rate for run in mine),
                "least": min(run.rate for run in mine),
                "most": max(run.rate for run in mine),
                "cpu_per_thousand": statistics.median(run.cpu_per_thousand for run in mine),
                "syncs_per_thousand": self.syncs.get((mine[0].table, mine[0].peer)),
                # Round by round: what slows one run slows its neighbour too, and drops out.
                "ratio_of_first": statistics.median(
                    one.rate / other.rate for one, other in zip(first, mine, strict=False)
                ),
            }
            for mine, first in self._groups(Run)
        ]

    def _call_rows(self) -> list[dict[str, object]]:
        return [
            {
                "table": mine[0].table,
                "peer": mine[0].peer,
                "median_ms": statistics.median(run.median for run in mine),
                "least_ms": min(run.median for run in mine),
                "most_ms": max(run.median for run in mine),
                "slow_ms": statistics.median(run.slow for run in mine),
                "rate": statistics.median(run.calls / run.seconds for run in mine),
                "cpu_ms": statistics.median(run.cpu for run in mine),
                "servers_cpu_ms": statistics.median(run.servers for run in mine),
                "syncs_per_thousand": self.syncs.get((mine[0].table, mine[0].peer)),
                "time_of_first": statistics.median(
                    one.median / other.median for one, other in zip(first, mine, strict=False)
                ),
                "cpu_of_first": statistics.median(
                    (one.cpu + one.servers) / (other.cpu + other.servers)
                    for one, other in zip(first, mine, strict=False)
                ),
            }
            for mine, first in self._groups(CallRun)
        ]

    def show(self) -> None:
        """Print the medians. A ratio is the median of the rounds' ratios: so many times as fast the first peer is; of calls, so
        many times as much time and processor time one takes with the first peer.
        """
        if rows := self._rows():
            print(
                f"\n{'':<12} {'':<8} {'msg/s':>8} {'from':>7} {'to':>7} {'CPU-s/1,000':>12} {'syncs/1,000':>12} {'ratio':>7}"
            )
            for row in rows:
                print(
                    f"{row['table']:<12} {row['peer']:<8} {row['rate']:8.0f} {row['least']:7.0f} {row['most']:7.0f}"
                    f" {row['cpu_per_thousand']:12.2f} {_whole(row['syncs_per_thousand']):>12} {row['ratio_of_first']:7.2f}"
                )
        if rows := self._call_rows():
            print(
                f"\n{'':<12} {'':<12} {'ms/call':>8} {'from':>7} {'to':>7} {'95 %':>7} {'calls/s':>8} {'CPU-ms':>7}"
                f" {'servers':>8} {'syncs/1,000':>12} {'time':>6} {'CPU':>6}"
            )
            for row in rows:
                print(
                    f"{row['table']:<12} {row['peer']:<12} {row['median_ms']:8.1f} {row['least_ms']:7.1f}"
                    f" {row['most_ms']:7.1f} {row['slow_ms']:7.1f} {row['rate']:8.0f} {row['cpu_ms']:7.1f}"
                    f" {row['servers_cpu_ms']:8.1f} {_whole(row['syncs_per_thousand']):>12}"
                    f" {row['time_of_first']:6.2f} {row['cpu_of_first']:6.2f}"
                )

    def write(self, folder: str) -> str:
        """Everything as JSON in a new file of the folder; its path."""
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, time.strftime("%Y%m%d-%H%M%S", time.gmtime()) + ".json")
        content = {
            "facts": self.facts,
            "medians": self._rows(),
            "calls": self._call_rows(),
            "runs": [run._asdict() for run in self.runs],
        }
        with open(path, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
        return path


def _whole(number: object) -> str:
    return "-" if number is None else format(number, ".0f")
