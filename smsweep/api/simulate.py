"""Search and early stopping as pure functions of plain data, like W&B's `sweeps` package."""

from __future__ import annotations

import functools
import math
import pickle  # writes a comparison key, and loads nothing # nosec B403
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from smsweep.config_files.document import show
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.condition import parse_condition
from smsweep.core.sweep import Metric, SweepConfig
from smsweep.core.trial import (
    History,
    MetricStats,
    Params,
    Scalar,
    StopDecision,
    Trial,
    TrialState,
    is_number,
)
from smsweep.errors import ConfigError
from smsweep.search.base import SearchStrategy
from smsweep.search.optuna_study import study_pruner
from smsweep.search.registry import make_strategy
from smsweep.services.sweeps.create import checked_seed
from smsweep.services.sweeps.load import JobLike, check_can_run, load_job
from smsweep.services.sweeps.search_program import read_code, with_code
from smsweep.stopping.registry import make_rule

TrialLike = Mapping[str, Any]
NO_JOB = load_job(None)
PLAIN = (float, int, str, bool, type(None))  # types that need no conversion
STATES: Mapping[str, TrialState] = {
    **{state.value: state for state in TrialState},
    # W&B's states of a run whose machine is preempted, and that will continue on another machine
    **dict.fromkeys(("preempting", "preempted"), TrialState.PENDING),
}


def suggest(
    config: Mapping[str, Any], trials: Iterable[TrialLike], n: int = 1, seed: int = 0, *, job: JobLike = None
) -> list[Params]:
    """Return the params of the next trials.

    The result depends only on the arguments. A call with n trials gives the same params as n calls with one trial,
    if each result is added to `trials` as pending.

    Args:
        config: A W&B sweep config.
        trials: The trials so far. Mappings with `number`, `params` (nested as in the config), `state` (a trial
            state or W&B's; default: "finished"), `history` (rows of metrics, oldest first), and optionally
            `summary`.
        n: Maximum number of trials to propose.
        seed: Random seed for the search.
        job: A job.yaml, as a dict or a path, whose `search`, `repeats` and `budget` apply. Default: none.

    Returns:
        The params of each proposed trial. Fewer than n if the search space is exhausted.

    Raises:
        ConfigError: If the config, the job.yaml or a trial is invalid.
        UsageError: If the seed is invalid.
    """
    sweep_config = _read_config(config)
    parsed_job = NO_JOB if job is None else load_job(job)
    structured = check_can_run(sweep_config, parsed_job)
    if job is None:
        strategy = _strategy(config, sweep_config, checked_seed(seed))
    else:  # not cached, because the file can change
        coded = with_code(structured, read_code(sweep_config, parsed_job, None))
        strategy = make_strategy(coded, checked_seed(seed), parsed_job.template)
    return [dict(params) for params in strategy.suggest(_read_history(sweep_config, trials), n)]


def judge(
    config: Mapping[str, Any], trials: Iterable[TrialLike], *, stop_if: Sequence[str] = ()
) -> list[StopDecision]:
    """Return which running trials to stop early.

    Args:
        config: A W&B sweep config. Its `early_terminate` is a stopping rule.
        trials: The trials so far, as for `suggest`.
        stop_if: Conditions as in a job.yaml, or a single condition.

    Returns:
        A decision with its evidence for each trial to stop, by ascending number. Empty without rules.

    Raises:
        ConfigError: If the config, a trial or a condition is invalid.
    """
    sweep_config = _read_config(config)
    conditions = [stop_if] if isinstance(stop_if, str) else stop_if
    code = read_code(sweep_config, NO_JOB, None)
    rule = make_rule(sweep_config, conditions, study_pruner(with_code(sweep_config, code), 0))
    metrics = {parse_condition(text).metric for text in conditions}
    return rule.judge(_read_history(sweep_config, trials, metrics)) if rule is not None else []


@dataclass(frozen=True, kw_only=True, slots=True)
class _Document:
    """A config as a cache key. Two keys are equal if the configs have the same values and types."""

    pickled: bytes
    document: Mapping[str, Any] = field(compare=False)


def _read_config(document: Mapping[str, Any]) -> SweepConfig:
    """Parse a config. Cache the result, because parsing often takes longer than the search."""
    key = _as_key(document)
    return _config_of(key) if key is not None else parse_sweep(document).config


def _strategy(document: Mapping[str, Any], config: SweepConfig, seed: int) -> SearchStrategy:
    if code := read_code(config, NO_JOB, None):
        return make_strategy(with_code(config, code), seed)  # not cached, because the file can change
    key = _as_key(document)
    # A strategy keeps data derived from the last history, so each thread needs its own strategy.
    return make_strategy(config, seed) if key is None else _strategy_of(key, seed, threading.get_ident())


def _as_key(document: Mapping[str, Any]) -> _Document | None:
    try:
        return _Document(pickled=pickle.dumps(document), document=document)
    except Exception:  # noqa: BLE001 - objects of the caller can raise any exception
        return None


