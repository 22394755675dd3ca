"""Bundles in bin/.code/: a program starts from them, and never from one that is outdated or broken."""

import marshal
import os
import shutil
import subprocess
import sys

import pytest

from quail.cli import bundles, code, launchers

MODULE = "quail.programs.ucspi.tcprulescheck"


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of Quail that a test may change."""
    shutil.copytree(
        code.package(), tmp_path / "code" / "quail", ignore=shutil.ignore_patterns("__pycache__", "services")
    )
    for module in (bundles, launchers):
        monkeypatch.setattr(module, "package_parent", lambda: str(tmp_path / "code"))
    bundles._imported.cache_clear()
    yield tmp_path / "code" / "quail"
    bundles._imported.cache_clear()


@pytest.fixture
def home(tmp_path):
    return str(tmp_path / "home")


@pytest.fixture
def bundled(monkeypatch):
    """A program that needs no service, with a bundle of its own."""
    monkeypatch.setattr(bundles, "NAMES", frozenset(("tcprulescheck",)))
    monkeypatch.setattr(launchers, "programs", lambda: {"tcprulescheck": MODULE})


def path_of(home):
    return f"{home}/bin/.code/tcprulescheck.{sys.implementation.cache_tag}"


def run(home):
    """What the program says, and which files of quail it has opened or looked for."""
    words = [code.interpreter(), "-IS", "-v", f"{home}/bin/tcprulescheck"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={}, timeout=60)
    said = [line for line in done.stderr.splitlines() if line.startswith("tcprulescheck:")]
    searched = [line for line in done.stderr.splitlines() if line.startswith("import 'quail")]
    return done.returncode, said, searched


def usage(home):
    code, said, searched = run(home)
    assert code == 100
    assert said[0].startswith("tcprulescheck: usage: tcprulescheck ")
    return searched


def test_a_start_from_the_bundle_imports_no_file_of_quail(home, bundled):
    launchers.write(home)
    assert usage(home) == []
    os.unlink(path_of(home))
    assert len(usage(home)) > 3


@pytest.mark.parametrize("name", sorted(bundles.NAMES))
def test_no_program_needs_the_whole_os_to_start(tmp_path, name):
    """One unusual name that a module takes from `os` while it is loaded costs each start a sixth of its time."""
    bundle = tmp_path / "bundle"
    bundle.write_bytes(bundles.build(launchers.programs()[name]))
    begin = (
        "import marshal, sys\nbundle = marshal.loads(open(sys.argv[1], 'rb').read()); exec(bundle[0]); start(bundle)\n"
    )
    # The whole is a module with a file, and the part would become the whole if it were asked for one.
    words = [code.interpreter(), "-IS", "-c", begin + "print('__file__' in vars(sys.modules['os']))", str(bundle)]
    assert subprocess.run(words, capture_output=True, check=True, timeout=60).stdout == b"False\n"


@pytest.mark.parametrize("content", [b"", b"not marshal's", b"\xe3", marshal.dumps(None), marshal.dumps(())])
def test_a_broken_bundle_does_no_harm(home, bundled, content):
    launchers.write(home)
    with open(path_of(home), "wb") as file:
        file.write(content)
    assert usage(home)
    assert launchers.write(home) == ["tcprulescheck"]
    assert usage(home) == []


def test_changed_sources_count_at_once(home, bundled, copy):
    launchers.write(home)
    assert usage(home) == []
    errors = copy / "errors.py"
    errors.write_text(errors.read_text().replace("EXIT_PERMANENT = 100", "EXIT_PERMANENT = 42"))
    assert run(home)[0] == 42
    assert launchers.write(home) == ["tcprulescheck"]
    code, _, searched = run(home)
    assert (code, searched) == (42, [])
    assert launchers.write(home) == []


def test_a_change_that_keeps_the_size_counts_too(home, bundled, copy):
    launchers.write(home)
    errors = copy / "errors.py"
    errors.write_text(errors.read_text().replace("EXIT_PERMANENT = 100", "EXIT_PERMANENT = 142"))
    os.utime(errors, (1, 1))
    assert len(run(home)[2]) > 3


def test_a_source_that_is_gone_is_noticed(home, bundled, copy):
    launchers.write(home)
    shutil.rmtree(copy)
    done = subprocess.run([f"{home}/bin/tcprulescheck"], capture_output=True, text=True, check=False, env={})
    assert "No module named 'quail" in done.stderr


def test_modules_stand_behind_what_they_import(home):
    _, sources, modules = marshal.loads(bundles.build("quail.programs.qmail.sendmail"))
    names = [name for name, *_ in modules]
    assert len(names) == len(set(names)) == len(sources)
    for name in ("quail.programs.qmail.qmail_inject", "quail.queue.submit", "quail.control.reader"):
        assert name in names
    assert names[-1] == "quail.programs.qmail.sendmail"
    assert (
        names.index("quail.errors")
        < names.index("quail.programs.run")
        < names.index("quail.programs.qmail.qmail_inject")
    )
    assert "quail.queue.drop_writer" not in names  # of a function, for rare occasions
    for name in names:
        assert name == "quail" or names.index(name.rpartition(".")[0]) < names.index(name)


@pytest.mark.parametrize("name", sorted(bundles.NAMES))
def test_a_bundle_has_all_that_its_program_loads(name, tmp_path):
    module = launchers.programs()[name]
    _, _, modules = marshal.loads(bundles.build(module))
    show = "import sys; sys.path.insert(0, {!r}); import {}; print(*(m for m in sys.modules if m.startswith('quail')))"
    words = [code.interpreter(), "-IS", "-c", show.format(code.package_parent(), module)]
    loaded = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) <= {name for name, *_ in modules}


def test_lazy_imports_find_their_modules_behind_a_bundle(home, tmp_path):
    launchers.write(home)
    os.makedirs(f"{home}/queue/drop")
    done = subprocess.run(
        [f"{home}/bin/sendmail", "joe@example.org"],
        input=b"Subject: x\n\nhello\n",
        capture_output=True,
        check=False,
        env={},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(os.listdir(f"{home}/queue/drop")) == 1


def test_every_bundled_program_is_one():
    assert set(launchers.programs()) >= bundles.NAMES
