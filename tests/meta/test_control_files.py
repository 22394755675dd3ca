"""The table of control files, the code that reads them, and their manual say the same."""

import ast
import os
import shutil
import subprocess
import sys
from collections import defaultdict

import pytest
from tests.lacking import without

from quail.control import document
from quail.control.table import INTEGER, LINE, LIST, LISTEN, NOT_YET, PAIRS, TABLE

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SOURCE = f"{ROOT}/src/quail"

# How Control is asked for each kind of file.
METHODS = {"line": LINE, "required": LINE, "integer": INTEGER, "lines": LIST, "addresses": LIST, "pairs": PAIRS}

# Whose reading it is, by the beginning of the module's path. The rest serves several, or only shows what is there.
READERS = {
    "services/users": "users",
    "services/lspawn": "lspawn",
    "services/rspawn": "rspawn",
    "delivery/remote": "rspawn qmail-remote",
    "net/resolvconf": "smtpd qmtpd qmqpd popd rspawn qmail-remote",
    "delivery/settings": "lspawn",
    "control/hosts": "dot-forward newaliases newinclude qmail-inject",
    "services/queue": "queue",
    "services/smtpd": "smtpd",
    "services/qmtpd": "qmtpd qmqpd",
    "services/inbound": "smtpd qmtpd qmqpd popd",
    "services/authd": "authd",
    "services/popd/visit": "authd",
    "services/popd": "popd",
    "policy/smtp": "smtpd",
    "policy/qmtp": "qmtpd",
    "cli/serve": "serve",
    "cli/members": "serve",
}
SHOWING = ("control/", "cli/config", "cli/init", "cli/user", "cli/run", "cli/home", "programs/qmail/qmail_showctl")
COMPLETING = "control/hosts.py"
ALONE = ("programs/qmail/qmail_smtpd", "users/judge")  # on descriptors 0 and 1: the work of smtpd and users


def readers_of(module: str) -> set[str]:
    if module.startswith(ALONE):
        return set()
    if module.startswith("programs/"):
        return {os.path.basename(module).removesuffix(".py").replace("_", "-")}
    return next((set(readers.split()) for start, readers in READERS.items() if module.startswith(start)), set())


def reads() -> dict[str, set[tuple[str, str]]]:
    """(kind, module) of each place in src that reads a control file, by the file's name."""
    found = defaultdict(set)
    for folder, _, names in os.walk(SOURCE):
        for name in names:
            module = os.path.relpath(f"{folder}/{name}", SOURCE)
            if not name.endswith(".py") or (module.startswith(SHOWING) and module != COMPLETING):
                continue
            with open(f"{folder}/{name}", encoding="utf-8") as file:
                tree = ast.parse(file.read())
            for node in ast.walk(tree):
                for control_file, kind in read_by(node):
                    found[control_file].add((kind, module))
    return found


def read_by(node: ast.AST) -> list[tuple[str, str]]:
    """Name and kind of what a call of Control's methods reads, or of a path control/NAME that stands alone."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if (
            node.func.attr == "listen"
            and not node.args
            and ast.unparse(node.func.value).endswith(("control", "Control()"))
        ):
            return [("listen", LISTEN)]
        if node.func.attr in METHODS and len(node.args) == 1 and isinstance(node.args[0], ast.Constant):
            return [(node.args[0].value, METHODS[node.func.attr])] if isinstance(node.args[0].value, str) else []
        if ast.unparse(node.func).endswith("control.path") and isinstance(node.args[0], ast.Constant):
            return [of_any_kind(node.args[0].value)]
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
        value = node.value.value
        if isinstance(value, str) and value.startswith("control/"):
            return [of_any_kind(value.removeprefix("control/"))]
    return []


def of_any_kind(name: str) -> tuple[str, str]:
    return name, TABLE[name].kind if name in TABLE else "unknown"


FOUND = reads()


@pytest.mark.parametrize("name", sorted(FOUND))
def test_what_is_read_is_in_the_table_with_its_readers(name: str) -> None:
    entry = TABLE[name]
    assert {kind for kind, _ in FOUND[name]} == {entry.kind}
    assert {reader for _, module in FOUND[name] for reader in readers_of(module)} == set(entry.readers)


def test_what_is_in_the_table_is_read() -> None:
    unread = {name for name, entry in TABLE.items() if not set(entry.readers) & set(NOT_YET)} - set(FOUND)
    assert unread == set()


def test_what_is_said_to_be_absent_is_not_read() -> None:
    assert {name for name in FOUND if set(TABLE[name].readers) & set(NOT_YET)} == set()


@pytest.mark.parametrize(
    ("path", "text", "command"),
    [
        ("docs/control.md", document.markdown(), "markdown"),
        ("docs/man/qmail-control.5", document.man(), "man"),
    ],
)
def test_the_manual_is_up_to_date(path: str, text: str, command: str) -> None:
    with open(f"{ROOT}/{path}", encoding="utf-8") as file:
        committed = file.read()
    assert committed == text, f"call: python -m quail.control.document {command} > {path}"
    done = subprocess.run([sys.executable, "-m", "quail.control.document", command], capture_output=True, check=True)
    assert done.stdout.decode() == text


@pytest.mark.parametrize("name", TABLE)
def test_every_file_is_documented(name: str) -> None:
    assert f"| `{name}` | " in document.markdown()
    assert f".TP\n.B {name.replace('-', chr(92) + '-')}\n" in document.man()
    assert "|" not in TABLE[name].doc


def test_the_man_page_formats_without_a_warning() -> None:
    if shutil.which("groff") is None:
        without("groff")
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", f"{ROOT}/docs/man/qmail-control.5"], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Processes that share the SMTP connections." in b" ".join(done.stdout.split())


def test_the_reader_starts_lean() -> None:
    heavy = [
        "asyncio",
        "ssl",
        "argparse",
        "logging",
        "dataclasses",
        "typing",
        "pathlib",
        "tempfile",
        "subprocess",
        "socket",
        "re",
        "enum",
        "difflib",
        "json",
        "click",
    ]
    code = "import sys; before = set(sys.modules); import quail.control.reader; print(*(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, check=True, env={"PYTHONPATH": f"{ROOT}/src"}
    )
    loaded = set(done.stdout.decode().split())
    assert "quail.control.table" in loaded
    assert loaded & set(heavy) == set()
