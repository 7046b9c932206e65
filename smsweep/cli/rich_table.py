"""A table on a terminal; loaded only when there is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_table(names: Sequence[str], cells: Sequence[Sequence[str]], best: int | None, stream: TextIO) -> None:
    """Draw clean cells, never taken for markup. best: index of the row to make stand out."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        drawn.add_column(Text(name), overflow="fold")
    for index, row in enumerate(cells):
        drawn.add_row(*map(Text, row), style="bold green" if index == best else None)
    Console(file=stream).print(drawn)
