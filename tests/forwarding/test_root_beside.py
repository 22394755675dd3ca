"""The programs of dot-forward and fastforward beside Debian's: files, envelopes, words and exit codes, from fixed seeds."""

import os

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
# How many inputs: of each some dozen calls of both programs.
SUBJECTS = {"calls": 1, "dotforward": 60, "aliases": 50, "forwarding": 30, "lists": 30, "databases": 20}


def beside(test_root, tmp_path, subject, count):
    seed = int(os.environ.get("QUAIL_SEED") or 20_261_130)
    with test_root.enter({HERE: "/srv/tests", str(tmp_path): "/srv/case"}) as box:
        words = ["python3", "/srv/tests/beside_inside.py", subject, str(seed), str(count)]
        done = box.run(words, env={"PYTHONPATH": "/opt/quail/src"}, check=False, timeout=1200)
        assert (done.returncode, done.stdout) == (0, ""), f"seed {seed}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("subject", SUBJECTS)
def test_beside_the_original(test_root, tmp_path, subject):
    beside(test_root, tmp_path, subject, SUBJECTS[subject])


@pytest.mark.long
@pytest.mark.parametrize("subject", [subject for subject in SUBJECTS if subject != "calls"])
def test_beside_the_original_for_long(test_root, tmp_path, subject):
    beside(test_root, tmp_path, subject, 100 * SUBJECTS[subject])
