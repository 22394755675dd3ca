"""The runner itself, around tiny programs: every way to end, and what each costs to start."""

import os
import signal
import subprocess
import sys

import pytest

HEAD = '''"""usage: tiny file [file]

Exit codes as told."""
import os, sys
from quail.errors import *
from quail.programs.run import *

@program("tiny", takes={takes})
def main(args):
    {body}

main()
'''


@pytest.fixture
def tiny(tmp_path):
    def run(body, *args, takes=None, options=(), **kwargs):
        path = tmp_path / "tiny.py"
        path.write_text(HEAD.format(takes=takes, body=body))
        kwargs = {"capture_output": True, "timeout": 60, "cwd": tmp_path, **kwargs}
        done = subprocess.run([sys.executable, *options, str(path), *args], check=False, **kwargs)
        return done.returncode, done.stdout, done.stderr

    return run


USAGE = b"tiny: usage: tiny file [file]\n"


@pytest.mark.parametrize("args", [(), ("a", "b", "c")])
def test_wrong_number_of_arguments_prints_the_usage(tiny, args):
    assert tiny("return 0", *args, takes="(1, 2)") == (100, b"", USAGE)


@pytest.mark.parametrize(("takes", "count"), [("1", 1), ("(1, 2)", 2), ("(1, None)", 9), ("None", 0), ("None", 3)])
def test_right_number_of_arguments(tiny, takes, count):
    assert tiny("return len(args)", *["x"] * count, takes=takes) == (count, b"", b"")


def test_no_return_value_is_success(tiny):
    assert tiny("pass") == (0, b"", b"")


def test_arguments_are_the_bytes_that_were_given(tiny):
    assert tiny("output(args[0])", b"\xff\xe9 \n") == (0, b"\xff\xe9 \n", b"")


LANGUAGE = "os.execvp('sh', ['sh', '-c', 'echo ${LC_CTYPE-none}'])"  # what a child finds


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, b"none"),
        ({"LANG": "C"}, b"none"),
        ({"LC_ALL": "POSIX"}, b"none"),
        ({"LC_CTYPE": "C.UTF-8"}, b"C.UTF-8"),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, b"C.UTF-8"),
        ({"XLC_CTYPE": "C.UTF-8"}, b"none"),
        ({"LC_CTYPE": "C"}, b"C"),
        ({"LC_CTYPE": ""}, b""),
    ],
)
def test_children_have_the_language_that_was_given(tiny, given, found):
    """Not the one that Python chooses for itself in the C locale."""
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(sys.path), **given}
    assert tiny(LANGUAGE, env=environment) == (0, found + b"\n", b"")


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ("raise UsageError", 100, USAGE),
        ("raise UsageError('use it well')", 100, b"tiny: fatal: use it well\n"),
        ("raise PermanentError('never')", 100, b"tiny: fatal: never\n"),
        ("raise PeerError('garbage')", 100, b"tiny: fatal: garbage\n"),
        ("raise TemporaryError('not now')", 111, b"tiny: fatal: not now\n"),
        ("raise ConfigError('f', 3, 'bad', 'mend it')", 111, b"tiny: fatal: f line 3: bad; mend it\n"),
        ("os.stat('gone')", 111, b"tiny: fatal: gone: file does not exist\n"),
        ("os.stat(b'\\xff')", 111, b"tiny: fatal: \xff: file does not exist\n"),
        ("os.fstat(99)", 111, b"tiny: fatal: file descriptor not open\n"),
        ("os.mkdir('.')", 111, b"tiny: fatal: .: file already exists\n"),
        ("raise MemoryError", 111, b"tiny: fatal: out of memory\n"),
        ("raise OSError('odd')", 111, b"tiny: fatal: odd\n"),
        ("read_file('gone')", 111, b"tiny: fatal: unable to read gone: file does not exist\n"),
        ("read_file('.')", 111, b"tiny: fatal: unable to read .: is a directory\n"),
        ("write_file('x', 'no/x', b'')", 111, b"tiny: fatal: unable to create no/x: file does not exist\n"),
        ("write_file('x', '/dev/full', b'x')", 111, b"tiny: fatal: unable to write to /dev/full: out of disk space\n"),
        ("write_file('/', 'x', b'x')", 111, b"tiny: fatal: unable to move x to /: device busy\n"),
    ],
)
def test_every_failure_is_one_line_and_its_code(tiny, body, code, text):
    assert tiny(body) == (code, b"", text)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"a\nb", rb"a\nb"),
        (b"a\rb\x7f", rb"a\rb\x7f"),
        (b"\x1b[2J", rb"\x1b[2J"),
        ("\x9b2J \u202e \u2028".encode(), rb"\x9b2J \u202e \u2028"),
        ("\N{LATIN SMALL LETTER E WITH ACUTE} \N{PILE OF POO}".encode(),) * 2,
        (b"\xff\x80\t\\",) * 2,
        (b"\xff\n", rb"\xff\n".replace(rb"\xff", b"\xff")),
    ],
    ids=["lf", "ascii", "escape", "unicode", "utf-8", "bytes", "both"],
)
def test_a_name_stays_in_its_line(tiny, name, shown):
    """Names of files are anybody's choice, and a log line or a terminal is easily led astray."""
    assert tiny(f"say(os.fsdecode({name!r}))") == (0, b"", shown + b"\n")
    assert tiny(f"os.stat({name!r})") == (111, b"", b"tiny: fatal: " + shown + b": file does not exist\n")


