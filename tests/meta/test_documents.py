"""The documents keep up with the code: every command has its page, every link leads somewhere."""

import glob
import os
import re
import shutil
import subprocess
import tomllib

import click
import pytest
from tests.lacking import without

from quail import __version__
from quail.cli.main import quail

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
with open(f"{ROOT}/pyproject.toml", "rb") as file:
    PROJECT = tomllib.load(file)
TARGETS = PROJECT["project"]["scripts"] | {
    name: f"quail.programs.ucspi.{name.replace('@', '_at')}:main"
    for name in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-scripts"].values()
}
SCRIPTS = sorted(TARGETS)
PAGES = sorted(os.path.basename(path) for path in glob.glob(f"{ROOT}/docs/man/*.[1-8]"))
DOCUMENTS = sorted(
    os.path.relpath(path, ROOT)
    for path in glob.glob(f"{ROOT}/*.md") + glob.glob(f"{ROOT}/docs/**/*.md", recursive=True)
)
# Pages of the system, which it is right to refer to.
ELSEWHERE = {"cron(8)", "crypt(3)", "shadow(5)", "getpwnam_r(3)", "nsswitch.conf(5)", "passwd(5)", "ps(1)"}


def read(path: str) -> str:
    with open(f"{ROOT}/{path}", encoding="utf-8") as file:
        return file.read()


def plain(page: str) -> str:
    """A man page's source without its escapes and font requests."""
    text = re.sub(r"\\f[BIRP]|\\&", "", read(f"docs/man/{page}")).replace("\\-", "-").replace("\\e", "\\")
    return re.sub(r"^\.(B|I|BR|BI|IR|IB|RB|RI|TP|SM) ", "", text, flags=re.MULTILINE)


def subcommands(group: click.Group, words: tuple[str, ...] = ("quail",)) -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= subcommands(command, (*words, name))
        else:
            found[" ".join((*words, name))] = command
    return found


COMMANDS = subcommands(quail)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_command_has_a_man_page(name):
    (page,) = [page for page in PAGES if page in {f"{name}.1", f"{name}.8"}]
    text = plain(page)
    assert text.startswith(f".TH {name} {page[-1]} ")
    assert f"\n.SH NAME\n{name} - " in text
    for section in ("SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "SEE ALSO"):
        assert f"\n.SH {section}\n" in text


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_command_has_a_test_that_runs_it(name):
    module = TARGETS[name].removesuffix(":main")
    sources = [read(path) for path in glob.glob("tests/**/*.py", root_dir=ROOT, recursive=True) if "/meta/" not in path]
    assert any(f'launch("{name}"' in text or f'"-m", "{module}"' in text for text in sources)


@pytest.mark.parametrize("words", COMMANDS)
def test_every_subcommand_is_in_its_page(words):
    text = plain("quail.1")
    assert re.search(rf"^{words}( .*)?$", text, flags=re.MULTILINE)
    for option in COMMANDS[words].params:
        for flag in (*option.opts, *option.secondary_opts):
            if flag.startswith("--"):
                assert flag in text


def test_no_page_is_without_a_command_or_a_reader():
    mentioned = " ".join(read(path) for path in DOCUMENTS) + " ".join(plain(page) for page in PAGES)
    for page in PAGES:
        name, _, section = page.rpartition(".")
        assert name in SCRIPTS or f"{name} ({section})" in mentioned or f"{name}({section})" in mentioned


@pytest.mark.parametrize("page", PAGES)
def test_pages_refer_to_pages_that_are_there(page):
    ours = {f"{name}({section})" for name, _, section in (page.rpartition(".") for page in PAGES)}
    referred = {f"{name}({section})" for name, section in re.findall(r"([\w.@-]+) ?\(([1-8])\)", plain(page))}
    assert referred - ours - ELSEWHERE == set()


@pytest.mark.parametrize("page", PAGES)
def test_pages_format_without_a_warning(page):
    if shutil.which("groff") is None:
        without("groff")
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", f"{ROOT}/docs/man/{page}"], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    name, _, section = page.rpartition(".")
    assert f"{name}({section})" in done.stdout.decode()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    folder = os.path.dirname(document)
    for target in re.findall(r"\]\(([^)\s]+)\)", read(document)):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        found = os.path.normpath(os.path.join(ROOT, folder, path)) if path else f"{ROOT}/{document}"
        assert os.path.exists(found), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", read(os.path.relpath(found, ROOT)), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_that_are_named_are_there(document):
    """In backquotes: files of the tree, and names in the rooms of src/quail."""
    named = re.findall(r"`((?:src|tests|bench|docs|quail)/[\w/.-]*[\w/])`", read(document))
    named += [
        f"src/quail/{path}"
        for path in re.findall(
            r"`((?:message|smtp|cdb|control|storage|net|queue|users|policy|supervise|delivery|services|programs|cli)"
            r"/\w[\w/]*\.py)`",
            read(document),
        )
    ]
    for path in named:
        where = f"src/{path}" if path.startswith("quail/") else path
        assert os.path.exists(f"{ROOT}/{where}"), path


def test_benches_that_are_named_are_there():
    for document in DOCUMENTS:
        for name in re.findall(r"python -m bench\.(\w+)", read(document)):
            if name != "micro_":  # bench.micro_* stands for all of them
                assert os.path.exists(f"{ROOT}/bench/{name}.py"), (document, name)


def test_decisions_are_numbered():
    names = sorted(os.listdir(f"{ROOT}/docs/decisions"))
    for number, name in enumerate(names, 1):
        assert name.startswith(f"{number:04d}-")
        assert read(f"docs/decisions/{name}").startswith(f"# {number:04d}: ")


def test_the_changelog_tells_of_this_version():
    assert re.search(rf"^## .*{re.escape(__version__)}", read("CHANGELOG.md"), flags=re.MULTILINE)
