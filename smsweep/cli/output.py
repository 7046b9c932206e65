"""Print results on stdout and messages on stderr; tables with colour on a terminal, plain columns otherwise."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import typer

from smsweep.cli.streams import is_quiet, write_err
from smsweep.cli.text import cell, clean
from smsweep.services.views import json_views

GAP = "  "

MIN_VALUE_WIDTH = 20  # terminal columns for a value beside its name


def print_result(text: str) -> None:
    """Print a line on stdout."""
    typer.echo(text)


def print_json(value: Any) -> None:
    """Print a value on stdout as one JSON document."""
    typer.echo(json.dumps(json_views.json_safe(value), indent=2, default=str))


def print_message(text: str) -> None:
    """Print a message on stderr, unless --quiet is set."""
    if not is_quiet():
        write_err(text)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, best: int | None = None, err: bool = False
) -> None:
    """Print a table.

    Args:
        columns: Names of the columns.
        rows: One value per column.
        best: Index of the row to highlight on a terminal.
        err: Print on stderr instead of stdout.
    """
    names = [clean(name) for name in columns]
    cells = [[cell(value) for value in row] for row in rows]
    stream = sys.stderr if err else sys.stdout
    if stream.isatty():
        from smsweep.cli.display.rich_table import print_table  # rich is slow to import

        print_table(names, cells, best, stream)
        return
    for line in plain_table(names, cells):
        typer.echo(line, err=err)


def wide_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    first: int,
    last: int,
    best: int | None = None,
    err: bool = False,
) -> list[str]:
    """Print a table; on a terminal only the columns that fit, one line per row.

    Args:
        columns: Names of the columns.
        rows: One value per column.
        first: Number of columns at the left that are always shown.
        last: Number of columns at the right that are always shown.
        best: Index of the row to highlight on a terminal.
        err: Print on stderr instead of stdout.

    Returns:
        The names of the columns that did not fit.
    """
    stream = sys.stderr if err else sys.stdout
    if not stream.isatty():
        table(columns, rows, best=best, err=err)
        return []
    from smsweep.cli.display.rich_table import print_fitting  # rich is slow to import

    cells = [[cell(value) for value in row] for row in rows]
    return print_fitting(list(map(clean, columns)), cells, best, stream, first, last)


def plain_table(names: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table for pipes and files: aligned with blanks, never cut."""
    lines = [names, *cells]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [GAP.join(map(str.ljust, line, widths)).rstrip() for line in lines]


def fields(values: Iterable[tuple[str, str]]) -> None:
    """Print one name and value per line on stdout, without empty values.

    A terminal wraps long values in their own column.
    """
    rows = [(name, value) for name, value in values if value]
    width = max(len(name) for name, _ in rows)
    room = shutil.get_terminal_size().columns - width - len(GAP) if sys.stdout.isatty() else 0
    for name, value in rows:
        lines = textwrap.wrap(value, room, break_on_hyphens=False) if room >= MIN_VALUE_WIDTH else [value]
        for index, line in enumerate(lines):
            typer.echo(f"{('' if index else name).ljust(width)}{GAP}{line}")
