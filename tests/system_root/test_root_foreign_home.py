"""Root and a single home of somebody else: nothing is served, and nothing happens where that user's links lead."""

import os

from tests.root.testroot import QUAIL, QUAIL_ENVIRONMENT
from tests.system.harness import PATIENCE
from tests.system_root.harness_root import describe, uid

HOME = "/srv/shared/single"


def test_a_home_full_of_links(own_home):
    own_home.box.run([*QUAIL, "init", "--single", HOME], user=uid("mallory"), env=QUAIL_ENVIRONMENT)
    precious = own_home.shared / "precious"
    precious.write_text("root's\n")
    precious.chmod(0o600)
    os.chown(precious, 0, 0)
    for name in ("run/ports.json.tmp", "run/pids.json.tmp", "bin/.sendmail.tmp", "queue/journal"):
        path = own_home.shared / "single" / name
        path.parent.mkdir(exist_ok=True)
        if path.is_dir():
            path.rmdir()
        path.symlink_to("/srv/shared/precious")
    words = [*QUAIL, "serve", "--home", HOME, "--smtp-port", "0", "--pop3-port", "0"]
    done = own_home.box.run(words, env=QUAIL_ENVIRONMENT, check=False, timeout=PATIENCE)
    assert done.returncode == 100
    assert f"{HOME} belongs to uid {uid('mallory')}" in done.stderr
    assert precious.read_text() == "root's\n"
    assert describe(precious) == ("-rw-------", 0, 0)
