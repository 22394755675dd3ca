"""docs/compatibility.md has a row for every program and every control file, and none for what is not there."""

import glob
import os
import re
import tomllib

import pytest

from quail.control.table import TABLE, absent

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
STATES = {"same", "different", "own", "not built"}
OTHER_NAMES = {"mailq": "sendmail", "newaliases": "sendmail"}  # of a program, by which it is called too


def read(path: str) -> str:
    with open(f"{ROOT}/{path}", encoding="utf-8") as file:
        return file.read()


PROJECT = tomllib.loads(read("pyproject.toml"))
PROGRAMS = {
    *PROJECT["project"]["scripts"],
    *PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-scripts"].values(),
}


def rows(heading: str) -> list[tuple[str, str | None, str, str]]:
    """Name, page it is linked to, state and text of each row of a part of the document."""
    found = re.search(
        rf"^## {heading}\n(.*?)(?=^## |\Z)", read("docs/compatibility.md"), flags=re.MULTILINE | re.DOTALL
    )
    assert found is not None
    pattern = r"^\| (?:\[`([^`]+)`\]\(([^)]+)\)|`([^`]+)`) \| ([^|]*) \| ([^|]*)\|$"
    return [
        (linked or name, page or None, state.strip(), text.strip())
        for linked, page, name, state, text in re.findall(pattern, found[1], flags=re.MULTILINE)
    ]


PROGRAM_ROWS = rows("Programs")
FILE_ROWS = rows("Control files")


@pytest.mark.parametrize(("found", "least"), [(PROGRAM_ROWS, 100), (FILE_ROWS, 40)], ids=["programs", "files"])
def test_each_has_one_row_of_a_known_kind(found, least):
    names = [name for name, *_ in found]
    assert len(names) == len(set(names)) > least
    assert {state for _, _, state, _ in found} <= STATES
    assert [name for name, _, state, text in found if state != "same" and not text] == []


def test_every_line_of_the_tables_is_read():
    """A row that the pattern above does not fit would be no row."""
    lines = re.findall(r"^\| (?:\[`|`).*$", read("docs/compatibility.md"), flags=re.MULTILINE)
    lines = [line for line in lines if not line.startswith("| `@host`")]
    assert len(lines) == len(PROGRAM_ROWS) + len(FILE_ROWS)


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_every_program_has_a_row(name):
    states = [state for each, _, state, _ in PROGRAM_ROWS if each == name]
    assert len(states) == 1, "add its row to docs/compatibility.md"
    assert states != ["not built"], "it is there now: say what differs"


@pytest.mark.parametrize(
    ("name", "page", "state"), [row[:3] for row in PROGRAM_ROWS], ids=[name for name, *_ in PROGRAM_ROWS]
)
def test_every_row_has_its_program_and_page(name, page, state):
    if state == "not built":
        assert (name in PROGRAMS, page) == (False, None)
        return
    program = OTHER_NAMES.get(name, name)
    assert program in PROGRAMS
    if program == name:
        assert page in {
            f"man/{os.path.basename(path)}" for path in glob.glob(f"{ROOT}/docs/man/{glob.escape(name)}.[18]")
        }


@pytest.mark.parametrize("name", TABLE)
def test_every_control_file_has_a_row(name):
    states = [state for each, _, state, _ in FILE_ROWS if each == name]
    assert len(states) == 1, "add its row to docs/compatibility.md"
    entry = TABLE[name]
    assert (states == ["own"]) == entry.own
    assert (states == ["not built"]) == (absent(entry) is not None)


def test_every_row_has_its_control_file():
    assert {name for name, _, state, _ in FILE_ROWS if state != "not built"} <= set(TABLE)


def test_what_differs_on_purpose_leads_to_its_reason():
    found = read("docs/compatibility.md").partition("## Where we differ on purpose\n")[2]
    lines = [line for line in found.splitlines() if line.startswith("| ")][1:]
    assert len(lines) > 20
    assert [line for line in lines if not re.fullmatch(r"\| .+ \| .+ \| \[.+\]\(.+\) \|", line)] == []
