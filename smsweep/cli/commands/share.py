"""`smsweep export`, `report` and `wandb`: exchange sweeps with files and other tools."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from smsweep.cli.options import Entity, Job, Json, Label, Name, NewestSweepId, Program, Project, Seed
from smsweep.cli.output import print_json, print_message, print_result
from smsweep.cli.streams import is_quiet
from smsweep.cli.text import counted
from smsweep.errors import UsageError
from smsweep.services import export as exporting
from smsweep.services import labels
from smsweep.services.wandb import hosted as import_service
from smsweep.services.wandb import sync as sync_service

EXPORT_EXAMPLES = """
smsweep export abcd1234 > trials.csv
smsweep export abcd1234 --to trials.json
smsweep export abcd1234 --to trials.parquet --force
smsweep export abcd1234 --format wandb
smsweep export abcd1234 --format optuna --to sqlite:///study.db
smsweep export abcd1234 --format mlflow --to sqlite:///mlflow.db
smsweep export abcd1234 --format tensorboard --to runs
smsweep export abcd1234 --format tuning-job --to request.json
"""
REPORT_EXAMPLES = """
smsweep report abcd1234
smsweep report abcd1234 -o sweep.html
"""
WANDB_IMPORT_EXAMPLES = """
smsweep wandb import team/digits/abcd1234
smsweep wandb import team/digits/abcd1234 --job job.yaml --program train.py
"""
WANDB_SYNC_EXAMPLES = """
smsweep wandb sync abcd1234
smsweep wandb sync abcd1234/7 --project digits --entity team
"""


class Format(str, Enum):
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"
    WANDB = "wandb"
    OPTUNA = "optuna"
    MLFLOW = "mlflow"
    TENSORBOARD = "tensorboard"
    TUNING_JOB = "tuning-job"


def export(
    sweep_id: NewestSweepId = "",
    form: Annotated[
        Format | None,
        typer.Option(
            "--format", help="Format (default: from the file extension, else csv); wandb is a CSV like W&B's."
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            "--output",
            "-o",
            metavar="WHERE",
            help="A file, storage URL or folder to write instead of stdout.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files or data.")] = False,
    as_json: Json = False,
) -> None:
    """Export the trials of a sweep to a file or another tool.

    CSV, JSON and Parquet contain every field, param and metric. CSV names the columns of params and metrics
    `params.x` and `metrics.x`, and text that a spreadsheet treats as a formula starts with an apostrophe. Optuna
    studies, MLflow runs and TensorBoard event files also contain the values of each step. parquet, optuna, mlflow
    and tensorboard need the extra of that name. tuning-job writes the request of a SageMaker tuning job with the
    same search and jobs, and uploads the source that they read. --json prints the trials as JSON; with --to it
    prints what was written, and where.
    """
    if as_json and to in (None, exporting.STDOUT):
        if form not in (None, Format.JSON):
            raise UsageError(f"--json prints JSON, not {form.value}; remove one of the two options, or add --to")
        form = Format.JSON
    done = exporting.export(sweep_id, to, form=form.value if form else None, force=force, progress=_progress)
    if done.where and as_json:
        print_json({"trials": done.n_trials, "where": done.where})
    elif done.where and form is Format.TUNING_JOB:
        print_message(
            f"wrote {done.where}; start it with: aws sagemaker create-hyper-parameter-tuning-job --cli-input-json "
            f"file://{done.where}"
        )
    elif done.where:
        print_message(f"wrote {counted(done.n_trials, 'trial')} to {done.where}")
    else:
        typer.echo(done.text, nl=False)


def _progress(done: int, total: int) -> None:
    """Show the progress on a terminal."""
    if sys.stderr.isatty() and not is_quiet():
        typer.echo("\r\x1b[K" if done == total else f"\r{done} of {total} trials", nl=False, err=True)


def report(
    sweep_id: NewestSweepId = "",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="The file to write (default: ID.html in this folder)."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a sweep as one HTML file that opens offline.

    Contains history, importance, parallel coordinates, slices, contours, learning curves, timeline, costs, and a
    table of all trials to sort and filter. Secrets are masked. Needs the extra `report`.
    """
    output = output or Path(f"{labels.parse_sweep_id(sweep_id)}.html")
    from smsweep.services import report as reporting  # numpy is slow to import

    reporting.write(reporting.report(sweep_id), output)
    print_json({"file": str(output)}) if as_json else print_result(str(output))
    print_message("open the file in a browser; it needs no network")


def wandb_import(
    path: Annotated[
        str, typer.Argument(metavar="ENTITY/PROJECT/ID", help="A sweep on W&B's server, or the URL of its page.")
    ],
    project: Project = None,
    entity: Entity = None,
    name: Name = None,
    program: Program = None,
    job: Job = None,
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """Create a sweep from a sweep on W&B's server.

    Prints the id of the new sweep. The runs of the W&B sweep become prior runs: the search uses their results, and
    a grid skips the cells that they cover. The sweep on W&B's server does not change.
    """
    sweep_id, n_runs = import_service.import_sweep(
        path, project=project, entity=entity, name=name, program=program, job=job, seed=seed
    )
    if as_json:
        print_json({"id": sweep_id, "prior_runs": n_runs})
    else:
        print_result(sweep_id)
    print_message(f"imported {counted(n_runs, 'run')} of {path}; run trials with: smsweep agent {sweep_id}")


def wandb_sync(label: Label, project: Project = None, entity: Entity = None, as_json: Json = False) -> None:
    """Upload the offline W&B runs of a sweep.

    Prints the uploaded folders. Needs the wandb package and a W&B API key. Skips runs that were uploaded before.
    """
    folders = [str(folder) for folder in sync_service.sync(label, project=project, entity=entity)]
    if as_json:
        print_json({"uploaded": folders})
    else:
        for folder in folders:
            print_result(folder)
    if not folders:
        print_message("nothing to upload: all offline runs were uploaded before")
