"""multilog's script: one action for each argument, from left to right. Pure.

What the arguments mean is in multilog(8). What is no action is ignored, as sites' scripts may rely on that.
"""

from quail.supervise.numbers import wrapped

LEAST_SIZE, MOST_SIZE, USUAL_SIZE = 4096, 16777215, 99999  # bytes of `current`
LEAST_FILES, USUAL_FILES = 2, 10


class Condition:
    """`+pattern` or `-pattern`: a line that matches is selected, or no longer."""

    __slots__ = ("pattern", "selects")

    def __init__(self, pattern: bytes, *, selects: bool) -> None:
        """`pattern` as in pattern.py."""
        self.pattern, self.selects = pattern, selects


class Alert:
    """`e`: to standard error."""

    __slots__ = ()


class Status:
    """`=file`: the last line, in a file."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        """`path` is as it was given."""
        self.path = path


class Directory:
    """`.dir` or `/dir`: a log directory, and what s, n and ! to the left of it have said."""

    __slots__ = ("files", "path", "processor", "size")

    def __init__(self, path: str, size: int, files: int, processor: bytes | None) -> None:
        """At most `size` bytes in `current`, and at most `files` files with it; `processor` is a command for sh."""
        self.path, self.size, self.files, self.processor = path, size, files, processor


Action = Condition | Alert | Status | Directory


class Script:
    """A whole script."""

    __slots__ = ("actions", "stamped")

    def __init__(self, actions: list[Action], *, stamped: bool) -> None:
        """`stamped`: lines get a time stamp in front before anything else looks at them."""
        self.actions, self.stamped = actions, stamped


def parse(args: list[bytes]) -> Script:
    """The script of a command line."""
    actions: list[Action] = []
    size, files = USUAL_SIZE, USUAL_FILES
    processor: bytes | None = None
    for arg in args:
        letter, rest = arg[:1], arg[1:]
        if letter in {b"+", b"-"}:
            actions.append(Condition(rest, selects=letter == b"+"))
        elif letter == b"e":
            actions.append(Alert())
        elif letter == b"=":
            actions.append(Status(_path(rest)))
        elif letter in {b".", b"/"}:
            actions.append(Directory(_path(arg), size, files, processor))
        elif letter == b"s":
            size = min(max(_number(rest), LEAST_SIZE), MOST_SIZE)
        elif letter == b"n":
            files = max(_number(rest), LEAST_FILES)
        elif letter == b"!":
            processor = rest or None
    return Script(actions, stamped=args[:1] != [] and args[0][:1] == b"t")


def _path(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _number(digits: bytes) -> int:
    """The digits in front; without any, 0."""
    end = 0
    while digits[end : end + 1].isdigit():
        end += 1
    return wrapped(digits[:end])
