"""Search and stopping as pure functions of plain data, in the manner of W&B's `sweeps` package."""

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
from smsweep.search.registry import make_strategy
from smsweep.services.sweeps.create import checked_seed
from smsweep.services.sweeps.load import check_can_run, load_job
from smsweep.services.sweeps.search_program import read_code, with_code
from smsweep.stopping.registry import make_rule
from smsweep.stopping.stop_if import parse_condition

TrialLike = Mapping[str, Any]
NO_JOB = load_job(None)
PLAIN = (float, int, str, bool, type(None))  # types that are taken as they are
STATES: Mapping[str, TrialState] = {
    **{state.value: state for state in TrialState},
    # W&B's words for a run whose machine is taken away, and that will go on elsewhere
    **dict.fromkeys(("preempting", "preempted"), TrialState.PENDING),
}


def suggest(config: Mapping[str, Any], trials: Iterable[TrialLike], n: int = 1, seed: int = 0) -> list[Params]:
    """Return params for up to n next trials; fewer than n means the space is used up.

    config: a W&B sweep config. trials: mappings with `number`, `params` (nested as in the config), `state` (a
    trial state or W&B's, default "finished"), `history` (rows of metrics, oldest first) and optionally `summary`.
    Same arguments, same answer; n at once equal n one by one, each added as pending.
    Raises ConfigError for a bad config or trial, UsageError for a seed below 0.
    """
    sweep_config = _read_config(config)
    check_can_run(sweep_config, NO_JOB.template)
    strategy = _strategy(config, sweep_config, checked_seed(seed))
    return [dict(params) for params in strategy.suggest(_read_history(sweep_config, trials), n)]


def judge(
    config: Mapping[str, Any], trials: Iterable[TrialLike], *, stop_if: Sequence[str] = ()
) -> list[StopDecision]:
    """Return which running trials should end early, and why, by ascending number.

    Arguments as for `suggest`; stop_if: conditions as in job.yaml, or a single one. Without these and without
    `early_terminate` in the config nobody is stopped.
    """
    sweep_config = _read_config(config)
    conditions = [stop_if] if isinstance(stop_if, str) else stop_if
    rule = make_rule(sweep_config, conditions)
    asked_of = {parse_condition(text).metric for text in conditions}
    return rule.judge(_read_history(sweep_config, trials, asked_of)) if rule is not None else []


@dataclass(frozen=True, kw_only=True, slots=True)
class _Document:
    """A config as a key: equal where it says the same, types and all."""

    said: bytes
    itself: Mapping[str, Any] = field(compare=False)


# Callers ask again and again with the same config, and reading it takes longer than many an answer.


def _read_config(document: Mapping[str, Any]) -> SweepConfig:
    key = _as_key(document)
    return _config_of(key) if key is not None else parse_sweep(document).config


def _strategy(document: Mapping[str, Any], config: SweepConfig, seed: int) -> SearchStrategy:
    if code := read_code(config, NO_JOB, None):
        return make_strategy(with_code(config, code), seed)  # the file may be another than at the last call
    key = _as_key(document)
    # a strategy keeps what it derived of the last history, so each thread has its own
    return make_strategy(config, seed) if key is None else _strategy_of(key, seed, threading.get_ident())


def _as_key(document: Mapping[str, Any]) -> _Document | None:
    try:
        return _Document(said=pickle.dumps(document), itself=document)
    except Exception:  # noqa: BLE001 - whatever objects of the caller's may raise
        return None


@functools.lru_cache(maxsize=16)
def _config_of(key: _Document) -> SweepConfig:
    return parse_sweep(key.itself).config


@functools.lru_cache(maxsize=16)
def _strategy_of(key: _Document, seed: int, thread: int) -> SearchStrategy:
    return make_strategy(_config_of(key), seed)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The metrics that matter. Rows hold many others, and a history many rows."""

    names: Collection[str]  # flattened
    heads: frozenset[str]  # keys of a row under which one of them may be nested

    @classmethod
    def of(cls, names: Collection[str]) -> _Wanted:
        parts = [name.split(".") for name in names]
        return cls(names, frozenset(".".join(part[:n]) for part in parts for n in range(1, len(part))))


def _read_history(config: SweepConfig, trials: Iterable[TrialLike], others: Collection[str] = ()) -> History:
    """others: metrics, besides those of the config, that the trials are asked about."""
    if isinstance(trials, (str, Mapping)) or not isinstance(trials, Iterable):
        raise ConfigError(f"trials: expected a list of trials, got {show(trials)}")
    wanted = _Wanted.of({*(metric.name for metric in config.all_metrics), *others})
    read = [_read_trial(config, wanted, index, trial) for index, trial in enumerate(trials)]
    numbers = Counter(trial.number for trial in read)
    for number, times in numbers.items():
        if times > 1:
            raise ConfigError(f"trials: {times} of them have number {number}; number them all, or none")
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
        raise ConfigError(f"trials[{index}].state: {state!r} is no trial state; use one of {', '.join(STATES)}")
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
    """Return what each metric came to, and the finite values of the sweep's."""
    flat = []
    for row in rows:
        if not _is_mapping(row):
            raise ConfigError(f"trials[{index}].history: a row is a mapping of metrics, got {row!r}")
        flat.append(row if wanted.heads.isdisjoint(row) else dict(_flat(row)))
    stats: dict[str, MetricStats] = {}
    curve: tuple[float, ...] = ()
    for name in wanted.names:
        said = [row[name] for row in flat if name in row]
        said = [v if type(v) in PLAIN else _plain(v) for v in said if not _is_mapping(v)]
        if not said:
            continue
        numbers = [float(v) for v in said if is_number(v)]
        low, high = min(numbers, default=math.inf), max(numbers, default=-math.inf)
        stats[name] = MetricStats(last=said[-1], count=len(numbers), min=low, max=high)
        if metric is not None and name == metric.name:
            curve = tuple(numbers)
    return stats, curve


def _is_mapping(value: object) -> bool:
    return type(value) is dict or isinstance(value, Mapping)  # the first, as nearly all are, takes no time


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
    """Return what a numpy or torch scalar holds; None for an array of several values."""
    try:
        return value.item() if hasattr(value, "item") else value
    except (ValueError, RuntimeError):
        return None
