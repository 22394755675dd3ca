"""Which files are taken for launchers of this very code, and how programs are found."""

import errno
import os
import sys

import pytest

import quail
from quail.cli import launchers
from quail.programs import become

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(quail.__file__)))
MODULE = "quail.programs.qmail.qmail_smtpd"
PIP = f"""#!{sys.executable}
# -*- coding: utf-8 -*-
import re
import sys
from {MODULE} import main
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    sys.exit(main())
"""
UV = f"""#!{sys.executable}
# -*- coding: utf-8 -*-
import sys
from {MODULE} import main
if __name__ == "__main__":
    if sys.argv[0].endswith("-script.pyw"):
        sys.argv[0] = sys.argv[0][:-11]
    elif sys.argv[0].endswith(".exe"):
        sys.argv[0] = sys.argv[0][:-4]
    sys.exit(main())
"""
HOME = launchers.text("qmail-smtpd", MODULE, "/srv/mail").decode()
USUAL = launchers.text("qmail-smtpd", MODULE, "/var/qmail").decode()


def read(tmp_path, text):
    path = tmp_path / "program"
    path.write_text(text)
    return become._read(bytes(path), path.stat().st_size)


@pytest.mark.parametrize(
    ("text", "home"), [(PIP, None), (UV, None), (USUAL, None), (HOME, b"/srv/mail")], ids=["pip", "uv", "usual", "home"]
)
def test_launchers(tmp_path, text, home):
    assert read(tmp_path, text) == (MODULE, home)


@pytest.mark.parametrize(
    "text",
    [
        "", "\x7fELF", "#!/bin/sh\nexec qmail-smtpd\n", "\u00e9",
        PIP.replace(sys.executable, "/elsewhere/bin/python"),
        PIP.replace("import re\n", "import os\n"),
        PIP.replace("quail.programs", "quail.other"),
        PIP + "# " + "x" * 4096,
        HOME.replace(SOURCE, "/elsewhere"),
        HOME.replace("import sys;", "import os, sys;"),
        HOME + "print(1)\n",
        HOME.replace("/srv/mail'", "/srv/m\\x61il'"),
        HOME.replace("#!", "##", 1),
        f"#!{sys.executable} -IS\nfrom {MODULE} import main;main()\n",  # of which code?
    ],
)  # fmt: skip
def test_other_files_are_executed(tmp_path, text):
    assert read(tmp_path, text)[0] is None


def test_a_script_that_is_too_deep_for_the_kernel_is_executed(tmp_path):
    assert read(tmp_path, "#!/bin/sh\n'''exec' python -IS \"$0\" \"$@\"\n' '''\n")[0] is None


@pytest.mark.parametrize(
    ("path", "name", "places"),
    [
        ("/a:/b", b"x", [b"/a/x", b"/b/x"]),
        (":/b:", b"x", [b"./x", b"/b/x", b"./x"]),
        (None, b"x", [b"/bin/x", b"/usr/bin/x"]),
        ("/a", b"./x", [b"./x"]),
        ("/a", b"", []),
    ],
)
def test_where_programs_are_looked_for(monkeypatch, path, name, places):
    monkeypatch.delenv("PATH")
    if path is not None:
        monkeypatch.setenv("PATH", path)
    assert become._candidates(name) == places


def test_the_error_that_says_most_is_told(monkeypatch, tmp_path):
    """A file that may not be run counts more than one that is not there; another trouble ends the search."""
    (tmp_path / "x").write_text("")
    monkeypatch.setenv("PATH", f"{tmp_path}:/nonexistent")
    with pytest.raises(PermissionError):
        become.run_program([b"x"], {})
    with pytest.raises(FileNotFoundError):
        become.run_program([b"y"], {})
    with pytest.raises(FileNotFoundError):
        become.run_program([b""], {})
    (tmp_path / "bad").write_text("no program")
    (tmp_path / "bad").chmod(0o755)
    with pytest.raises(OSError, match="Exec format") as caught:
        become.run_program([b"bad"], {})
    assert caught.value.errno == errno.ENOEXEC
