"""tcpserver beside both of Debian's: the same scenes in one box, name servers and ident servers of the test's own in it.

Where ours is meant to differ (docs/man/tcpserver.1), this file says so.
"""

import json

import pytest
from tests.root.image import CHECKOUT
from tests.root.testroot import QUAIL_ENVIRONMENT
from tests.ucspi.tcpserver_scenarios import SCENES, SIX

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
OURS = (
    "import sys;sys.path[:0]=['/opt/quail/src','/opt/quail/packages'];"
    "from quail.programs.ucspi.tcpserver import main;main()"
)
COMMANDS = {
    "plain": ["tcpserver"],
    "six": ["/opt/oracles/ucspi-tcp-ipv6/usr/bin/tcpserver"],
    "ours": ["python3", "-IS", "-c", OURS],
}


@pytest.fixture(scope="module")
def found(test_root, tmp_path_factory):
    """What came of the scenes, by build and name."""
    folder = tmp_path_factory.mktemp("scenes")
    folder.chmod(0o755)
    binds = {str(folder): "/srv", f"{CHECKOUT}/tests": "/opt/tests"}
    results = {}
    with test_root.enter(binds) as box:
        for build, command in COMMANDS.items():
            words = ["python3", "/opt/tests/ucspi/tcpserver_scenarios.py", "/srv"]
            kind = "plain" if build == "plain" else "six"
            environment = {**QUAIL_ENVIRONMENT, "PYTHONDONTWRITEBYTECODE": "1"}
            done = box.run([*words, kind, *command], env=environment, timeout=250)
            results[build] = json.loads(done.stdout)
    return results


def as_plain(result):
    """A result of the IPv6 kind in the words of the other: IPv4 addresses as they are, without the second set of variables."""
    replies = ["\n".join(line for line in reply.split("\n") if line[:4] != "TCP6") for reply in result["replies"]]
    return {**result, "replies": replies, "log": result["log"].replace("::ffff:", "")}


def colons_masked(log):
    """Colons in names."""
    return log.replace(" a?b:c:", " a?b?c:")


@pytest.mark.parametrize("name", [scene[0] for scene in SCENES + SIX])
def test_as_the_one_with_ipv6(found, name):
    theirs, ours = found["six"][name], found["ours"][name]
    assert ours == {**theirs, "log": colons_masked(theirs["log"])}


@pytest.mark.parametrize("name", [scene[0] for scene in SCENES])
def test_as_the_one_without(found, name):
    assert as_plain(found["ours"][name]) == found["plain"][name]


def test_the_scenes_say_something(found):
    assert len(found["ours"]) == len({scene[0] for scene in SCENES + SIX})
    assert found["ours"]["plain"]["log"].split("\n")[-3:] == [
        "tcpserver: end PID0 status 0", "tcpserver: status: 0/40", "",
    ]  # fmt: skip
