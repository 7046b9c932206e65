"""Tables on a terminal. Imported only when there is a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

STYLES = {  # of states
    "running": "cyan",
    "stopping": "yellow",
    "stopped": "yellow",
    "paused": "yellow",
    "failed": "red",
    "crashed": "red",
    "killed": "magenta",
    "pending": "dim",
}


def print_table(names: Sequence[str], cells: Sequence[Sequence[str]], best: int | None, stream: TextIO) -> None:
    """Print a whole table, without markup in cells. `best` is the index of the row to highlight."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        drawn.add_column(Text(name), overflow="fold", no_wrap=name == "id")  # so that an id can be copied
    for index, row in enumerate(cells):
        drawn.add_row(*_texts(names, row), style="bold green" if index == best else None)
    Console(file=stream).print(drawn)


def print_fitting(
    names: Sequence[str],
    cells: Sequence[Sequence[str]],
    best: int | None,
    stream: TextIO,
    first: int,
    last: int,
) -> list[str]:
    """Print the columns that fit, one line per row, and return the names of the columns that do not fit."""
    console = Console(file=stream)
    widths = [max(map(cell_len, column)) for column in zip(names, *cells, strict=True)]
    visible = fit(widths, console.width, first=first, last=last)
    drawn = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for index, width in visible.items():
        drawn.add_column(Text(_end_of(names[index], width)), width=width, no_wrap=True, overflow="ellipsis")
    for number, row in enumerate(cells):
        texts = _texts(names, row)
        drawn.add_row(*(texts[index] for index in visible), style="bold green" if number == best else None)
    console.print(drawn)
    return [name for index, name in enumerate(names) if index not in visible]


def _end_of(name: str, width: int) -> str:
    """Return a name, or the end of it that fits; such names differ at their ends."""
    if cell_len(name) <= width:
        return name
    while cell_len(name) >= width:
        name = name[1:]
    return f"…{name}"


def _texts(names: Sequence[str], row: Sequence[str]) -> list[Text]:
    styles = [STYLES.get(cell, "") if name == "state" else "" for name, cell in zip(names, row, strict=True)]
    return [Text(cell, style=style) for cell, style in zip(row, styles, strict=True)]


GAP = 2  # blanks between two columns
WIDTHS = (60, 32, 18, 12)  # limits for long cells, tried in this order before a column is left out


def fit(widths: Sequence[int], width: int, *, first: int, last: int = 0) -> dict[int, int]:
    """Choose the columns that fit side by side.

    Args:
        widths: The width of each column without cuts.
        width: The width of the terminal.
        first: Number of columns at the left that are always kept.
        last: Number of columns at the right that are always kept.

    Returns:
        Width by column index. Columns in the middle are left out from the right. If the kept columns are still too
        wide, the terminal cuts the table at its edge.
    """
    kept = list(range(len(widths)))
    while True:
        for limit in WIDTHS:
            wide = {index: min(widths[index], limit) for index in kept}
            if sum(wide.values()) + GAP * (len(wide) - 1) <= width:
                return _widened(wide, widths, width)
        if len(kept) <= first + last:
            return wide
        del kept[len(kept) - last - 1]


def _widened(wide: dict[int, int], widths: Sequence[int], width: int) -> dict[int, int]:
    """Give the remaining width to the columns that were cut, starting at the right, where reasons are."""
    room = width - sum(wide.values()) - GAP * (len(wide) - 1)
    for index in reversed(wide):
        more = min(room, widths[index] - wide[index])
        wide[index] += more
        room -= more
    return wide
