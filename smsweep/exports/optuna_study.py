"""Export a sweep as a study in a storage of Optuna, with its params as Optuna's distributions."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from smsweep.core.json_documents import Row
from smsweep.core.trial import MetricPoint, Trial, TrialState
from smsweep.errors import UsageError
from smsweep.exports.contents import PARAMS, Contents, curve, json_safe, params_in
from smsweep.space.distribution import Distribution
from smsweep.util import atomic_file

SQLITE = "sqlite:///"
MARK = "smsweep.export"  # user attribute of a study: "unfinished" until the export is complete
UNFINISHED = "unfinished"

STATES: Mapping[TrialState, OptunaState] = {
    TrialState.PENDING: OptunaState.WAITING,
    TrialState.RUNNING: OptunaState.RUNNING,
    TrialState.STOPPING: OptunaState.RUNNING,
    TrialState.FINISHED: OptunaState.COMPLETE,
    TrialState.FAILED: OptunaState.FAIL,
    TrialState.CRASHED: OptunaState.FAIL,
    TrialState.STOPPED: OptunaState.PRUNED,
    TrialState.KILLED: OptunaState.FAIL,
}
MAX_LISTED = 1_000  # values of a distribution that are listed even if no trial has them
EXACT = 2**53  # Optuna stores all params as floats
Encode = Callable[[Any], Any]  # converts smsweep's value of a param to Optuna's
Fitting = tuple[BaseDistribution, Encode]


def write(contents: Contents, url: str, *, force: bool) -> str:
    """Write the sweep as a study.

    A new file is written completely or not at all. In an existing database an incomplete study is marked, and the
    next export replaces it.

    Args:
        contents: The sweep.
        url: SQLAlchemy URL of a database, or path of a SQLite file. Other studies in it are not changed.
        force: Replace an existing study.

    Returns:
        The name of the study.

    Raises:
        UsageError: If the study exists and force is False, the sweep has no metric, or the database cannot be
            used.
    """
    if not contents.metrics:
        raise UsageError(f"sweep {contents.sweep['id']} has no metric, but a study of Optuna needs one")
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
    """Write a study. is_draft: the file is new and not read before it is complete, so trials need no fsync."""
    storage = RDBStorage(url)
    if is_draft:
        event.listen(storage.engine, "connect", lambda opened, record: opened.execute("PRAGMA synchronous = OFF"))
        storage.engine.dispose()  # closes connections without this listener
    try:
        _prepare_study(storage, contents.title, force=force)
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


def _prepare_study(storage: RDBStorage, title: str, *, force: bool) -> None:
    if title not in optuna.get_all_study_names(storage):
        return
    known = storage.get_study_user_attrs(storage.get_study_id_from_name(title))
    if not force and known.get(MARK) != UNFINISHED:
        raise UsageError(f"study {title} exists already; replace it with --force, or name another database")
    optuna.delete_study(study_name=title, storage=storage)


def _refuse_others(path: Path) -> None:
    """Raise UsageError for a file that is not a database of Optuna, so that its tables are not mixed up."""
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name a file in it")
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as err:
        raise UsageError(f"{path}: is not a SQLite database: {err}; name another file") from err
    if tables and "studies" not in tables:
        raise UsageError(f"{path}: is not a database of Optuna; name another file")


def _about(contents: Contents) -> dict[str, Any]:
    """Return the sweep's own data as user attributes."""
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
    if state == OptunaState.COMPLETE and values is None:
        state = OptunaState.FAIL  # Optuna requires a value of each complete trial
    has_values = state == OptunaState.COMPLETE or (state == OptunaState.PRUNED and len(contents.metrics) == 1)
    params = {name: known[name][1](value) for name, value in params_in(row).items()}
    ended = trial.ended_at or trial.created_at
    started = trial.started_at or ended
    return FrozenTrial(
        number=-1,  # set by the storage
        trial_id=-1,
        state=state,
        value=None,
        values=values if has_values else None,
        datetime_start=None if state == OptunaState.WAITING else _local(started),
        datetime_complete=_local(ended) if state.is_finished() else None,
        params=params,
        distributions={name: known[name][0] for name in params},
        user_attrs=json_safe({name: value for name, value in row.items() if not name.startswith(PARAMS)}),
        system_attrs={},
        intermediate_values=_intermediate(contents, points),
    )


