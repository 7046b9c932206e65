"""Export a sweep as an experiment of MLflow; each trial is a run."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow sends usage data since it is imported

from mlflow.entities import Metric, Param, RunStatus, RunTag, ViewType
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
    tags = {MARK: UNFINISHED, **about(contents.sweep)}
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


def about(sweep: Row) -> dict[str, str]:
    """Return the tags of a sweep."""
    names = ("id", "name", "method", "seed", "source_hash", "created_at")
    return {f"smsweep.{name}": str(sweep[name] or "") for name in names}


def _write_run(client: MlflowClient, experiment_id: str, contents: Contents, trial: Trial, row: Row) -> None:
    run = client.create_run(experiment_id, start_time=begun_ms(trial), run_name=f"{contents.title}-{trial.number}")
    run_id = run.info.run_id
    points = contents.points(trial.number)
    log_texts(client, run_id, params_of(row), [])
    log_metrics(client, run_id, metrics_of(points, {}))
    end_run(client, run_id, trial, row, points, contents.origin)


def end_run(
    client: MlflowClient,
    run_id: str,
    trial: Trial,
    row: Row,
    points: Sequence[MetricPoint],
    origin: Mapping[str, Any],
) -> None:
    """Write the tags of a run, the metrics that differ from its points, and its status.

    Args:
        client: The client of the server.
        run_id: The run, which has the trial's params and points.
        trial: The trial.
        row: The trial as a row.
        points: All points of the trial.
        origin: The git commit and versions of the sweep.
    """
    log_texts(client, run_id, [], tags_of(row, origin))
    log_metrics(client, run_id, _missing(points, row, begun_ms(trial)))
    if trial.state.is_terminal:
        set_ended(client, run_id, STATES[trial.state], trial.ended_at)
    else:
        client.update_run(run_id, status=STATES[trial.state])


def set_ended(client: MlflowClient, run_id: str, status: str, ended_at: datetime | None) -> None:
    """Set the final status of a run. MLflow's `set_terminated` does the same, and prints a URL to stdout."""
    store = client._tracking_client.store
    store.update_run_info(run_id, RunStatus.from_string(status), _ms(ended_at), None)


def begun_ms(trial: Trial) -> int:
    """Return the start of a trial in milliseconds, as MLflow needs it."""
    return _ms(trial.started_at or trial.created_at)


def log_texts(client: MlflowClient, run_id: str, params: Sequence[Param], tags: Sequence[RunTag]) -> None:
    """Write params and tags. The same values can be written again."""
    for start in range(0, max(len(params), len(tags)), BATCH):
        client.log_batch(run_id, params=params[start : start + BATCH], tags=tags[start : start + BATCH])


def log_metrics(client: MlflowClient, run_id: str, metrics: Sequence[Metric]) -> None:
    """Append metrics. Databases ignore a metric with the same name, time, step and value."""
    for start in range(0, len(metrics), METRICS_BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + METRICS_BATCH])


def params_of(row: Row) -> list[Param]:
    """Return the params of a trial."""
    return [Param(_name(key), _text(value, MAX_PARAM_VAL_LENGTH)) for key, value in params_in(row).items()]


def tags_of(row: Row, origin: Mapping[str, Any]) -> list[RunTag]:
    """Return all values of a trial that are neither params nor numbers, and the commit under MLflow's name."""
    return [RunTag(_name(key), _text(value, MAX_TAG_VAL_LENGTH)) for key, value in _tags(row, origin).items()]


def _tags(row: Row, origin: Mapping[str, Any]) -> dict[str, Any]:
    tags = {f"smsweep.{name}": value for name, value in row.items() if not name.startswith((PARAMS, METRICS))}
    tags |= {name: value for name, value in row.items() if name.startswith(METRICS) and not _is_number(value)}
    commit = (origin.get("git") or {}).get("commit")
    if commit:
        tags["mlflow.source.git.commit"] = commit
    return {name: value for name, value in tags.items() if value not in (None, "")}


def metrics_of(points: Sequence[MetricPoint], counts: dict[str, int]) -> list[Metric]:
    """Return all reported numbers.

    Args:
        points: Consecutive points of a trial.
        counts: The next step of each metric, for points without a step. It is updated.
    """
    metrics = []
    for point in points:
        if _is_number(point.value):
            step = counts.get(point.name, 0) if point.step is None else point.step
            counts[point.name] = step + 1
            metrics.append(Metric(_name(point.name), float(point.value or 0), _ms(point.time), step))
    return metrics


def _missing(points: Sequence[MetricPoint], row: Row, begun: int) -> list[Metric]:
    """Return the last values of a trial that differ from its points, and the objective.

    Args:
        points: All points of the trial.
        row: The trial as a row.
        begun: Start of the trial in milliseconds.
    """
    reported = metrics_of(points, {})
    numbers = [point for point in points if _is_number(point.value)]
    last = {point.name: float(point.value or 0) for point in numbers}
    steps = {point.name: metric.step for point, metric in zip(numbers, reported, strict=True)}
    stated = {name.removeprefix(METRICS): value for name, value in row.items() if name.startswith(METRICS)}
    stated = {name: value for name, value in stated.items() if _is_number(value)}
    if _is_number(row.get("objective")) and "objective" not in stated:
        stated["objective"] = row["objective"]
    end = reported[-1].timestamp if reported else begun
    return [
        Metric(_name(name), float(value), end, steps.get(name, -1) + 1)
        for name, value in stated.items()
        if name not in last or not _is_same(last[name], float(value))
    ]


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
    """Raise UsageError for the errors of MLflow. MLflow logs each table that it creates; this is turned off."""
    logger = logging.getLogger("mlflow")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    except (MlflowException, ImportError, OSError) as err:
        lines = str(err).splitlines() or [type(err).__name__]
        raise UsageError(f"MLflow cannot use this store: {lines[0]}; name another store with --to") from err
    finally:
        logger.setLevel(level)
