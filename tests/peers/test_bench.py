"""The bench itself works: a tiny run of all its parts, in the test root."""

import json
import subprocess
import sys

import pytest


@pytest.mark.root
def test_a_tiny_run_of_the_bench(tmp_path):
    words = ["--messages", "400", "--rounds", "1", "--results", str(tmp_path / "results"), "--dir", str(tmp_path)]
    words += ["--users", "20", "--calls", "5", "--callers", "1", "2"]
    tables = ["persistent", "deliver", "users", "sendmail"]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *tables, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if "is memory, where a sync costs nothing" in done.stderr:
        pytest.skip("did not run: the folder for temporary files is memory, and a bench there says nothing")
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = (tmp_path / "results").iterdir()
    results = json.loads(file.read_text())
    medians, calls = results["medians"], results["calls"]
    assert [(row["table"], row["peer"]) for row in medians] == [
        ("persistent", "Quail"),
        ("persistent", "Postfix"),
        ("deliver", "Quail"),
        ("deliver", "Postfix"),
        ("users", "Quail"),
        ("users", "Postfix"),
    ]
    assert all(row["rate"] > 0 and row["cpu_per_thousand"] > 0 and row["syncs_per_thousand"] > 0 for row in medians)
    assert [(row["table"], row["peer"]) for row in calls] == [
        (table, peer) for table in ("sendmail", "sendmail x2") for peer in ("Quail", "bare python3", "Postfix")
    ]
    assert all(row["median_ms"] > 0 and row["cpu_ms"] > 0 for row in calls)
    assert all(
        row["syncs_per_thousand"] >= 1000 for row in calls if row["table"] == "sendmail" and " " not in row["peer"]
    )
    assert list(tmp_path.iterdir()) == [tmp_path / "results"]
