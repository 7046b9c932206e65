"""Answers on stdout, talk on stderr; tables with colour on a terminal, plain aligned columns elsewhere."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import typer

from smsweep.cli.logging_setup import is_quiet, write_err
from smsweep.cli.text import cell, clean
from smsweep.services.views import json_views

GAP = "  "

LEAST_VALUE = 20  # columns of a terminal for a value beside its name


def answer(text: str) -> None:
    """Print a line on stdout."""
    typer.echo(text)


def answer_json(value: Any) -> None:
    """Print a value on stdout as one JSON document."""
    typer.echo(json.dumps(json_views.json_safe(value), indent=2, default=str))


def say(text: str) -> None:
    """Print a line of talk on stderr, unless the user wants it quiet."""
    if not is_quiet():
        write_err(text)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, best: int | None = None, err: bool = False
) -> None:
    """Print rows under their columns' names. best: index of a row to make stand out."""
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
    """Print as `table` does; on a terminal only as many columns as there is room for, each row on one line.

    first, last: how many columns at either end always stay. Returns the names of those left out.
    """
    stream = sys.stderr if err else sys.stdout
    if not stream.isatty():
        table(columns, rows, best=best, err=err)
        return []
    from smsweep.cli.display.rich_table import print_fitting  # rich is slow to import

    cells = [[cell(value) for value in row] for row in rows]
    return print_fitting(list(map(clean, columns)), cells, best, stream, first, last)


def plain_table(names: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """Return lines with columns aligned by blanks, never cut: for pipes and files."""
    lines = [names, *cells]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [GAP.join(map(str.ljust, line, widths)).rstrip() for line in lines]


def fields(values: Iterable[tuple[str, str]]) -> None:
    """Print names and values on stdout, one pair a line; pairs without a value are left out.

    On a terminal long values go on below themselves.
    """
    shown = [(name, value) for name, value in values if value]
    width = max(len(name) for name, _ in shown)
    room = shutil.get_terminal_size().columns - width - len(GAP) if sys.stdout.isatty() else 0
    for name, value in shown:
        lines = textwrap.wrap(value, room, break_on_hyphens=False) if room >= LEAST_VALUE else [value]
        for index, line in enumerate(lines):
            typer.echo(f"{('' if index else name).ljust(width)}{GAP}{line}")
