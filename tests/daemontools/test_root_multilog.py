"""multilog beside the original: scripts and lines, rotation, recovery, and each on what the other has left."""

import json
import os
import shutil

import pytest
from tests.root.testroot import QUAIL_ENVIRONMENT

pytestmark = pytest.mark.root
HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.mark.parametrize(("kind", "seed", "count"), [("scripts", 7, 40), ("recovery", 0, 0), ("exchange", 11, 40)])
def test_it_does_as_the_original_does(test_root, tmp_path, kind, seed, count):
    shutil.copy(f"{HERE}/multilog_inside.py", tmp_path)
    with test_root.enter({str(tmp_path): "/srv"}) as box:
        words = ["python3", "/srv/multilog_inside.py", "/srv/case", kind, str(seed), str(count)]
        done = box.run(words, env=QUAIL_ENVIRONMENT, timeout=300)
    assert json.loads(done.stdout) == []


FULL = """
import os, subprocess, sys, time
os.makedirs('/full'); subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'none', '/full'], check=True)
ours = %r
p = subprocess.Popen([*ours, 't', 's4096', '/full/d'], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
lines = [b'%%099d\\n' %% number for number in range(300)]
p.stdin.write(b''.join(lines[:10])); p.stdin.flush()
while not os.path.exists('/full/d/current') or os.path.getsize('/full/d/current') < 1000: time.sleep(0.01)
filler = open('/full/filler', 'wb', buffering=0)
try:
    while True: filler.write(b'x' * 4096)
except OSError: pass
p.stdin.write(b''.join(lines[10:])); p.stdin.close()
print(p.stderr.readline().decode(), end='')
os.truncate('/full/filler', 0)
print(p.wait())
names = sorted(n for n in os.listdir('/full/d') if n[0] == '@') + ['current']
text = b''.join(open('/full/d/' + n, 'rb').read() for n in names)
kept = [line[26:] for line in text.splitlines(True)]
print(kept == lines[-len(kept):], len(kept) > 100, kept[-1] == lines[-1])
"""


def test_a_disk_that_is_full_for_a_while(test_root):
    """The machine's own ENOSPC: a warning, a pause of 5 seconds, and all lines are there."""
    start = "import sys;sys.path[:0]=['/opt/quail/src'];from quail.programs.daemontools.multilog import main;main()"
    ours = ["python3", "-IS", "-c", start]
    with test_root.enter() as box:
        done = box.run(["python3", "-c", FULL % (ours,)], env=QUAIL_ENVIRONMENT)
    warning, *rest = done.stdout.splitlines()
    assert warning.startswith("multilog: warning: unable to ")
    assert warning.endswith(", pausing: out of disk space")
    assert rest == ["0", "True True True"]
