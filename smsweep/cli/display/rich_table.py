"""A table on a terminal; loaded only when there is one."""

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
    """Draw clean cells, never taken for markup, in full. best: index of the row to make stand out."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        drawn.add_column(Text(name), overflow="fold", no_wrap=name == "id")  # an id is to be copied
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
    """Draw as many columns as there is room for, each row on one line; return the names of those left out."""
    console = Console(file=stream)
    widths = [max(map(cell_len, column)) for column in zip(names, *cells, strict=True)]
    wide = fit(widths, console.width, first=first, last=last)
    drawn = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for index, width in wide.items():
        drawn.add_column(Text(_end_of(names[index], width)), width=width, no_wrap=True, overflow="ellipsis")
    for number, row in enumerate(cells):
        texts = _texts(names, row)
        drawn.add_row(*(texts[index] for index in wide), style="bold green" if number == best else None)
    console.print(drawn)
    return [name for index, name in enumerate(names) if index not in wide]


def _end_of(name: str, width: int) -> str:
    """Return a name, or as much of its end as there is room for: that is where names like these differ."""
    if cell_len(name) <= width:
        return name
    while cell_len(name) >= width:
        name = name[1:]
    return f"…{name}"


def _texts(names: Sequence[str], row: Sequence[str]) -> list[Text]:
    styles = [STYLES.get(cell, "") if name == "state" else "" for name, cell in zip(names, row, strict=True)]
    return [Text(cell, style=style) for cell, style in zip(row, styles, strict=True)]


GAP = 2  # columns of the terminal between two of the table


WIDTHS = (60, 32, 18, 12)  # that long cells are cut to, one after the other, before a column has to go


def fit(widths: Sequence[int], width: int, *, first: int, last: int = 0) -> dict[int, int]:
    """Return the columns that fit side by side, by index, and how wide each is.

    widths: what each column would like. first, last: how many columns at either end always stay; of those between,
    the ones on the right go. A table that is too wide even so is cut at the terminal's edge.
    """
    kept = list(range(len(widths)))
    while True:
        for most in WIDTHS:
            wide = {index: min(widths[index], most) for index in kept}
            if sum(wide.values()) + GAP * (len(wide) - 1) <= width:
                return _widened(wide, widths, width)
        if len(kept) <= first + last:
            return wide
        del kept[len(kept) - last - 1]


def _widened(wide: dict[int, int], widths: Sequence[int], width: int) -> dict[int, int]:
    """Give what is left to the columns that were cut, from the right: reasons stand there."""
    room = width - sum(wide.values()) - GAP * (len(wide) - 1)
    for index in reversed(wide):
        more = min(room, widths[index] - wide[index])
        wide[index] += more
        room -= more
    return wide
