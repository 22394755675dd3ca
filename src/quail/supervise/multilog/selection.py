"""Which lines an action takes: what the + and - to the left of it leave selected. Pure.

Of the patterns that match a line the last one decides, and if none does the line is selected. So all of an action's
conditions are one regular expression, which picks the lines of a whole block at once.
"""

from _collections_abc import Callable

from quail.supervise.multilog.pattern import NEVER, matches, regex
from quail.supervise.multilog.script import Condition

LOOKED_AT = 1000  # bytes of a line that selection sees
_ALL = b"*"
_Find = Callable[[bytes], list[bytes]]


class Selection:
    """The conditions to the left of one action."""

    __slots__ = ("_conditions", "_default", "_find")

    def __init__(self, conditions: list[Condition]) -> None:
        """In the order of the script."""
        default = True
        needed: list[Condition] = []
        for condition in conditions:
            if condition.pattern == _ALL:  # whatever was said before
                default, needed = condition.selects, []
            else:
                needed.append(condition)
        self._conditions, self._default = needed, default
        self._find: _Find | None = None

    def takes(self, line: bytes) -> bool:
        """Whether a line is selected; of a longer one, its first 1000 bytes."""
        for condition in reversed(self._conditions):
            if matches(condition.pattern, line):
                return condition.selects
        return self._default

    def of(self, block: bytes) -> bytes:
        """The selected lines of a block of whole lines, none of them longer than 1000 bytes."""
        if not self._conditions:
            return block if self._default else b""
        if self._find is None:
            self._find = self._compiled()
        return b"".join(self._find(block))

    def _compiled(self) -> _Find:
        import re  # noqa: PLC0415  most scripts have no patterns, and it takes as long to load as all the rest

        wanted = b"" if self._default else NEVER
        for condition in self._conditions:
            this = regex(condition.pattern)
            wanted = b"(?:(?=%b)|%b)" % (this, wanted) if condition.selects else b"(?!%b)%b" % (this, wanted)
        try:
            # Each match is one line; those that are not wanted leave the group empty.
            return re.compile(rb"%b([^\n]*+\n)|[^\n]*+\n" % wanted).findall
        except (RecursionError, OverflowError, re.error):  # hundreds of patterns
            return self._one_by_one

    def _one_by_one(self, block: bytes) -> list[bytes]:
        return [line + b"\n" for line in block.split(b"\n")[:-1] if self.takes(line)]
