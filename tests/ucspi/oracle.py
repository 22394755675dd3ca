"""Cases of our programs and of Debian's, side by side in one box."""

import json
import os
import subprocess

from tests.root.testroot import QUAIL_ENVIRONMENT

HERE = os.path.dirname(os.path.abspath(__file__))
DEBIAN = "/usr/bin/"
DEBIAN_SIX = "/opt/oracles/ucspi-tcp-ipv6/usr/bin/"
OURS = ["python3", "-m"]
MODULES = {"who@": "who_at", "date@": "date_at", "finger@": "finger_at", "http@": "http_at"}
ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


def enter(test_root):
    """A box that sees these files."""
    return test_root.enter({HERE: "/srv/ucspi", f"{HERE}/../remote": "/srv/remote"})


def serve_names(box, zone):
    """A DNS server on the box's port 53; returns its process."""
    server = box.popen(
        ["python3", "/srv/remote/dnsserver.py", "127.0.0.1:53"],
        env=QUAIL_ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    server.stdin.write(zone)
    server.stdin.close()
    assert server.stdout.readline().startswith("ready ")
    return server


def run(box, cases):
    """What became of each: exit code, stdout, stderr, what the case's host heard; texts in latin-1."""
    done = box.run(["python3", "/srv/ucspi/cases_inside.py"], data=json.dumps(cases), timeout=600)
    return [tuple(result) for result in json.loads(done.stdout)]


def both(box, cases, where=DEBIAN):
    """Results of ours and of Debian's. A case's argv begins with the program's name; our pythons have no part in its env."""
    ours, theirs = [], []
    for case in cases:
        name, *args = case["argv"]
        env = ENVIRONMENT | case.get("env", {})
        module = f"quail.programs.ucspi.{MODULES.get(name, name)}"
        ours.append({**case, "argv": [*OURS, module, *args], "env": env | QUAIL_ENVIRONMENT})
        theirs.append({**case, "argv": [where + name, *args], "env": env | QUAIL_ENVIRONMENT})
    results = run(box, ours + theirs)
    return results[: len(cases)], results[len(cases) :]


def compare(box, cases, where=DEBIAN):
    """Ours are Debian's; returns them."""
    ours, theirs = both(box, cases, where)
    for case, our, their in zip(cases, ours, theirs, strict=True):
        assert our == their, f"{case}\nours  {our}\ntheirs {their}"
    return ours
