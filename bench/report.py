"""Runs of the bench, and the tables and the JSON that are made of them."""

import json
import os
import statistics
import time
from typing import NamedTuple


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


class Report:
    """Collects runs as they come; prints medians, and how many times as fast the first peer is as each other."""

    def __init__(self, facts: dict[str, object]) -> None:
        """`facts` go into the JSON: versions, sizes, the machine."""
        self.facts = facts
        self.runs: list[Run] = []
        self.syncs: dict[tuple[str, str], float] = {}

    def add(self, run: Run) -> None:
        self.runs.append(run)
        print(
            f"  {run.table:<12} {run.peer:<8} {run.rate:8.0f}/s  {run.cpu_per_thousand:6.2f} CPU-s per 1,000",
            flush=True,
        )

    def add_syncs(self, table: str, peer: str, per_thousand: float) -> None:
        self.syncs[table, peer] = per_thousand

    def _rows(self) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = []
        for table in dict.fromkeys(run.table for run in self.runs):
            first: list[Run] = []
            for peer in dict.fromkeys(run.peer for run in self.runs):
                mine = [run for run in self.runs if (run.table, run.peer) == (table, peer)]
                if not mine:
                    continue
                first = first or mine
                rows.append(
                    {
                        "table": table,
                        "peer": peer,
                        "rate": statistics.median(run.rate for run in mine),
                        "least": min(run.rate for run in mine),
                        "most": max(run.rate for run in mine),
                        "cpu_per_thousand": statistics.median(run.cpu_per_thousand for run in mine),
                        "syncs_per_thousand": self.syncs.get((table, peer)),
                        # Round by round: what slows one run slows its neighbour too, and drops out.
                        "ratio_of_first": statistics.median(
                            one.rate / other.rate for one, other in zip(first, mine, strict=False)
                        ),
                    }
                )
        return rows

    def show(self) -> None:
        """Print the medians. The ratio is the median of the rounds' ratios: so many times as fast the first peer is."""
        print(
            f"\n{'':<12} {'':<8} {'msg/s':>8} {'from':>7} {'to':>7} {'CPU-s/1,000':>12} {'syncs/1,000':>12} {'ratio':>7}"
        )
        for row in self._rows():
            syncs = row["syncs_per_thousand"]
            print(
                f"{row['table']:<12} {row['peer']:<8} {row['rate']:8.0f} {row['least']:7.0f} {row['most']:7.0f}"
                f" {row['cpu_per_thousand']:12.2f} {'-' if syncs is None else format(syncs, '.0f'):>12}"
                f" {row['ratio_of_first']:7.2f}"
            )

    def write(self, folder: str) -> str:
        """Everything as JSON in a new file of the folder; its path."""
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, time.strftime("%Y%m%d-%H%M%S", time.gmtime()) + ".json")
        content = {"facts": self.facts, "medians": self._rows(), "runs": [run._asdict() for run in self.runs]}
        with open(path, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
        return path
