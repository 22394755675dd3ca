"""Tables for people, on a terminal or in a pipe."""

import os
from collections.abc import Iterable, Sequence

_UNFOLDED = 8192  # columns: a script that reads a pipe gets one line a row


def show(titles: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
    """Print rows of as many cells as there are titles; the columns named in `numbers` stand to the right."""
    from rich.console import Console  # noqa: PLC0415  slow to load, and only tables need it
    from rich.table import Table  # noqa: PLC0415  as above
    from rich.text import Text  # noqa: PLC0415  as above

    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, justify="right" if title in numbers else "left", overflow="fold")
    for row in rows:
        # Names of files may hold bytes that are no text.
        table.add_row(*(Text(cell.encode(errors="backslashreplace").decode()) for cell in row))
    Console(width=None if os.isatty(1) else _UNFOLDED).print(table)
