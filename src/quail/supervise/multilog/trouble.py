"""When the disk does not obey: say so, wait, and try again, for as long as it takes. Nothing that was read is given up."""

from _collections_abc import Callable

from quail.oserrors import words

PAUSE = 5  # seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")


class Trouble:
    """How one process says that something is wrong, and how it waits."""

    __slots__ = ("_say", "_sleep")

    def __init__(self, say: Callable[[str], None], sleep: Callable[[float], object]) -> None:
        """`say` takes a warning without the program's name; `sleep` seconds."""
        self._say, self._sleep = say, sleep

    def insist(self, doing: str, call: "Callable[P, T]", *args: "P.args", **kwargs: "P.kwargs") -> "T":
        """What call returns, once it raises no OSError; `doing` begins with `unable to`."""
        while True:
            try:
                return call(*args, **kwargs)
            except OSError as error:
                self.pause(doing, error)

    def pause(self, trouble: str, error: OSError | None = None) -> None:
        """Warn and wait."""
        self._say(f"warning: {trouble}, pausing" + (f": {words(error)}" if error else ""))
        self._sleep(PAUSE)
