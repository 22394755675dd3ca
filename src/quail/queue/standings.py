"""What is remembered of remote hosts between one message and the next. Pure."""

from collections import OrderedDict

FIRST_WINDOW = 5  # groups at once to a host of which nothing is known
KEPT = 10_000  # proven hosts, and as many others


class Standings:
    """The window of a host (how many groups it gets at a time) and whether it is proven. Those used longest ago are forgotten
    first; proven ones are kept apart, or a list of dead hosts would make us forget them all.
    """

    def __init__(self) -> None:
        """Nothing is known."""
        self._windows: tuple[OrderedDict[bytes, float], OrderedDict[bytes, float]] = (OrderedDict(), OrderedDict())

    def __len__(self) -> int:
        """How many hosts are known."""
        return sum(map(len, self._windows))

    def recall(self, host: bytes) -> tuple[float, bool]:
        """Window, proven."""
        for proven in (True, False):
            window = self._windows[proven].get(host)
            if window is not None:
                return window, proven
        return FIRST_WINDOW, False

    def remember(self, host: bytes, window: float, *, proven: bool) -> None:
        """Until next time."""
        self._windows[not proven].pop(host, None)
        windows = self._windows[proven]
        windows[host] = window
        windows.move_to_end(host)
        if len(windows) > KEPT:
            windows.popitem(last=False)
