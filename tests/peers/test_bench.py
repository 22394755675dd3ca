"""The bench itself works: a tiny run of all its parts, in the test root; and it sees what is lost."""

import json
import os
import subprocess
import sys

import pytest
from bench.accounts import Accounts, LostError, shares


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
        reason = "did not run: the folder for temporary files is memory, and a bench there says nothing"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
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
        (table, peer) for table in ("sendmail", "sendmail x2") for peer in ("Quail", "Postfix", "bare python3")
    ]
    assert all(row["median_ms"] > 0 and row["cpu_ms"] > 0 for row in calls)
    assert all(
        row["syncs_per_thousand"] >= 1000 for row in calls if row["table"] == "sendmail" and " " not in row["peer"]
    )
    assert list(tmp_path.iterdir()) == [tmp_path / "results"]


def test_even_shares_of_messages():
    assert shares(7, ["a", "b", "c"]) == {"a": 3, "b": 2, "c": 2}
    assert shares(1, ["a", "b"]) == {"a": 1, "b": 0}


@pytest.mark.root
class TestWhatUsersHave:
    @pytest.fixture
    def accounts(self, tmp_path):
        return Accounts(str(tmp_path), 2)

    def deliver(self, accounts, name, *, owner=None, mode=0o600):
        path = f"{accounts.folder}/{name}/Maildir/new/{len(os.listdir(f'{accounts.folder}/{name}/Maildir/new'))}"
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        os.chown(path, accounts.uid(owner or name), -1)

    def test_all_is_there(self, accounts):
        self.deliver(accounts, "user001")
        self.deliver(accounts, "user001")
        accounts.await_mail({"user001": 2}, seconds=0)
        accounts.check({"user001": 2})

    @pytest.mark.parametrize("wanted", [{"user000": 2}, {"user000": 1, "user001": 1}, {}])
    def test_too_few_and_too_many(self, accounts, wanted):
        self.deliver(accounts, "user000")
        with pytest.raises(LostError):
            accounts.check(wanted)

    @pytest.mark.parametrize("fault", [{"owner": "user001"}, {"mode": 0o640}])
    def test_another_users_file_and_one_that_others_can_read(self, accounts, fault):
        self.deliver(accounts, "user000", **fault)
        with pytest.raises(LostError, match="not his alone"):
            accounts.check({"user000": 1})

    def test_nobody_waits_for_ever(self, accounts):
        with pytest.raises(TimeoutError, match="1 users wait"):
            accounts.await_mail({"user000": 1}, seconds=0)
