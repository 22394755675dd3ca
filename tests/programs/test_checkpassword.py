"""checkpassword as a process: its contract on descriptor 3, its exit codes, and what the program behind it finds."""

import hashlib
import os
import subprocess
import sys

import pytest
from tests.programs.launch import launch, module

from quail.cli.init_single import init_single
from quail.users import passwords

SECRET = b"open sesame"
SHOW = (
    "import os,sys;print(os.environ['USER'],os.environ['HOME'],os.environ['SHELL'],os.getcwd(),sys.stdin.read(),end='')"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("checkpassword") / "home")
    init_single(path, name="jane")
    made = passwords.make(b"jane", SECRET, prepared=SECRET, reversible=True)
    passwords.put(path, made)
    return path


def check(home, data, *words, stdin=b"", closed=False, **environment):
    """Run it with `data` on descriptor 3."""
    read, write = os.pipe()
    os.write(write, data)
    os.close(write)
    code = f"import os,sys;os.dup2({read},3);" if not closed else "import os,sys;"
    code += "os.execv(sys.executable, [sys.executable, '-m', sys.argv[1], *sys.argv[2:]])"
    try:
        return subprocess.run(
            [sys.executable, "-c", code, module("checkpassword"), *words],
            input=stdin,
            capture_output=True,
            env={"PATH": "/usr/bin:/bin", "QMAILHOME": home, **environment},
            pass_fds=() if closed else (read,),
            timeout=60,
            check=False,
        )
    finally:
        os.close(read)


def contract(user, secret, challenge=b""):
    return b"%b\0%b\0%b\0" % (user, secret, challenge)


def test_the_right_password(home):
    done = check(home, contract(b"jane", SECRET), sys.executable, "-c", SHOW, stdin=b"input", KEPT="1")
    mailbox = f"{home}/mail/jane"
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, f"jane {mailbox} /bin/sh {mailbox} input", b"")


def test_the_programs_exit_code_and_environment(home):
    done = check(
        home,
        contract(b"jane", SECRET),
        "sh",
        "-c",
        'test "$KEPT" = 1 && test ! -e /proc/self/fd/3 && exit 77',
        KEPT="1",
    )
    assert done.returncode == 77


@pytest.mark.parametrize(
    "data",
    [
        contract(b"jane", b"wrong"),
        contract(b"jane", b""),
        contract(b"", SECRET),
        contract(b"nobody", SECRET),
        contract(b"root", SECRET),
        contract(b"postmaster", SECRET),
        contract(b"jane", SECRET + b"\n"),
        contract(b"jane", hashlib.md5(SECRET).hexdigest().encode(), b"<1@h>"),
    ],
    ids=["wrong", "no password", "no name", "nobody", "root", "alias", "line feed", "digest of nothing"],
)
def test_wrong(home, data):
    done = check(home, data, "echo", "in")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


def test_the_digest_of_apop(home):
    challenge = b"<123.456@mail.example>"
    digest = hashlib.md5(challenge + SECRET).hexdigest().encode()
    assert check(home, contract(b"jane", digest, challenge), "true").returncode == 0
    assert check(home, contract(b"jane", digest, challenge + b"x"), "true").returncode == 1


def test_two_fields_are_enough(home):
    assert check(home, b"jane\0" + SECRET + b"\0", "true").returncode == 0


@pytest.mark.parametrize(
    "data",
    [b"", b"jane", b"jane\0", b"jane\0" + SECRET, contract(b"jane", SECRET) + b"x", contract(b"jane", SECRET) + b"\0",
     contract(b"jane", SECRET, b"x" * 512)],
    ids=range(7),
)  # fmt: skip
def test_what_does_not_follow_the_contract(home, data):
    done = check(home, data, "echo", "in")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"checkpassword: fatal: called wrongly: ")


def test_the_longest_contract(home):
    data = contract(b"jane", SECRET, b"x" * (512 - len(contract(b"jane", SECRET))))
    assert len(data) == 512
    assert check(home, data, "true").returncode == 0


def test_no_program(home):
    assert check(home, contract(b"jane", SECRET)).returncode == 2


def test_nothing_on_descriptor_3(home):
    done = check(home, b"", "true", closed=True)
    assert (done.returncode, done.stderr) == (
        2,
        b"checkpassword: fatal: unable to read descriptor 3: file descriptor not open\n",
    )
    assert launch("checkpassword", "true").returncode == 2


def test_a_program_that_is_not_there(home):
    done = check(home, contract(b"jane", SECRET), "no-such-program")
    assert done.returncode == 111
    assert done.stderr == b"checkpassword: fatal: unable to run no-such-program: file does not exist\n"


def test_trouble_names_file_and_line_but_no_password(tmp_path):
    home = str(tmp_path / "home")
    init_single(home, name="jane")
    with open(f"{home}/users/passwords", "wb") as file:
        file.write(b"#quail-passwords 1\njane open sesame\n")
    os.chmod(f"{home}/users/passwords", 0o600)
    done = check(home, contract(b"jane", SECRET), "true")
    assert done.returncode == 111
    assert b"users/passwords line 2: " in done.stderr
    assert b"sesame" not in done.stderr
    os.chmod(f"{home}/users/passwords", 0o644)
    done = check(home, contract(b"jane", SECRET), "true")
    assert done.returncode == 111
    assert b"chmod 600" in done.stderr


def test_a_program_of_ours_goes_on_in_this_process(home):
    """By the launchers of the home, as under tcpserver."""
    done = check(home, contract(b"jane", SECRET), f"{home}/bin/checkpassword", "true")
    assert done.returncode == 2  # nothing is left on descriptor 3 for the second one
    assert done.stderr.startswith(b"checkpassword: fatal: unable to read descriptor 3")


QUICK = """
import time
from quail.programs.qmail import checkpassword
now = [0.0]
time.monotonic = lambda: now[0]
time.sleep = lambda seconds: print(round(seconds, 3), flush=True)
def check(checker, attempt):
    now[0] += {takes}
checkpassword.apart = check
checkpassword.main()
"""


@pytest.mark.parametrize(("takes", "waits"), [(0.0, "0.25\n"), (0.1, "0.15\n"), (1.0, "")])
def test_no_takes_its_time(home, takes, waits):
    """Else it tells kinds of hashes apart, and so who is there."""
    read, write = os.pipe()
    os.write(write, contract(b"nobody", b"wrong"))
    os.close(write)
    code = f"import os; os.dup2({read}, 3)\n" + QUICK.format(takes=takes)
    done = subprocess.run(
        [sys.executable, "-c", code, "true"],
        env={**os.environ, "QMAILHOME": home},
        pass_fds=(read,),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(read)
    assert (done.returncode, done.stdout) == (1, waits), done.stderr
