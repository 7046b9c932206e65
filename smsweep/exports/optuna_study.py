"""A sweep as a study in one of Optuna's storages, for its dashboard and its plots."""

from __future__ import annotations

import math
import os
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as Theirs
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from smsweep.core.json_documents import Row
from smsweep.core.trial import MetricPoint, Trial, TrialState
from smsweep.errors import UsageError
from smsweep.exports.contents import PARAMS, Contents, curve, params_in
from smsweep.exports.optuna_space import Fitting, fittings
from smsweep.exports.text import json_safe
from smsweep.util import atomic_file

SQLITE = "sqlite:///"
MARK = "smsweep.export"  # user attribute of a study: "unfinished" until all of it is there
UNFINISHED = "unfinished"

STATES: Mapping[TrialState, Theirs] = {
    TrialState.PENDING: Theirs.WAITING,
    TrialState.RUNNING: Theirs.RUNNING,
    TrialState.STOPPING: Theirs.RUNNING,
    TrialState.FINISHED: Theirs.COMPLETE,
    TrialState.FAILED: Theirs.FAIL,
    TrialState.CRASHED: Theirs.FAIL,
    TrialState.STOPPED: Theirs.PRUNED,
    TrialState.KILLED: Theirs.FAIL,
}


def write(contents: Contents, url: str, *, force: bool) -> str:
    """Write the sweep as a study and return the study's name.

    url: of a database as SQLAlchemy takes it, or the path of a SQLite file; other studies in it stay. A new file
    is there whole or not at all; elsewhere a study that was cut off is marked, and replaced by the next export.
    Raises UsageError for a study that is there, without force; for a sweep without a metric, which no study can
    be; for a database that cannot be used.
    """
    if not contents.metrics:
        raise UsageError(f"sweep {contents.sweep['id']} names no metric, and Optuna knows no study without one")
    url = url if "://" in url else SQLITE + url
    path = Path(url.removeprefix(SQLITE)) if url.startswith(SQLITE) else None
    trials = list(_frozen(contents))
    with _quiet(), _translated():
        if path is None or path.exists():
            if path is not None:
                _refuse_others(path)
            _add_study(url, contents, trials, force=force)
        else:
            with atomic_file.open_output(path, force=force) as scratch:
                _add_study(f"{SQLITE}{scratch}", contents, trials, force=force, is_draft=True)
                with scratch.open("rb") as file:
                    os.fsync(file.fileno())
    return contents.title


def _add_study(
    url: str, contents: Contents, trials: list[FrozenTrial], *, force: bool, is_draft: bool = False
) -> None:
    """is_draft: a file that nobody reads before it is complete need not be safe on disk after each trial."""
    storage = RDBStorage(url)
    if is_draft:
        event.listen(storage.engine, "connect", lambda opened, record: opened.execute("PRAGMA synchronous = OFF"))
        storage.engine.dispose()  # connections from before
    try:
        _make_room(storage, contents.title, force=force)
        directions = [metric.goal.value for metric in contents.metrics]
        study = optuna.create_study(storage=storage, study_name=contents.title, directions=directions)
        try:
            study.set_user_attr(MARK, UNFINISHED)
            study.set_metric_names([metric.name for metric in contents.metrics])
            for name, value in _about(contents).items():
                study.set_user_attr(name, value)
            for done, trial in enumerate(trials):
                contents.progress(done, len(trials))
                study.add_trial(trial)
            contents.progress(len(trials), len(trials))
            study.set_user_attr(MARK, datetime.now(timezone.utc).isoformat(timespec="seconds"))
        except BaseException:
            optuna.delete_study(study_name=contents.title, storage=storage)
            raise
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _make_room(storage: RDBStorage, title: str, *, force: bool) -> None:
    if title not in optuna.get_all_study_names(storage):
        return
    known = storage.get_study_user_attrs(storage.get_study_id_from_name(title))
    if not force and known.get(MARK) != UNFINISHED:
        raise UsageError(f"study {title} is there already; replace it with --force, or name another database")
    optuna.delete_study(study_name=title, storage=storage)


def _refuse_others(path: Path) -> None:
    """Raise UsageError for a file that is no database of Optuna's, before its tables get mixed with others."""
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name a file in it")
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            found = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as err:
        raise UsageError(f"{path}: is no SQLite database: {err}; name another file") from err
    if found and "studies" not in found:
        raise UsageError(f"{path}: is a database of something else than Optuna; name another file")


def _about(contents: Contents) -> dict[str, Any]:
    """Return what is known of the sweep itself, as user attributes."""
    names = ("id", "name", "state", "method", "seed", "program", "project", "entity", "source_hash", "created_at")
    sweep: Row = contents.sweep
    about = {name: sweep[name] for name in names}
    git = contents.origin.get("git") or {}
    return {**about, "git_commit": git.get("commit"), "smsweep": contents.origin.get("smsweep")}


def _frozen(contents: Contents) -> Iterator[FrozenTrial]:
    known = fittings(contents)
    for trial, row in zip(contents.trials, contents.rows, strict=True):
        yield _trial(contents, trial, row, known, contents.points(trial.number))


def _trial(contents: Contents, trial: Trial, row: Row, known: Mapping[str, Fitting], points: Any) -> FrozenTrial:
    state = STATES[trial.state]
    values = contents.values_of(trial)
    if state == Theirs.COMPLETE and values is None:
        state = Theirs.FAIL  # Optuna knows no success without a value
    has_values = state == Theirs.COMPLETE or (state == Theirs.PRUNED and len(contents.metrics) == 1)
    params = {name: known[name][1](value) for name, value in params_in(row).items()}
    ended = trial.ended_at or trial.created_at
    started = trial.started_at or ended
    return FrozenTrial(
        number=-1,  # the storage counts
        trial_id=-1,
        state=state,
        value=None,
        values=values if has_values else None,
        datetime_start=None if state == Theirs.WAITING else _local(started),
        datetime_complete=_local(ended) if state.is_finished() else None,
        params=params,
        distributions={name: known[name][0] for name in params},
        user_attrs=json_safe({name: value for name, value in row.items() if not name.startswith(PARAMS)}),
        system_attrs={},
        intermediate_values=_intermediate(contents, points),
    )


def _intermediate(contents: Contents, points: list[MetricPoint]) -> dict[int, float]:
    """Return the metric's values by step; none of several metrics, for Optuna knows no such thing."""
    if len(contents.metrics) > 1:
        return {}
    values = curve(points, contents.metrics[0].name)
    return {step: value if isinstance(value, (int, float)) else math.nan for step, value in values.items()}


def _local(moment: datetime | None) -> datetime | None:
    """Return a time as Optuna keeps it: of this machine's zone, without saying so."""
    return moment.astimezone().replace(tzinfo=None) if moment else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from talking, and from warning that names of metrics and lists as choices are new to it."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.OptunaError, ImportError, OSError) as err:
        said = str(getattr(err, "orig", None) or err).splitlines() or [type(err).__name__]
        raise UsageError(f"Optuna cannot use this storage: {said[0]}; name another with --to") from err
