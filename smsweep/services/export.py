"""Export a sweep to a file, an Optuna study, MLflow or TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smsweep.errors import UsageError
from smsweep.exports.contents import Contents, as_csv, as_json, as_wandb_csv
from smsweep.secrets.redact import redact
from smsweep.services.labels import parse_sweep_id
from smsweep.services.views.json_views import sweep_data, table, trial_data
from smsweep.services.workspace import Workspace
from smsweep.source.written_files import record_written
from smsweep.store import notes
from smsweep.store.base import Store
from smsweep.util import atomic_file
from smsweep.util.plugins import LazyTable
from smsweep.wandb_compat.runs_table import runs_table

STDOUT = "-"
TUNING_JOB = "tuning-job"
TEXTS: dict[str, Callable[[Contents], str]] = {"csv": as_csv, "json": as_json, "wandb": as_wandb_csv}
WRITERS: LazyTable[Any] = LazyTable(  # formats that need the extra of the same name
    {
        "mlflow": "smsweep.exports.mlflow_runs:write",
        "optuna": "smsweep.exports.optuna_study:write",
        "parquet": "smsweep.exports.parquet:write",
        "tensorboard": "smsweep.exports.tensorboard_runs:write",
    }
)
PLACES = {  # targets of these formats, for error messages
    "mlflow": "a tracking URI, such as sqlite:///mlflow.db, a folder, or http://...",
    "optuna": "a storage, such as sqlite:///study.db",
    "parquet": "a file, such as trials.parquet",
    "tensorboard": "a log folder, such as runs",
}
FORMATS = (*TEXTS, *PLACES, TUNING_JOB)
FILES = ("csv", "json", "parquet")  # formats that are file extensions


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """The result of an export."""

    n_trials: int  # 0 for a tuning job, which contains no trials
    where: str  # the file, the folder, or the name and the storage; "" if `text` has the export
    text: str = ""  # the export itself, if no target was given


def export(
    sweep_id: str,
    to: str | None = None,
    *,
    form: str | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Exported:
    """Export all trials of a sweep.

    Args:
        sweep_id: Id of the sweep.
        to: A file, a storage or a folder. None or "-" returns the text.
        form: csv, json, parquet, wandb (a CSV file like W&B's), optuna, mlflow, tensorboard or tuning-job (a
            CreateHyperParameterTuningJob request as JSON). Default: by the file extension; csv without one.
        force: Replace an existing export.
        progress: Called with the number of written trials and the number of all trials.

    Raises:
        NotFound: If there is no such sweep.
        UsageError: If the target exists or cannot be written, no format has its extension, or the format needs an
            extra.
        ConfigError: If the format is tuning-job and the sweep has a feature that tuning jobs do not have.
        JobError: If the format is tuning-job and AWS refuses the upload of the source.
    """
    if form is None:
        form = _form_of(to or "")
    if form not in FORMATS:
        raise UsageError(f"no format {form!r}; use one of {', '.join(FORMATS)}")
    is_text = form in (*TEXTS, TUNING_JOB)
    to = None if to == STDOUT and is_text else to
    if to is None and not is_text:
        raise UsageError(f"--format {form}: needs a target; add --to with {PLACES[form]}")
    workspace = Workspace()
    if to is not None:
        _refuse_own_store(to, workspace)
    if to is not None and "://" in to and form in (*TEXTS, TUNING_JOB, "parquet"):
        raise UsageError(
            f"{redact(to)}: is not a file, which {form} needs; use --format optuna or mlflow for a storage"
        )
    if to is not None and is_text:
        atomic_file.check_output(Path(to), force=force)  # before anything is read
    write = None if is_text else _writer(form)
    with workspace.store() as store:
        if form == TUNING_JOB:
            from smsweep.services.sweeps.tuning_jobs import export_request  # boto3 is slow to import

            request = export_request(store, store.get_sweep(parse_sweep_id(sweep_id)), workspace)
            n_trials, text = 0, json.dumps(request, indent=2) + "\n"
        else:
            contents = gather(store, sweep_id, progress)
            n_trials = len(contents.trials)
            text = TEXTS[form](contents) if write is None else ""
        if write is None:
            if to is None:
                return Exported(n_trials=n_trials, where="", text=text)
            atomic_file.write_output(
                Path(to), lambda path: path.write_text(text, encoding="utf-8", newline=""), force=force
            )
            record_written(workspace.dir, [Path(to)])
            return Exported(n_trials=n_trials, where=to)
        assert to is not None
        written = write(contents, to, force=force)
        record_written(workspace.dir, [Path(written) if form == "tensorboard" else _file(to)])
    place = redact(to)
    return Exported(
        n_trials=n_trials,
        where={"parquet": place, "tensorboard": str(written)}.get(form) or f"{written} in {place}",
    )


def _form_of(to: str) -> str:
    """Return the format for the extension of a file. Raises UsageError for an unknown extension."""
    suffix = "" if "://" in to else Path(to).suffix.lower().lstrip(".")
    if suffix and suffix not in FILES:
        raise UsageError(
            f"{to}: no format has the extension .{suffix}; use {', '.join(f'.{each}' for each in FILES)}, "
            f"or choose one of --format {', '.join(FORMATS)}"
        )
    return suffix or "csv"


def gather(
    store: Store, sweep_id: str, progress: Callable[[int, int], None] = lambda done, total: None
) -> Contents:
    """Read a sweep for an export. The store must stay open while `points` is used."""
    sweep = store.get_sweep(parse_sweep_id(sweep_id))
    trials = sorted(store.list_trials(sweep.id), key=lambda trial: trial.number)
    data = [trial_data(trial, sweep) for trial in trials]
    columns, rows = table(data)
    return Contents(
        sweep=sweep_data(sweep),
        config=sweep.config,
        trials=trials,
        data=data,
        columns=columns,
        rows=rows,
        wandb_rows=runs_table(trials, sweep),
        origin=notes.ORIGIN.get(store, sweep.id),
        points=lambda number: store.read_points(sweep.id, number),
        progress=progress,
    )


def _writer(form: str) -> Any:
    try:
        return WRITERS[form]
    except ImportError as err:
        raise UsageError(f"{form} is not installed ({err}); pip install 'smsweep[{form}]'") from err


def _refuse_own_store(to: str, workspace: Workspace) -> None:
    """Raise UsageError if the target is the store itself."""
    own = str(workspace.store_file or workspace.environ["SMSWEEP_STORE"])
    if _file(to) == _file(own):
        raise UsageError(f"{redact(to)}: is smsweep's own store; name another target")


def _file(place: str) -> Path:
    return Path(place.partition(":///")[2] or place).resolve()
