"""Chains of our programs, from launchers of a home: each becomes the next one without exec, and does what it does with exec."""

import os
import re
import subprocess
import sys

import pytest

from quail.cli.init_single import init_single


@pytest.fixture
def path(tmp_path):
    home = str(tmp_path / "home")
    init_single(home, name="joe")
    return f"{home}/bin:/usr/bin:/bin"


def run(path, *argv, stdin=b"", **env):
    argv = [sys.executable, "-c", PRELOADED, *argv]
    done = subprocess.run(argv, input=stdin, capture_output=True, env={"PATH": path, **env}, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


# As tcpserver does it. What is loaded later is told on stderr.
PRELOADED = f"""
import os, sys
sys.path.insert(0, {os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))!r} + "/src")
from quail.programs.become import preload, run_program
argv = [os.fsencode(word) for word in sys.argv[1:]]
assert preload(argv)
loaded = set(sys.modules)
if pid := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
real = os._exit
def ending(code):
    late = sorted(each for each in set(sys.modules) - loaded if each.startswith(("quail", "dns", "asyncio")))
    if late:
        os.write(2, ("loaded late: " + " ".join(late) + "\\n").encode())
    real(code)
os._exit = ending
run_program(argv)
"""


def test_a_chain_to_a_server(path):
    chain = ("argv0", "rblsmtpd", "rblsmtpd", "fixcrio", "qmail-smtpd")
    code, out, err = run(path, *chain, stdin=b"HELO x\nQUIT\n", TCPREMOTEIP="127.0.0.1")
    assert code == 0
    assert re.fullmatch(rb"220 .* ESMTP.*\r\n250 .*\r\n221 .*\r\n", out), out
    assert b"loaded late" not in err


def test_a_recorded_session(path):
    code, out, err = run(path, "recordio", "fixcrio", "qmail-smtpd", stdin=b"QUIT\r\n", TCPREMOTEIP="127.0.0.1")
    assert code == 0
    assert len(out.splitlines()) == 2
    assert re.search(rb"(?m)^\d+ < QUIT\r $", err)
    assert re.search(rb"(?m)^\d+ > 221 .*\r $", err)


def test_a_log_in_by_pop3(path):
    """Without a Maildir it is short; as root qmail-pop3d refuses."""
    chain = ("qmail-popup", "mx", "argv0", "qmail-pop3d", "qmail-pop3d", "Maildir")
    code, out, err = run(path, *chain, stdin=b"USER a\r\nPASS b\r\nQUIT\r\n")
    assert code == 1
    assert re.match(rb"\+OK <.*@mx>\r\n\+OK \r\n-ERR (this user has no|authorization failed)", out), out
    assert b"loaded late" not in err


def test_filters_at_the_end_of_a_chain(path):
    assert run(path, "fixcrio", "addcr", stdin=b"x\n") == (0, b"x\r\r\n", b"")
    assert run(path, "argv0", "addcr", "x", stdin=b"x\n") == (0, b"x\r\n", b"")


def test_look_ups_are_loaded_before(path):
    """From the name servers of $DNSCACHEIP nothing is heard: there is no such port of ours."""
    code, out, err = run(path, "rblsmtpd", "-c", "-rlist.test", "true", TCPREMOTEIP="127.0.0.2", DNSCACHEIP=NO_SERVER)
    assert code == 0
    assert b"loaded late" not in err
    assert out in {b"", b"220 rblsmtpd.local\r\n"}


NO_SERVER = "127.255.255.1"  # of names


def test_launchers_lead_to_the_library_of_the_dns(path):
    folder = path.partition(":")[0]
    env = {"PATH": path, "TCPREMOTEIP": "127.0.0.2", "DNSCACHEIP": NO_SERVER}
    argv = [f"{folder}/rblsmtpd", "-c", "-rlist.test", "true"]
    done = subprocess.run(argv, input=b"", capture_output=True, env=env, timeout=60, check=False)
    assert done.stderr.endswith(b": 451 temporary RBL lookup error\n")
    for words in (["tcpclient", "-RHl0", "host.test", "25", "true"], ["tcpcat", "host.test"], ["who@", "host.test"]):
        argv = [f"{folder}/{words[0]}", *words[1:]]
        done = subprocess.run(argv, input=b"", capture_output=True, env=env, timeout=60, check=False)
        assert done.stderr.startswith(b"tcpclient: fatal: temporarily unable to figure out IP address for host.test: ")
    argv = [f"{folder}/recordio", f"{folder}/rblsmtpd", "-c", "-rlist.test", "true"]
    done = subprocess.run(argv, input=b"", capture_output=True, env=env, timeout=60, check=False)
    assert b": 451 temporary RBL lookup error\n" in done.stderr
