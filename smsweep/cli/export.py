"""`smsweep export`: a sweep's trials for other programs."""

from __future__ import annotations

import csv
import io
import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from smsweep import sdk
from smsweep.cli.options import SweepId
from smsweep.cli.output import say
from smsweep.cli.text import clean
from smsweep.errors import UsageError

EXAMPLES = """
smsweep export abcd1234 > trials.csv
smsweep export abcd1234 -o trials.json
smsweep export abcd1234 --format json
smsweep export abcd1234 --format wandb
"""

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet runs a cell that starts so


class Format(str, Enum):
    CSV = "csv"
    JSON = "json"
    WANDB = "wandb"


def export(
    sweep_id: SweepId,
    form: Annotated[
        Format | None,
        typer.Option("--format", help="csv, unless the file's name ends in .json; wandb: a CSV as W&B's."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Instead of stdout.")
    ] = None,
) -> None:
    """Write all trials as CSV or JSON.

    Every field, param and metric. In CSV, params and metrics are columns named `params.x` and `metrics.x`, and
    text that a spreadsheet would run as a formula is put behind an apostrophe.
    """
    if form is None:
        form = Format.JSON if output is not None and output.suffix == ".json" else Format.CSV
    trials = sdk.views.list_trials(sweep_id)
    if form is Format.WANDB:
        text = as_wandb_csv(sdk.api.runs_table(sdk.api.Api().sweep(sweep_id).runs))
    else:
        text = as_csv(trials) if form is Format.CSV else as_json(trials)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as err:
        raise UsageError(f"{output}: cannot be written: {err.strerror}; name another file with -o") from err
    say(f"wrote {len(trials)} trials to {output}")


def as_json(trials: list[dict[str, Any]]) -> str:
    return json.dumps(sdk.views.json_safe(trials), indent=2, default=str) + "\n"


def as_csv(trials: list[dict[str, Any]]) -> str:
    return write_csv(*sdk.views.table(trials))


def as_wandb_csv(rows: list[dict[str, Any]]) -> str:
    return write_csv(list(dict.fromkeys(name for row in rows for name in row)), rows)


def write_csv(columns: list[str], rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(csv_cell, columns))
    writer.writerows([csv_cell(row.get(name)) for name in columns] for row in rows)
    return text.getvalue()


def csv_cell(value: object) -> object:
    """Return what to write: text without control characters or formulas, lists and mappings as JSON."""
    if isinstance(value, (list, dict)):
        value = json.dumps(sdk.views.json_safe(value), ensure_ascii=False)
    if not isinstance(value, str):
        return value
    text = "\n".join(map(clean, value.split("\n")))
    return f"'{text}" if text.startswith(FORMULA) else text
