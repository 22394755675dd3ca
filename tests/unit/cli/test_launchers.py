"""The programs in bin/: one for each script, which find their code with an empty environment."""

import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest

from quail import __version__
from quail.cli import code, launchers
from quail.errors import PermanentError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
with open(f"{ROOT}/pyproject.toml", "rb") as file:
    PROJECT = tomllib.load(file)["project"]
HELLO = "#!{}\nimport sys; print(*sys.argv[1:])\n"


@pytest.fixture
def home(tmp_path):
    return str(tmp_path / "home")


def run(path, *args, **options):
    return subprocess.run([path, *args], capture_output=True, check=False, env={}, timeout=60, **options)


def test_there_is_one_for_every_script_and_no_other():
    scripts = {name: target.removesuffix(":main") for name, target in PROJECT["scripts"].items()}
    # Those that are files of the wheel, since installers refuse an @ in an entry point.
    files = {name: f"quail.programs.ucspi.{name.removesuffix('@')}_at" for name in os.listdir(f"{ROOT}/src/scripts")}
    assert launchers.programs() == scripts | files


def test_they_run_with_an_empty_environment(home):
    launchers.write(home)
    done = run(f"{home}/bin/quail", "--version")
    assert (done.returncode, done.stdout) == (0, f"quail, version {__version__}\n".encode())
    done = run(f"{home}/bin/tcprulescheck")
    assert done.returncode == 100
    assert done.stderr.startswith(b"tcprulescheck: usage: ")


def test_qmail_remote_finds_what_it_needs(home):
    launchers.write(home)
    done = run(f"{home}/bin/qmail-remote")
    assert (done.returncode, done.stdout) == (0, b"DI (qmail-remote) was invoked improperly. (#5.3.5)\n\0")


def test_they_know_their_home_unless_another_is_named(home, tmp_path):
    launchers.write(home)
    assert f"unable to list {home}/control" in run(f"{home}/bin/qmail-showctl").stderr.decode()
    os.mkdir(tmp_path / "other")
    done = subprocess.run(
        [f"{home}/bin/qmail-showctl"], capture_output=True, check=False, env={"QMAILHOME": str(tmp_path / "other")}
    )
    assert f"unable to list {tmp_path}/other/control" in done.stderr.decode()


@pytest.mark.parametrize("between", [[], ["nice"]])
def test_what_a_tool_of_one_home_runs_may_be_of_another(home, tmp_path, between):
    other = str(tmp_path / "other")
    for each in (home, other):
        launchers.write(each)
    done = run(f"{home}/bin/pgrphack", *between, f"{other}/bin/qmail-showctl")
    assert f"unable to list {other}/control" in done.stderr.decode()


def test_the_classic_home_needs_no_variable():
    assert b"QMAILHOME" in launchers.text("qmail-queue", "quail.programs.qmail.qmail_queue", "/srv/mail")
    assert b"QMAILHOME" not in launchers.text("qmail-queue", "quail.programs.qmail.qmail_queue", "/var/qmail")


def test_what_leads_elsewhere_is_written_again_and_the_rest_left(home):
    names = list(launchers.programs())
    assert launchers.write(home) == names
    assert launchers.write(home) == []
    with open(f"{home}/bin/quail", "w") as file:
        file.write("#!/usr/bin/python2\n")
    os.unlink(f"{home}/bin/qmail-queue")
    with open(f"{home}/bin/own-program", "w"):
        pass
    assert sorted(launchers.write(home)) == ["qmail-queue", "quail"]
    assert sorted(os.listdir(f"{home}/bin")) == sorted([*names, "own-program", ".code"])
    assert {os.stat(f"{home}/bin/{name}").st_mode & 0o777 for name in names} == {0o755}


@pytest.mark.parametrize("folder", ["with a blank", "x" * 120, "with'quotes\"and\\"])
def test_an_interpreter_that_the_kernel_would_not_start(tmp_path, monkeypatch, folder):
    os.mkdir(tmp_path / folder)
    interpreter = str(tmp_path / folder / "python")
    os.symlink(code.interpreter(), interpreter)
    monkeypatch.setattr(launchers, "interpreter", lambda: interpreter)
    home = str(tmp_path / "home")
    launchers.write(home)
    done = run(f"{home}/bin/tcprulescheck", "a 'b", "c")
    assert (done.returncode, done.stderr) == (111, b"tcprulescheck: fatal: unable to read a 'b: file does not exist\n")
    assert run(f"{home}/bin/quail", "--version").returncode == 0


def test_a_short_path_needs_no_shell():
    first = launchers.text("qmail-queue", "quail.programs.qmail.qmail_queue", "/var/qmail").split(b"\n")[0]
    assert first == f"#!{code.interpreter()} -IS".encode()


def test_a_home_with_blanks_and_quotes(tmp_path):
    home = str(tmp_path / 'it\'s a "home"\\')
    launchers.write(home)
    done = run(f"{home}/bin/qmail-showctl")
    assert f"unable to list {home}/control" in done.stderr.decode()


def test_a_path_that_cannot_be_written_into_a_program(tmp_path):
    with pytest.raises(PermanentError, match="must be printable"):
        launchers.write(str(tmp_path / "a\nb"))


# The code


def test_the_interpreter_is_no_virtual_environments(monkeypatch):
    assert os.path.realpath(code.interpreter()) == code.interpreter()
    prefix = subprocess.run(
        [
            code.interpreter(),
            "-IS",
            "-c",
            "import sys; print(sys.prefix == sys.base_prefix == sys.argv[1])",
            sys.base_prefix,
        ],
        capture_output=True,
        check=True,
    )
    assert prefix.stdout == b"True\n"


def test_the_dependencies_are_those_of_the_project():
    """And those of theirs."""
    found, left = set(), [word.split(">=")[0] for word in PROJECT["dependencies"]]
    while left:
        name = left.pop()
        found.add(name.lower())
        left += [re.match(r"[\w-]+", word)[0] for word in metadata.requires(name) or () if "extra ==" not in word]
    modules = {
        "markdown-it-py": "markdown_it",
        "dnspython": "dns",
        "argon2-cffi": "argon2",
        "argon2-cffi-bindings": "_argon2_cffi_bindings",
    }
    assert {modules.get(name, name) for name in found if name != "colorama"} == set(code.DEPENDENCIES)


def test_folders_of_the_code():
    assert code.package() == f"{ROOT}/src/quail"
    assert f"{ROOT}/src" == code.package_parent()
    assert all(os.path.isdir(folder) for folder in (*code.library(), *code.dependency_folders()))
    assert any(os.path.exists(f"{folder}/os.py") for folder in code.library())
    assert any(os.path.isdir(f"{folder}/click") for folder in code.dependency_folders())


def test_root_writes_nothing_into_the_home_of_somebody_else(home, monkeypatch):
    os.mkdir(home)
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(home).st_uid + 1)
    assert launchers.refresh(home) == []
    assert os.listdir(home) == []
    monkeypatch.undo()
    assert launchers.refresh(home) == list(launchers.programs())
    assert launchers.refresh(home) == []
