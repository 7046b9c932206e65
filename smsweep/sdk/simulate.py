"""Search and stopping as pure functions of plain data, in the manner of W&B's `sweeps` package."""

from __future__ import annotations

import functools
import math
import pickle
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from smsweep.config.document import show
from smsweep.config.sweep_yaml import parse_sweep
from smsweep.errors import ConfigError
from smsweep.sdk.create import check_can_run
from smsweep.search.base import SearchStrategy
from smsweep.search.methods import make_strategy
from smsweep.stopping.rules import make_rule
from smsweep.sweeps import SweepConfig
from smsweep.trials import History, MetricStats, Params, Scalar, StopDecision, Trial, TrialState, is_number

TrialLike = Mapping[str, Any]
PLAIN = (float, int, str, bool, type(None))  # types that are taken as they are
STATES = {state.value: state for state in TrialState}
EPOCH = datetime.fromtimestamp(0, timezone.utc)


def suggest(config: Mapping[str, Any], trials: Iterable[TrialLike], n: int = 1, seed: int = 0) -> list[Params]:
    """Return params for up to n next trials; fewer than n means the space is used up.

    config: a W&B sweep config. trials: mappings with `number`, `params` (nested as in the config), `state`
    (a trial state, default "finished"), `history` (rows of metrics, oldest first) and optionally `summary`.
    Same arguments, same answer; n at once equal n one by one, each added as pending.
    Raises ConfigError for a bad config or trial.
    """
    sweep_config = _read_config(config)
    check_can_run(sweep_config)
    strategy = _strategy(config, sweep_config, seed)
    return [dict(params) for params in strategy.suggest(read_history(sweep_config, trials), n)]


def judge(
    config: Mapping[str, Any], trials: Iterable[TrialLike], *, stop_if: Sequence[str] = ()
) -> list[StopDecision]:
    """Return which running trials should end early, and why, by ascending number.

    Arguments as for `suggest`; stop_if: conditions as in job.yaml. Without these and without `early_terminate` in
    the config nobody is stopped.
    """
    sweep_config = _read_config(config)
    rule = make_rule(sweep_config, stop_if)
    return rule.judge(read_history(sweep_config, trials)) if rule is not None else []


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


def read_history(config: SweepConfig, trials: Iterable[TrialLike]) -> History:
    if isinstance(trials, (str, Mapping)) or not isinstance(trials, Iterable):
        raise ConfigError(f"trials: expected a list of trials, got {show(trials)}")
    read = [_read_trial(config, index, trial) for index, trial in enumerate(trials)]
    numbers = Counter(trial.number for trial in read)
    for number, times in numbers.items():
        if times > 1:
            raise ConfigError(f"trials: {times} of them have number {number}; number them all, or none")
    return History(read)


def _read_trial(config: SweepConfig, index: int, trial: TrialLike) -> Trial:
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
    stats, curve = _read_rows(index, trial.get("history") or (), config.metric.name if config.metric else None)
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
    index: int, rows: Iterable[Mapping[str, Any]], metric: str | None
) -> tuple[dict[str, MetricStats], tuple[float, ...]]:
    """Return what each metric came to, and the finite values of the sweep's."""
    values: dict[str, list[Scalar]] = {}
    for row in rows:
        if not _is_mapping(row):
            raise ConfigError(f"trials[{index}].history: a row is a mapping of metrics, got {row!r}")
        for name, value in dict(_flat(row)).items():
            values.setdefault(name, []).append(value)
    numbers = {name: [float(v) for v in said if is_number(v)] for name, said in values.items()}  # type: ignore[arg-type]  # is_number just said so
    stats = {
        name: MetricStats(
            last=said[-1],
            count=len(numbers[name]),
            min=min(numbers[name], default=math.inf),
            max=max(numbers[name], default=-math.inf),
        )
        for name, said in values.items()
    }
    return stats, tuple(numbers.get(metric or "", ()))


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
