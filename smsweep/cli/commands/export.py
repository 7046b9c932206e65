"""`smsweep export`: a sweep's trials for other programs."""

from __future__ import annotations

import sys
from enum import Enum
from typing import Annotated

import typer

from smsweep.cli.logging_setup import is_quiet
from smsweep.cli.options import Json, SweepId
from smsweep.cli.output import answer_json, say
from smsweep.errors import UsageError
from smsweep.services import export as exporting

EXAMPLES = """
smsweep export abcd1234 > trials.csv
smsweep export abcd1234 --to trials.json
smsweep export abcd1234 --to trials.parquet --force
smsweep export abcd1234 --format wandb
smsweep export abcd1234 --format optuna --to sqlite:///study.db
smsweep export abcd1234 --format mlflow --to sqlite:///mlflow.db
smsweep export abcd1234 --format tensorboard --to runs
"""


class Format(str, Enum):
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"
    WANDB = "wandb"
    OPTUNA = "optuna"
    MLFLOW = "mlflow"
    TENSORBOARD = "tensorboard"


def export(
    sweep_id: SweepId,
    form: Annotated[
        Format | None,
        typer.Option("--format", help="By default what the file's name ends in, or csv; wandb: a CSV as W&B's."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", "--output", "-o", metavar="WHERE", help="A file, storage or folder; not stdout."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace what is there.")] = False,
    as_json: Json = False,
) -> None:
    """Write all trials for other programs.

    As CSV, JSON or Parquet: every field, param and metric. In CSV, params and metrics are columns named `params.x`
    and `metrics.x`, and text that a spreadsheet would run as a formula is put behind an apostrophe. As a study of
    Optuna, runs of MLflow, or event files of TensorBoard: also what was reported step by step. parquet, optuna,
    mlflow and tensorboard need the extra of that name. --json: the trials as JSON on stdout; with --to, what was
    written where.
    """
    if as_json and to in (None, exporting.STDOUT):
        if form not in (None, Format.JSON):
            raise UsageError(f"--json prints JSON, not {form.value}; leave one of the two out, or add --to")
        form = Format.JSON
    done = exporting.export(sweep_id, to, form=form.value if form else None, force=force, progress=_progress)
    if done.where and as_json:
        answer_json({"trials": done.n_trials, "where": done.where})
    elif done.where:
        say(f"wrote {done.n_trials} {'trial' if done.n_trials == 1 else 'trials'} to {done.where}")
    else:
        typer.echo(done.text, nl=False)


def _progress(done: int, total: int) -> None:
    """Show how far it is, on a terminal alone."""
    if sys.stderr.isatty() and not is_quiet():
        typer.echo("\r\x1b[K" if done == total else f"\r{done} of {total} trials", nl=False, err=True)
