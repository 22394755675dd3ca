"""Runs of the bench, and the tables and the JSON that are made of them."""

import json
import os
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from bench.runs import CallRun, Run, Weight

Row = dict[str, object]
Kind = TypeVar("Kind", Run, CallRun, Weight)


class Report:
    """Collects runs as they come; prints medians, and how many times as good the first peer is as each other."""

    def __init__(self, facts: dict[str, object]) -> None:
        """`facts` go into the JSON: versions, sizes, the machine."""
        self.facts = facts
        self.runs: list[Run | CallRun | Weight] = []
        self.syncs: dict[tuple[str, str], float] = {}

    def add(self, run: Run | CallRun | Weight) -> None:
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

    def _row(self, mine: list[Kind], first: list[Kind]) -> Row:
        """What all kinds have. Ratios are taken round by round: what slows one run slows its neighbour too, and drops out."""
        ratios = [other.burden / one.burden for one, other in zip(first, mine, strict=False)]
        return {
            "table": mine[0].table,
            "peer": mine[0].peer,
            "ratio": statistics.median(ratios),
            "ratio_least": min(ratios),
            "ratio_most": max(ratios),
            "syncs_per_thousand": self.syncs.get((mine[0].table, mine[0].peer)),
        }

    def _rows(self) -> list[Row]:
        return [
            {
                **self._row(mine, first),
                **_spread("rate", (run.rate for run in mine)),
                **_cpu(mine, first),
            }
            for mine, first in self._groups(Run)
        ]

    def _call_rows(self) -> list[Row]:
        return [
            {
                **self._row(mine, first),
                **_spread("ms", (run.median for run in mine)),
                **_cpu(mine, first),
                "slow_ms": statistics.median(run.slow for run in mine),
                "rate": statistics.median(run.calls / run.seconds for run in mine),
                "own_cpu_ms": statistics.median(run.cpu for run in mine),
                "servers_cpu_ms": statistics.median(run.servers for run in mine),
            }
            for mine, first in self._groups(CallRun)
        ]

    def _weight_rows(self) -> list[Row]:
        return [
            {
                **self._row(mine, first),
                **_spread("bytes", (run.burden for run in mine)),
                "connections": mine[0].connections,
                "total": statistics.median(run.total for run in mine),
            }
            for mine, first in self._groups(Weight)
        ]

    def show(self) -> None:
        """Print the medians. A ratio says how many times as good the first peer is: as fast, or with so much less time of a
        call or memory.
        """
        if rows := self._rows():
            print(
                f"\n{'':<12} {'':<8} {'/s':>8} {'from':>7} {'to':>7} {'CPU-s/1,000':>12} {'syncs/1,000':>12} {'ratio':>7}"
                f" {'from':>6} {'to':>6} {'CPU':>6}"
            )
            for row in rows:
                print(
                    f"{row['table']:<12} {row['peer']:<8} {row['rate']:8.0f} {row['rate_least']:7.0f} {row['rate_most']:7.0f}"
                    f" {row['cpu_per_thousand']:12.2f} {_whole(row['syncs_per_thousand']):>12} {_ratios(row)}"
                    f" {row['cpu_ratio']:6.2f}"
                )
        if rows := self._call_rows():
            print(
                f"\n{'':<12} {'':<12} {'ms/call':>8} {'from':>7} {'to':>7} {'95 %':>7} {'calls/s':>8} {'CPU-ms':>7}"
                f" {'servers':>8} {'syncs/1,000':>12} {'ratio':>7} {'from':>6} {'to':>6} {'CPU':>6}"
            )
            for row in rows:
                print(
                    f"{row['table']:<12} {row['peer']:<12} {row['ms']:8.1f} {row['ms_least']:7.1f}"
                    f" {row['ms_most']:7.1f} {row['slow_ms']:7.1f} {row['rate']:8.0f} {row['own_cpu_ms']:7.1f}"
                    f" {row['servers_cpu_ms']:8.1f} {_whole(row['syncs_per_thousand']):>12}"
                    f" {_ratios(row)} {row['cpu_ratio']:6.2f}"
                )
        if rows := self._weight_rows():
            print(
                f"\n{'':<12} {'':<8} {'MB':>9} {'KB each':>9} {'from':>9} {'to':>9} {'ratio':>7} {'from':>6} {'to':>6}"
            )
            for row in rows:
                each = _kilobytes(row, "bytes", "bytes_least", "bytes_most") if row["connections"] else f"{'':29}"
                print(f"{row['table']:<12} {row['peer']:<8} {_mega(row['total']):9.1f} {each} {_ratios(row)}")

    def write(self, folder: str) -> str:
        """Everything as JSON in a new file of the folder; its path."""
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, time.strftime("%Y%m%d-%H%M%S", time.gmtime()) + ".json")
        content = {
            "facts": self.facts,
            "medians": self._rows(),
            "calls": self._call_rows(),
            "weights": self._weight_rows(),
            "runs": [run._asdict() for run in self.runs],
        }
        with open(path, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
        return path


def _spread(name: str, values: Iterable[float]) -> Row:
    every = list(values)
    return {name: statistics.median(every), f"{name}_least": min(every), f"{name}_most": max(every)}


def _cpu(mine: Sequence[Run | CallRun], first: Sequence[Run | CallRun]) -> Row:
    """Processor seconds for 1,000 messages, and how many times as much as the first peer needs."""
    ratios = [
        other.cpu_per_thousand / one.cpu_per_thousand
        for one, other in zip(first, mine, strict=False)
        if one.cpu_per_thousand  # a few messages may take less than a tick
    ]
    return {
        "cpu_per_thousand": statistics.median(run.cpu_per_thousand for run in mine),
        **_spread("cpu_ratio", ratios or [0.0]),
    }


def _ratios(row: Row) -> str:
    return f"{row['ratio']:7.2f} {row['ratio_least']:6.2f} {row['ratio_most']:6.2f}"


def _mega(number: object) -> float:
    assert isinstance(number, int | float)
    return number / 1e6


def _kilobytes(row: Row, *names: str) -> str:
    return " ".join(f"{1e3 * _mega(row[name]):9.1f}" for name in names)


def _whole(number: object) -> str:
    return "-" if number is None else format(number, ".0f")
