"""Export a sweep as an experiment of MLflow; each trial is a run."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH, MAX_TAG_VAL_LENGTH

from smsweep.core.json_documents import Row
from smsweep.core.trial import MetricPoint, Trial, TrialState
from smsweep.errors import UsageError
from smsweep.exports.contents import METRICS, PARAMS, Contents, json_safe, params_in

MARK = "smsweep.export"  # tag of an experiment: "unfinished" until the export is complete
UNFINISHED, COMPLETE = "unfinished", "complete"
SQLITE_SUFFIXES = (".db", ".sqlite", ".sqlite3")  # of a path to a file
BATCH = 100  # MLflow's smallest limit for one call: params and tags
METRICS_BATCH = 1_000
NAME_MARKS = frozenset("_-. :/")  # characters that MLflow allows in names besides letters and digits

STATES: Mapping[TrialState, str] = {
    TrialState.PENDING: "SCHEDULED",
    TrialState.RUNNING: "RUNNING",
    TrialState.STOPPING: "RUNNING",
    TrialState.FINISHED: "FINISHED",
    TrialState.FAILED: "FAILED",
    TrialState.CRASHED: "FAILED",
    TrialState.STOPPED: "KILLED",
    TrialState.KILLED: "KILLED",
}


def write(contents: Contents, uri: str, *, force: bool) -> str:
    """Write the sweep as an experiment.

    Args:
        contents: The sweep.
        uri: An MLflow server or store (http://..., sqlite:///...), the path of a SQLite file, or a folder.
        force: Replace the runs of an existing experiment. Runs of an incomplete export are always replaced.

    Returns:
        The name of the experiment.

    Raises:
        UsageError: If the experiment exists and force is False, or MLflow cannot use the store.
    """
    with _translated():
        client = MlflowClient(tracking_uri=_tracking_uri(uri))
        experiment_id = _prepare_experiment(client, contents, force=force)
        for trial, row in contents.pairs():
            _write_run(client, experiment_id, contents, trial, row)
        client.set_experiment_tag(experiment_id, MARK, COMPLETE)
    return contents.title


def _tracking_uri(text: str) -> str:
    if "://" in text or text in ("databricks", "uc"):
        return text
    path = Path(text)
    return f"sqlite:///{text}" if path.suffix in SQLITE_SUFFIXES else path.absolute().as_uri()


def _prepare_experiment(client: MlflowClient, contents: Contents, *, force: bool) -> str:
    """Return the id of the sweep's experiment, marked as unfinished and without runs."""
    tags = {MARK: UNFINISHED, **{f"smsweep.{name}": value for name, value in _about(contents).items()}}
    known = client.get_experiment_by_name(contents.title)
    if known is None:
        return str(client.create_experiment(contents.title, tags=tags))
    if not force and known.lifecycle_stage == "active" and known.tags.get(MARK) != UNFINISHED:
        raise UsageError(f"experiment {contents.title} exists already; replace its runs with --force")
    experiment_id = str(known.experiment_id)
    if known.lifecycle_stage != "active":
        client.restore_experiment(experiment_id)
    for name, value in tags.items():
        client.set_experiment_tag(experiment_id, name, value)
    while runs := client.search_runs([experiment_id], run_view_type=ViewType.ACTIVE_ONLY):
        for run in runs:
            client.delete_run(run.info.run_id)
    return experiment_id


def _about(contents: Contents) -> dict[str, str]:
    names = ("id", "name", "method", "seed", "source_hash", "created_at")
    sweep: Row = contents.sweep
    return {name: str(sweep[name] or "") for name in names}


def _write_run(client: MlflowClient, experiment_id: str, contents: Contents, trial: Trial, row: Row) -> None:
    begun = _ms(trial.started_at or trial.created_at)
    run = client.create_run(experiment_id, start_time=begun, run_name=f"{contents.title}-{trial.number}")
    run_id = run.info.run_id
    params = [Param(_name(key), _text(value, MAX_PARAM_VAL_LENGTH)) for key, value in params_in(row).items()]
    tags = [RunTag(_name(key), _text(value, MAX_TAG_VAL_LENGTH)) for key, value in _tags(contents, row).items()]
    metrics = _metrics(contents.points(trial.number), row, begun)
    for start in range(0, max(len(params), len(tags)), BATCH):
        client.log_batch(run_id, params=params[start : start + BATCH], tags=tags[start : start + BATCH])
    for start in range(0, len(metrics), METRICS_BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + METRICS_BATCH])
    if trial.state.is_terminal:
        client.set_terminated(run_id, STATES[trial.state], end_time=_ms(trial.ended_at))
    else:
        client.update_run(run_id, status=STATES[trial.state])


def _tags(contents: Contents, row: Row) -> dict[str, Any]:
    """Return all values of a trial that are neither params nor numbers, and the commit under MLflow's name."""
    tags = {f"smsweep.{name}": value for name, value in row.items() if not name.startswith((PARAMS, METRICS))}
    tags |= {name: value for name, value in row.items() if name.startswith(METRICS) and not _is_number(value)}
    commit = (contents.origin.get("git") or {}).get("commit")
    if commit:
        tags["mlflow.source.git.commit"] = commit
    return {name: value for name, value in tags.items() if value not in (None, "")}


def _metrics(points: Sequence[MetricPoint], row: Row, begun: int) -> list[Metric]:
    """Return all reported numbers, then the last values that differ from them, and the objective."""
    counts: dict[str, int] = {}
    metrics, last = [], {}
    for point in points:
        if _is_number(point.value):
            step = counts.get(point.name, 0) if point.step is None else point.step
            counts[point.name] = step + 1
            value, time = float(point.value or 0), _ms(point.time)
            metrics.append(Metric(_name(point.name), value, time, step))
            last[point.name] = value
    stated = {name.removeprefix(METRICS): value for name, value in row.items() if name.startswith(METRICS)}
    stated = {name: value for name, value in stated.items() if _is_number(value)}
    if _is_number(row.get("objective")) and "objective" not in stated:
        stated["objective"] = row["objective"]
    end = metrics[-1].timestamp if metrics else begun
    for name, value in stated.items():
        if name not in last or not _is_same(last[name], float(value)):
            metrics.append(Metric(_name(name), float(value), end, counts.get(name, 0)))
    return metrics


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_same(a: float, b: float) -> bool:
    return a == b or (a != a and b != b)


def _name(name: str) -> str:
    """Return a name that MLflow accepts. MLflow uses it as the path of a file below a folder."""
    marked = "".join(letter if letter.isalnum() or letter in NAME_MARKS else "_" for letter in name)[:250]
    parts = [part if part.strip(".") else "_" * len(part) for part in marked.split("/") if part]
    path = "/".join(parts) or "_"
    return f"_{path[1:]}" if path.startswith("..") else path


def _text(value: Any, longest: int) -> str:
    if isinstance(value, (list, dict)):
        value = json.dumps(json_safe(value), ensure_ascii=False)
    return str(value)[:longest]


def _ms(moment: datetime | None) -> int:
    return int(moment.timestamp() * 1000) if moment else 0


@contextmanager
def _translated() -> Iterator[None]:
    logger = logging.getLogger("mlflow")
    level = logger.level
    logger.setLevel(logging.WARNING)  # MLflow logs each table that it creates
    try:
        yield
    except (MlflowException, ImportError, OSError) as err:
        lines = str(err).splitlines() or [type(err).__name__]
        raise UsageError(f"MLflow cannot use this store: {lines[0]}; name another store with --to") from err
    finally:
        logger.setLevel(level)