def test_a_bug_says_so_and_is_temporary(tiny):
    code, _, text = tiny("{}['x']")
    assert code == 111
    assert text.startswith(b"tiny: fatal: this is a bug: KeyError: 'x'\nTraceback")


def test_usage_without_docstrings(tiny):
    assert tiny("pass", takes=1, options=["-OO"]) == (100, b"", b"tiny: usage: tiny\n")


def test_dies_of_sigpipe_like_the_originals(tiny):
    read, write = os.pipe()
    os.close(read)
    done = tiny("output(b'x')", capture_output=False, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert done == (-signal.SIGPIPE, None, b"")


def test_unwritable_output(tiny):
    with open("/dev/full", "wb") as full:
        done = tiny("output(b'x')", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done == (111, None, b"tiny: fatal: unable to write output: out of disk space\n")


def test_whoever_writes_nothing_needs_no_output(tiny):
    closing = "import os; os.close(1); os.close(2)"
    argv = [
        sys.executable,
        "-c",
        f"{closing}; os.execv({sys.executable!r}, [{sys.executable!r}, *__import__('sys').argv[1:]])",
    ]
    program = "from quail.programs.run import *; end(%d)"
    for code in (0, 7):
        assert subprocess.run([*argv, "-c", program % code], check=False, timeout=60).returncode == code
    program = "from quail.programs.run import *; program('tiny')(lambda args: output(b'x'))()"
    assert subprocess.run([*argv, "-c", program], check=False, timeout=60).returncode == 111


@pytest.mark.parametrize("name", ["tai64n", "cdbmake_sv", "qmail_queue"])
def test_a_folder_as_input_stops_the_interpreter(name, tmp_path):
    """Before any of our code: docs/compatibility.md. No program takes it for what it succeeds with, nor for a bounce."""
    room = {"tai64n": "daemontools", "cdbmake_sv": "cdb", "qmail_queue": "qmail"}[name]
    argv = [sys.executable, "-m", f"quail.programs.{room}.{name}", "x", "y"]
    folder = os.open(tmp_path, os.O_RDONLY)
    done = subprocess.run(argv, stdin=folder, capture_output=True, timeout=60, check=False)
    os.close(folder)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"<stdin> is a directory, cannot continue" in done.stderr


def test_unreadable_input(tiny, tmp_path):
    with open(tmp_path / "only-written", "wb") as file:
        done = tiny("read_input()", stdin=file)
    assert done == (111, b"", b"tiny: fatal: unable to read input: file descriptor not open\n")


def test_input_is_read_to_its_end(tiny):
    assert tiny("output(read_input())", input=b"ab\0" * 100_000) == (0, b"ab\0" * 100_000, b"")


def test_write_file_replaces_and_honours_the_umask(tiny, tmp_path):
    (tmp_path / "x").write_bytes(b"old")
    assert tiny("os.umask(0o077); write_file('x', 'x.tmp', b'new')") == (0, b"", b"")
    assert (tmp_path / "x").read_bytes() == b"new"
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "x.tmp").exists()


@pytest.mark.parametrize(("variable", "expected"), [(None, b"/var/qmail"), ("", b"/var/qmail"), ("/h/q", b"/h/q")])
def test_home(tiny, variable, expected):
    env = {} if variable is None else {"QMAILHOME": variable}
    assert tiny("output(home().encode())", env=env) == (0, expected, b"")


def test_enter_home(tiny, tmp_path):
    assert tiny("enter_home(); output(os.getcwd().encode())", env={"QMAILHOME": str(tmp_path)}) == (
        0,
        str(tmp_path).encode(),
        b"",
    )
    missing = str(tmp_path / "none")
    expected = f"tiny: fatal: unable to chdir to {missing}: file does not exist\n".encode()
    assert tiny("enter_home()", env={"QMAILHOME": missing}) == (111, b"", expected)


HEAVY = {
    "asyncio",
    "ssl",
    "argparse",
    "logging",
    "dataclasses",
    "typing",
    "pathlib",
    "tempfile",
    "subprocess",
    "re",
} | {
    "enum",
    "signal",
}


@pytest.mark.parametrize("module", ["run", "ucspi.tcprules", "ucspi.tcprulescheck", "qmail.qmail_newmrh"])
def test_starts_lean(module):
    code = f"import sys; import quail.programs.{module}; print(*sys.modules)"
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + "/src"
    code = f"import sys; sys.path.insert(0, {source!r}); " + code
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())
