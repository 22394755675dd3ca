"""The start of a bundle: a part of `os` that becomes the whole when it must, and code without what no run looks at."""

import subprocess
import sys

import pytest

from quail.cli import bundle_start
from quail.cli.compact import compiled

BEGIN = f"""
import sys, posix
exec(compile(open({bundle_start.__file__!r}).read(), "start", "exec"), globals())
start((None, (), ()))
import os
part = os
"""


def bare(code, **environment):
    """What a bare interpreter prints that has begun as a launcher does."""
    words = [sys.executable, "-I", "-S", "-c", BEGIN + code]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


def test_what_programs_need_is_there_without_the_whole():
    said = bare(
        """
fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
print(os.read(fd, 10), os.lseek(fd, 0, os.SEEK_SET), os.environb[b"WORD"], os.strerror(2))
print(os.fsencode("a\\udcff"), ascii(os.fsdecode(b"a\\xff")), os.fsencode(b"x"), os.fsdecode("x"))
print("posixpath" in sys.modules, "_collections_abc" in sys.modules, sys.modules["os"] is part)
""",
        WORD="\xe4",
    )
    assert said == [
        r"b'' 0 b'\xc3\xa4' No such file or directory",
        r"b'a\xff' 'a\udcff' b'x' x",
        "False False True",
    ]


@pytest.mark.parametrize(
    "ask",
    [
        "os.path.join('a', 'b')",
        "__import__('os.path').path.join('a', 'b')",
        "__import__('os.path', fromlist=['join']).join('a', 'b')",
        "getattr(__import__('os', fromlist=['path']), 'path').join('a', 'b')",
        "os.walk and os.environ and os.path.join('a', 'b')",
    ],
)
def test_whoever_asks_for_more_gets_the_whole(ask):
    said = bare(f"""
print({ask})
import os
print(os is part, os.__name__, os.getpid() == part.getpid(), part.path is os.path, part.environb is os.environb)
""")
    assert said == ["a/b", "False os True True True"]


def test_special_names_bring_nothing():
    assert bare("print(hasattr(os, '__path__'), hasattr(os, '__no__'), sys.modules['os'] is part)") == [
        "False False True"
    ]


def test_a_changed_environment_is_that_of_children():
    code = """
os.environb[b"NEW"] = b"1"
os.environb[b"OLD"] = b"2"
del os.environb[b"GONE"]
print(os.environ["NEW"], os.environ["OLD"], "GONE" in os.environ, os.environ["KEPT"])
os.environb[b"LATER"] = b"3"
import os
sys.stdout.flush()
os.execv("/usr/bin/env", ["env"])
"""
    said = bare(code, OLD="1", GONE="1", KEPT="1", LC_ALL="C.UTF-8")
    assert said[0] == "1 2 False 1"
    assert sorted(said[1:]) == ["KEPT=1", "LATER=3", "LC_ALL=C.UTF-8", "NEW=1", "OLD=2"]


def test_an_os_that_is_loaded_stays():
    words = [sys.executable, "-c", BEGIN + "print(os.path is __import__('posixpath'))"]
    assert subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout == "True\n"


SOURCE = b'''"""What it is for."""
from _collections_abc import Callable, Iterator
from _collections_abc import Sequence

class Thing:
    """A thing."""
    size: Callable[[int], int]

    def walk(self, of: "Iterator[int] | None" = None, *more: Iterator[int]) -> Iterator[int]:
        """Through it."""
        return isinstance(of, Sequence)
'''


def test_what_no_run_looks_at_is_left_out():
    names = {}
    exec(compiled(SOURCE, "thing.py"), names)
    assert names["__doc__"] == "What it is for."
    assert names["Thing"].__doc__ is None
    assert names["Thing"].walk.__doc__ is None
    assert "Callable" not in names
    assert names["Thing"]().walk([1]) is True
    assert names["Thing"].walk.__code__.co_filename == "thing.py"
    assert names["Thing"].walk.__code__.co_firstlineno == 9
