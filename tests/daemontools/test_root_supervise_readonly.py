"""supervise where nothing can be written, beside the original: it says which file, and ends."""

import pytest
from tests.daemontools.supervise_house import ORACLES, OURS, move_in
from tests.root.testroot import QUAIL_ENVIRONMENT

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

# A file system of its own, which is made read-only once it has what it is to have.
BEFORE = {
    "nothing but run": "true",
    "a folder supervise": "mkdir s/supervise",
    "all that a supervise has left": "cp -a /tmp/left s/supervise",
}
SCRIPT = """
set -e
mkdir -p /tmp/still
mount -t tmpfs none /tmp/still
cd /tmp/still
mkdir s
printf '#!/bin/sh\\nexec sleep 1000\\n' > s/run
chmod 755 s/run
{before}
mount -o remount,ro /tmp/still
set +e
{folder}/supervise s
code=$?
cd /
umount /tmp/still
exit $code
"""


@pytest.fixture(scope="module")
def box(test_root):
    with test_root.enter() as box:
        move_in(box, QUAIL_ENVIRONMENT)
        made = "mkdir /tmp/left; cd /tmp/left; touch lock; mkfifo control ok; printf 123456789012345678 > status"
        box.run(["sh", "-c", made])
        yield box


@pytest.mark.parametrize("before", BEFORE)
def test_nothing_can_be_written(box, before):
    said = {}
    for folder in (f"{OURS}/bin", ORACLES):
        script = SCRIPT.format(before=BEFORE[before], folder=folder)
        done = box.run(["sh", "-c", script], check=False, timeout=60)
        said[folder] = (done.returncode, done.stdout, done.stderr)
    ours, theirs = said.values()
    assert ours == theirs
    assert ours[0] == 111
    assert ours[2].startswith("supervise: fatal: unable to ")
