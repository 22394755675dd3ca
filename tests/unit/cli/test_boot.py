"""The scripts of boot/: what they call, and that those of a site are left alone."""

import os
import stat
import subprocess

import pytest

from quail.cli.system import boot

TOLD = '#!/bin/sh\nfor word; do printf "<%s>" "$word"; done; echo; env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= | sort\n'
CALLS = {
    "home": "<./Maildir/>",
    "home+df": "<|dot-forward .forward\n./Maildir/>",
    "proc": "<|preline procmail>",
    "proc+df": "<|dot-forward .forward\n|preline procmail>",
}


@pytest.fixture(params=["qmail", "my $(mail) 'home'"], ids=["usual", "strange"])
def home(request, tmp_path):
    """A home whose qmail-start tells how it was called."""
    folder = tmp_path / request.param
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/qmail-start").write_text(TOLD)
    (folder / "bin/qmail-start").chmod(0o755)
    return str(folder)


@pytest.mark.parametrize("name", boot.SCRIPTS)
def test_what_they_call(home, name):
    boot.complete(home, owner=(os.geteuid(), os.getegid()))
    path = f"{home}/boot/{name}"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o755
    environment = {"PATH": "/usr/bin:/bin", "SECRET": "x"}
    done = subprocess.run([path], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == f"{CALLS[name]}<splogger><qmail>\nPATH={home}/bin:/usr/bin:/bin\n"


def test_what_is_there_stays(home):
    os.mkdir(f"{home}/boot")
    with open(f"{home}/boot/proc", "w") as file:
        file.write("mine\n")
    boot.complete(home, owner=(os.geteuid(), os.getegid()))
    with open(f"{home}/boot/proc") as file:
        assert file.read() == "mine\n"
    assert sorted(os.listdir(f"{home}/boot")) == sorted(boot.SCRIPTS)
