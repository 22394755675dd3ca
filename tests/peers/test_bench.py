"""The bench itself works: a tiny run of all its parts, in the test root; and it sees what is lost."""

import json
import os
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest
from bench import document, load, picture
from bench.accounts import Accounts, LostError, shares
from bench.report import Report
from bench.runs import CallRun, Run, Weight
from bench.world import RELAY, World
from tests.lacking import without
from tests.root.testroot import TestRoot


def run_bench(tmp_path, *words):
    """The results of a tiny run of some tables, all of whose folders lie in tmp_path."""
    places = ["--results", str(tmp_path / "results"), "--documents", str(tmp_path / "docs"), "--dir", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--rounds", "1", *words, *places],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if "is memory, where a sync costs nothing" in done.stderr:
        without("a folder for temporary files that is on a disk: a bench in memory says nothing")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(os.listdir(tmp_path)) == ["docs", "results"]
    (file,) = (tmp_path / "results").iterdir()
    return json.loads(file.read_text())


def both(*tables):
    return [(table, peer) for table in tables for peer in ("Quail", "Postfix")]


def named(rows):
    return [(row["table"], row["peer"]) for row in rows]


@pytest.mark.root
def test_a_tiny_run_of_the_bench(tmp_path):
    tables = ["persistent", "deliver", "users", "sendmail"]
    results = run_bench(tmp_path, *tables, "--messages", "400", "--users", "20", "--calls", "5", "--callers", "1", "2")
    medians, calls = results["medians"], results["calls"]
    assert named(medians) == both("persistent", "deliver", "users")
    assert all(row["rate"] > 0 and row["cpu_per_thousand"] > 0 and row["syncs_per_thousand"] > 0 for row in medians)
    assert named(calls) == [
        (table, peer) for table in ("sendmail", "sendmail x2") for peer in ("Quail", "Postfix", "bare python3")
    ]
    assert all(row["ms"] > 0 and row["own_cpu_ms"] > 0 for row in calls)
    assert all(
        row["syncs_per_thousand"] >= 1000 for row in calls if row["table"] == "sendmail" and " " not in row["peer"]
    )
    text = (tmp_path / "docs/bench.md").read_text()
    assert text.count("calls of sendmail, ") == 2
    assert "delivered to 20 users" in text


@pytest.mark.root
def test_a_tiny_run_of_mail_to_the_world_and_of_memory(tmp_path):
    words = ["--relayed", "60", "--recipients", "40", "--hosts", "4", "--lists", "1", "--connections", "150", "1001"]
    results = run_bench(tmp_path, "relay", "onehost", "manyhosts", "idle", *words)
    assert named(results["medians"]) == both("relay", "onehost", "manyhosts")
    assert all(row["rate"] > 0 and row["syncs_per_thousand"] > 0 for row in results["medians"])
    weights = results["weights"]
    assert named(weights) == [*both("idle", "idle 150"), ("idle 1001", "Quail")]
    assert [row["connections"] for row in weights] == [0, 0, 150, 150, 1001]
    assert all(row["total"] > 1e6 for row in weights)
    assert (tmp_path / "docs/bench.md").read_text().count("| - | - | - | - |\n") == 3
    ET.parse(tmp_path / "docs/bench.svg")


@pytest.mark.root
def test_a_tiny_run_of_pop3(tmp_path):
    results = run_bench(tmp_path, "pop3", "--messages", "120")
    assert named(results["medians"]) == [(t, peer) for t in ("pop3", "pop3 x50") for peer in ("Quail", "Dovecot")]
    assert all(row["rate"] > 0 and row["ratio"] > 0 for row in results["medians"])
    text = (tmp_path / "docs/bench.md").read_text()
    assert "| fetched by POP3 (beside Dovecot), one at a time, messages/s | " in text
    assert "| fetched by POP3 (beside Dovecot), 50 at a time, messages/s | " in text
    assert f"Dovecot {results['facts']['Dovecot']} of Debian" in text


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


@pytest.mark.root
class TestTheWorld:
    @pytest.fixture
    def box(self, tmp_path):
        with TestRoot.get().enter({str(tmp_path): "/srv"}) as box:
            yield box

    @pytest.fixture
    def world(self, box, tmp_path):
        return World(box, str(tmp_path))

    def send(self, box, host, count, to="to@h1-1.example", size=3000):
        words = ["smtp-source", "-m", str(count), "-l", str(size), "-f", "sender@example.org", "-t", to]
        box.run(["sh", "-c", f"until smtp-source -m 1 -t first@example.org {RELAY}:25; do :; done"])
        box.run([*words, f"{host}:25"])

    def test_every_recipient_is_counted(self, box, world):
        self.send(box, "10.77.200.199", 3)
        world.await_recipients(4, seconds=60)
        load.settle(box)
        assert world.check({"first@example.org": 1, "to@h1-1.example": 3}, 100) == 4
        assert world.last_arrival() > 0
        for wrong in ({"to@h1-1.example": 3}, {"first@example.org": 1, "to@h1-1.example": 4}):
            with pytest.raises(LostError, match="smtp-sink misses"):
                world.check(wrong, 100)
        with pytest.raises(LostError, match="less than 3500 bytes"):
            world.check({"first@example.org": 1, "to@h1-1.example": 3}, 3500)
        world.clear()
        with pytest.raises(TimeoutError, match="0 of 1 recipients"):
            world.await_recipients(1, seconds=0)

    def test_what_the_name_server_knows(self, box, world):
        code = (
            "import socket\n"
            "for name in ('mx.h12-3.example', 'h12-3.example', 'example.org'):\n"
            "    try: print(socket.getaddrinfo(name, 25, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])\n"
            "    except socket.gaierror as error: print(error.errno == socket.EAI_NODATA)\n"
        )
        box.run(["sh", "-c", "until grep -q ':0035 ' /proc/net/udp; do :; done"])
        assert box.run(["python3", "-c", code]).stdout.split() == ["10.77.3.12", "True", "False"]
        assert len(world.pids) == 2


class TestDocuments:
    @pytest.fixture
    def results(self, tmp_path):
        facts = {
            "date": "1 November 2026", "machine": "Linux-6.1.0-x86_64", "processors": 2, "memory_gb": 8, "file_system": "ext4",
            "rounds": 2, "users": 200, "relayed": 2000, "recipients": 2000, "hosts": 200, "lists": 3, "size": 4096,
            "sessions": 20, "Quail": "0.1.0", "Postfix": "3.7.11",
        }  # fmt: skip
        report = Report(facts)
        for factor in (1, 2):
            report.add(Run("relay", "Quail", 1000, 1, 0.5))
            report.add(Run("relay", "Postfix", 1000, factor * 2, 1))
            report.add(CallRun("sendmail x8", "Quail", 10, 1, 20, 30, 15, 1))
            report.add(CallRun("sendmail x8", "Postfix", 10, 1, 10, 12, 4, 4))
            report.add(CallRun("sendmail x8", "bare python3", 10, 1, 8, 9, 7, 0))
            report.add(Weight("idle", "Quail", 0, 60_000_000, 60_000_000))
            report.add(Weight("idle", "Postfix", 0, 6_000_000, 6_000_000))
            report.add(Weight("idle 10000", "Quail", 10_000, 90_000_000, 60_000_000))
        report.add_syncs("relay", "Quail", 200)
        return report.write(str(tmp_path))

    def test_one_table(self, results, tmp_path):
        document.write([results], str(tmp_path / "docs"), "Somebody danced on the machine.")
        text = (tmp_path / "docs/bench.md").read_text()
        assert [line for line in text.splitlines() if line.startswith("| ")][1:] == [
            (
                "| 2,000 messages sent on to a relay, messages/s | 1,000 (1,000 to 1,000) | 375 (250 to 500)"
                " | 3.00 (2.00 to 4.00) | 0.50 | 1.00 | 200 | - |"
            ),
            (
                "| calls of sendmail, 8 at a time, ms a call | 20.0 (20.0 to 20.0) | 10.0 (10.0 to 10.0)"
                " | **0.50** (0.50 to 0.50) | 16.0 | 8.00 | - | - |"
            ),
            (
                "| memory of everything, idle, MB | 60.0 (60.0 to 60.0) | 6.00 (6.00 to 6.00)"
                " | **0.10** (0.10 to 0.10) | - | - | - | - |"
            ),
            "| memory for each of 10,000 idle connections, KB | 3.00 (3.00 to 3.00) | - | - | - | - | - | - |",
        ]
        assert "run `make bench` on yours. Somebody danced on the machine.\n" in text
        assert "1 November 2026, 2 processors, 8 GB, Linux 6.1, ext4; medians of 2 rounds" in text
        assert "Of a call of sendmail, 8.00 ms are the start of a bare Python." in text

    def test_later_results_replace_earlier_ones_of_the_same_table(self, results, tmp_path):
        report = Report({"date": "2 November 2026"})
        report.add(Weight("idle", "Quail", 0, 50_000_000, 50_000_000))
        (tmp_path / "later").mkdir()
        facts, lines = document.read([results, report.write(str(tmp_path / "later"))])
        assert facts["date"] == "2 November 2026"
        assert [line.value("Quail") for line in lines if line.unit == "MB"] == ["50.0 (50.0 to 50.0)"]
        assert len(lines) == 4

    def test_one_picture(self, results, tmp_path):
        document.write([results], str(tmp_path / "docs"))
        top = ET.parse(tmp_path / "docs/bench.svg").getroot()
        texts = [node.text for node in top.iter("{http://www.w3.org/2000/svg}text")]
        assert "Times as fast as Postfix" in texts
        assert "3.0 (2.0 to 4.0)" in texts
        assert "0.10 (0.10 to 0.10)" in texts
        assert not any("10,000" in text for text in texts)
        bars = [node.get("class") for node in top.iter("{http://www.w3.org/2000/svg}rect")]
        assert bars == ["ground", "better", "worse", "better", "worse", "worse"]


def test_bars_lie_on_their_side_of_one():
    text = picture.svg("a < b", [], [picture.Panel("p", [picture.Bar("x", 4, 2, 8), picture.Bar("y", 0.5, 0.25, 1)])])
    top = ET.fromstring(text)
    (one,) = [node for node in top.iter("{http://www.w3.org/2000/svg}line") if node.get("class") == "one"]
    _, right, left = top.iter("{http://www.w3.org/2000/svg}rect")
    assert right.get("x") == one.get("x1")
    assert float(left.get("x")) + float(left.get("width")) == pytest.approx(float(one.get("x1")), abs=0.11)
    assert float(right.get("width")) == pytest.approx(2 * float(left.get("width")), abs=0.11)
