"""Search and stopping as pure functions of plain data, in the manner of W&B's `sweeps` package."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from smsweep.config.document import show
from smsweep.config.sweep_yaml import parse_sweep
from smsweep.errors import ConfigError
from smsweep.sdk.create import check_can_run
from smsweep.search.methods import make_strategy
from smsweep.stopping.rules import make_rule
from smsweep.sweeps import SweepConfig
from smsweep.trials import History, MetricStats, Params, Scalar, StopDecision, Trial, TrialState, is_number

TrialLike = Mapping[str, Any]
EPOCH = datetime.fromtimestamp(0, timezone.utc)


def suggest(config: Mapping[str, Any], trials: Iterable[TrialLike], n: int = 1, seed: int = 0) -> list[Params]:
    """Return params for up to n next trials; fewer than n means the space is used up.

    config: a W&B sweep config. trials: mappings with `number`, `params` (nested as in the config), `state`
    (a trial state, default "finished"), `history` (rows of metrics, oldest first) and optionally `summary`.
    Same arguments, same answer; n at once equal n one by one, each added as pending.
    Raises ConfigError for a bad config or trial.
    """
    sweep_config = parse_sweep(config).config
    check_can_run(sweep_config)
    strategy = make_strategy(sweep_config, seed)
    return [dict(params) for params in strategy.suggest(read_history(sweep_config, trials), n)]


def judge(
    config: Mapping[str, Any], trials: Iterable[TrialLike], *, stop_if: Sequence[str] = ()
) -> list[StopDecision]:
    """Return which running trials should end early, and why, by ascending number.

    Arguments as for `suggest`; stop_if: conditions as in job.yaml. Without these and without `early_terminate` in
    the config nobody is stopped.
    """
    sweep_config = parse_sweep(config).config
    rule = make_rule(sweep_config, stop_if)
    return rule.judge(read_history(sweep_config, trials)) if rule is not None else []


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
    if not isinstance(trial, Mapping):
        raise ConfigError(f"trials[{index}]: expected a mapping with number, params, state, ..., got {trial!r}")
    number = _plain(trial.get("number", index))
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise ConfigError(f"trials[{index}].number: expected a whole number from 0, got {number!r}")
    for part in ("params", "summary"):
        if not isinstance(trial.get(part) or {}, Mapping):
            raise ConfigError(f"trials[{index}].{part}: expected a mapping, got {trial[part]!r}")
    state = trial.get("state", TrialState.FINISHED)
    if state not in tuple(TrialState):
        known = ", ".join(state.value for state in TrialState)
        raise ConfigError(f"trials[{index}].state: {state!r} is no trial state; use one of {known}")
    stats: dict[str, MetricStats] = {}
    curve = []
    for row in trial.get("history") or ():
        if not isinstance(row, Mapping):
            raise ConfigError(f"trials[{index}].history: a row is a mapping of metrics, got {row!r}")
        flat = dict(_flat(row))
        for name, value in flat.items():
            stats[name] = stats.get(name, MetricStats()).add(value)
        value = flat.get(config.metric.name) if config.metric else None
        if is_number(value):
            curve.append(float(value))  # type: ignore[arg-type]  # is_number just said so
    return Trial(
        number=number,
        params=_plain_params(trial.get("params") or {}),
        state=TrialState(state),
        metrics=stats,
        summary=dict(_flat(trial.get("summary") or {})),
        curve=tuple(curve),
        n_points=sum(stat.count for stat in stats.values()),
    )


def _flat(row: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Scalar]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _plain(value)


def _plain_params(params: Mapping[str, Any]) -> Params:
    return {
        name: _plain_params(value) if isinstance(value, Mapping) else _plain(value)
        for name, value in params.items()
    }


def _plain(value: Any) -> Any:
    """Return what a numpy or torch scalar holds; None for an array of several values."""
    try:
        return value.item() if hasattr(value, "item") else value
    except (ValueError, RuntimeError):
        return None