@functools.lru_cache(maxsize=16)
def _config_of(key: _Document) -> SweepConfig:
    return parse_sweep(key.document).config


@functools.lru_cache(maxsize=16)
def _strategy_of(key: _Document, seed: int, thread: int) -> SearchStrategy:
    return make_strategy(_config_of(key), seed)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The metrics to read. Rows can have many others, and a history can have many rows."""

    names: Collection[str]  # flattened
    heads: frozenset[str]  # keys of a row that can contain one of the metrics in a nested mapping

    @classmethod
    def of(cls, names: Collection[str]) -> _Wanted:
        parts = [name.split(".") for name in names]
        return cls(names, frozenset(".".join(part[:n]) for part in parts for n in range(1, len(part))))


def _read_history(config: SweepConfig, trials: Iterable[TrialLike], others: Collection[str] = ()) -> History:
    """Read the trials. others: metrics to read in addition to those of the config."""
    if isinstance(trials, (str, Mapping)) or not isinstance(trials, Iterable):
        raise ConfigError(f"trials: expected a list of trials, got {show(trials)}")
    wanted = _Wanted.of({*(metric.name for metric in config.all_metrics), *others})
    read = [_read_trial(config, wanted, index, trial) for index, trial in enumerate(trials)]
    numbers = Counter(trial.number for trial in read)
    for number, times in numbers.items():
        if times > 1:
            raise ConfigError(f"trials: {times} of them have number {number}; number all differently, or none")
    return History(read)


def _read_trial(config: SweepConfig, wanted: _Wanted, index: int, trial: TrialLike) -> Trial:
    if not _is_mapping(trial):
        raise ConfigError(f"trials[{index}]: expected a mapping with number, params, state, ..., got {trial!r}")
    number = trial.get("number", index)
    if type(number) is not int:
        number = _plain(number)
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise ConfigError(f"trials[{index}].number: expected a whole number from 0, got {number!r}")
    for part in ("params", "summary"):
        if not _is_mapping(trial.get(part) or {}):
            raise ConfigError(f"trials[{index}].{part}: expected a mapping, got {trial[part]!r}")
    state = trial.get("state", TrialState.FINISHED)
    if not isinstance(state, str) or state not in STATES:
        raise ConfigError(f"trials[{index}].state: {state!r} is not a trial state; use one of {', '.join(STATES)}")
    rows = trial.get("history")
    if rows is not None and not isinstance(rows, Iterable):
        raise ConfigError(f"trials[{index}].history: expected a list of rows, got {rows!r}")
    stats, curve = _read_rows(index, () if rows is None else rows, wanted, config.metric)
    return Trial(
        number=number,
        params=_plain_params(trial.get("params") or {}),
        state=STATES[state],
        metrics=stats,
        summary=dict(_flat(trial.get("summary") or {})),
        curve=curve,
        n_points=sum(stat.count for stat in stats.values()),
    )


def _read_rows(
    index: int, rows: Iterable[Mapping[str, Any]], wanted: _Wanted, metric: Metric | None
) -> tuple[dict[str, MetricStats], tuple[float, ...]]:
    """Return the statistics of each metric, and the finite values of the sweep's metric."""
    flat = []
    for row in rows:
        if not _is_mapping(row):
            raise ConfigError(f"trials[{index}].history: expected rows that are mappings of metrics, got {row!r}")
        flat.append(row if wanted.heads.isdisjoint(row) else dict(_flat(row)))
    stats: dict[str, MetricStats] = {}
    curve: tuple[float, ...] = ()
    for name in wanted.names:
        values = [row[name] for row in flat if name in row]
        values = [v if type(v) in PLAIN else _plain(v) for v in values if not _is_mapping(v)]
        if not values:
            continue
        numbers = [float(v) for v in values if is_number(v)]
        low, high = min(numbers, default=math.inf), max(numbers, default=-math.inf)
        stats[name] = MetricStats(last=values[-1], count=len(numbers), min=low, max=high)
        if metric is not None and name == metric.name:
            curve = tuple(numbers)
    return stats, curve


def _is_mapping(value: object) -> bool:
    return type(value) is dict or isinstance(value, Mapping)  # the first test is faster and usually sufficient


def _flat(row: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Scalar]]:
    for name, value in row.items():
        if type(value) in PLAIN:
            yield prefix + name, value
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _plain(value)


def _plain_params(params: Mapping[str, Any]) -> Params:
    return {
        name: value
        if type(value) in PLAIN
        else _plain_params(value)
        if isinstance(value, Mapping)
        else _plain(value)
        for name, value in params.items()
    }


def _plain(value: Any) -> Any:
    """Return the value of a numpy or torch scalar; None for an array with several values."""
    try:
        return value.item() if hasattr(value, "item") else value
    except (ValueError, RuntimeError):
        return None