def _intermediate(contents: Contents, points: list[MetricPoint]) -> dict[int, float]:
    """Return the metric's values by step; empty for several metrics, which Optuna does not support."""
    if len(contents.metrics) > 1:
        return {}
    values = curve(points, contents.metrics[0].name)
    return {step: value if isinstance(value, (int, float)) else math.nan for step, value in values.items()}


def _local(moment: datetime | None) -> datetime | None:
    """Return a time as Optuna stores it: local, without a time zone."""
    return moment.astimezone().replace(tzinfo=None) if moment else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna's logs, and its warnings that metric names and lists as choices are experimental."""
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
        lines = str(getattr(err, "orig", None) or err).splitlines() or [type(err).__name__]
        raise UsageError(f"Optuna cannot use this storage: {lines[0]}; name another storage with --to") from err


def fittings(contents: Contents) -> dict[str, Fitting]:
    """Return for each param, by its flat name, the closest distribution that contains the values of all trials."""
    leaves = {".".join(path): leaf for path, leaf in contents.config.space.leaves}
    fits = {}
    for column in contents.columns:
        if column.startswith(PARAMS):
            values = [row[column] for row in contents.rows if column in row]
            name = column.removeprefix(PARAMS)
            fits[name] = _fitting(leaves.get(name), values)
    return fits


def _fitting(leaf: Distribution | None, values: Sequence[Any]) -> Fitting:
    listed = _listed(leaf)
    is_category = leaf is None or leaf.size == 1 or leaf.kind.startswith("categorical")
    if leaf is not None and not is_category and all(map(_is_number, values)):
        return next(_numeric(leaf, values))
    if leaf is None and values and all(map(_is_number, values)):  # for example of a sweep on W&B's server
        return _seen(values)
    return _categorical([*listed, *values])


def _numeric(leaf: Distribution, values: Sequence[Any]) -> Iterator[Fitting]:
    """Yield distributions for numbers, the closest first; the last one contains any values."""
    is_log = "log" in leaf.kind and all(value > 0 for value in values)
    if leaf.size is not None:
        first, last = leaf.value_at(0), leaf.value_at(leaf.size - 1)
        step = getattr(leaf, "q", 1)
        low, high = min([first, *values]), max([last, *values])
        if all(map(_is_whole, (low, high, step))) and max(abs(low), abs(high)) <= EXACT:
            if is_log and low >= 1:
                yield IntDistribution(int(low), int(high), log=True), int
            elif all((value - low) % step == 0 for value in values):
                yield IntDistribution(int(low), int(high), step=int(step)), int
        if not is_log and all(_is_on(value, low, step) for value in [*values, high]):
            yield FloatDistribution(low, high, step=step), float
    bounds = getattr(leaf, "bounds", (-math.inf, math.inf))
    low, high = min([*_finite(bounds), *values]), max([*_finite(bounds), *values])
    yield FloatDistribution(low, high, log=is_log and low > 0), float


def _finite(bounds: Sequence[float]) -> list[float]:
    """Return the bounds if both are finite, otherwise nothing."""
    return list(bounds) if all(map(math.isfinite, bounds)) else []


def _seen(values: Sequence[Any]) -> Fitting:
    low, high = min(values), max(values)
    if all(map(_is_whole, values)) and max(abs(low), abs(high)) <= EXACT:
        return IntDistribution(int(low), int(high)), int
    return FloatDistribution(low, high), float


def _categorical(values: Sequence[Any]) -> Fitting:
    """Return a categorical distribution. Values that Optuna cannot distinguish become JSON text."""
    plain = [_choice(value) for value in values]
    choices = {(type(value), repr(value)): value for value in plain}
    if len({_same(value) for value in choices.values()}) == len(choices):
        return CategoricalDistribution(list(choices.values()) or [None]), _choice
    return CategoricalDistribution(list(dict.fromkeys(map(_label, values)))), _label


def _listed(leaf: Distribution | None) -> list[Any]:
    size = leaf.size if leaf is not None else None
    return [leaf.value_at(index) for index in range(size)] if leaf and size and size <= MAX_LISTED else []


def _choice(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str)) else _label(value)


def _label(value: Any) -> str:
    return json.dumps(json_safe(value), ensure_ascii=False, default=str)


def _same(value: Any) -> Any:
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int)


def _is_on(value: float, low: float, step: float) -> bool:
    """Return True if Optuna accepts a value as a whole number of steps above low."""
    steps = (value - low) / step
    return abs(steps - round(steps)) < 1e-8
