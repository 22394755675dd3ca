"""svscanboot in a machine of its own: /service, /command, and what lists of processes show."""

import re
import subprocess

import pytest
from tests.daemontools.supervise_house import OURS, SERVICE, Street, move_in, until
from tests.root.testroot import QUAIL_ENVIRONMENT

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]
BROKEN = "#!/bin/sh\nenv >> environment\necho out of order >&2\nexec sleep 1000\n"


@pytest.fixture
def box(test_root, tmp_path):
    (tmp_path / "tree").mkdir()
    with test_root.enter({str(tmp_path): "/srv"}) as box:
        move_in(box, QUAIL_ENVIRONMENT)
        box.run(["ln", "-s", f"{OURS}/bin", "/command"])
        box.run(["ln", "-s", "/srv/tree", "/service"])
        box.shared = tmp_path
        yield box


def boot(box):
    return box.popen(
        ["python3", "-m", "quail.programs.daemontools.svscanboot"],
        env={**QUAIL_ENVIRONMENT, "PATH": "/usr/bin:/bin:/usr/sbin"},
        stderr=subprocess.DEVNULL,
    )


def listed(box):
    """Command lines of the box's processes."""
    return box.run(["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"], check=False).stdout


def test_it(box):
    street = Street(box.shared, {}, "/usr/bin/python3", box, "/srv")
    service, broken = street.service("tree/good", SERVICE), street.service("tree/broken", BROKEN)
    first = boot(box)
    service.told(1)
    until(lambda: "out of order" in listed(box), lambda: listed(box))
    assert re.search(r"readproctitle service errors: \.+out of order", listed(box))
    environment = (broken.folder / "environment").read_text().splitlines()
    names = {line.partition("=")[0] for line in environment} - {"PWD", "_"}
    assert names == {"PATH"}
    assert "PATH=/command:/usr/local/bin:/usr/local/sbin:/bin:/sbin:/usr/bin:/usr/sbin:/usr/X11R6/bin" in environment
    # Started again, as by init: what runs is stopped first, and runs again.
    second = boot(box)
    service.told(1, "SIGTERM")
    service.told(2)
    assert first.poll() is None
    assert second.poll() is None
