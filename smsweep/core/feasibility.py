"""Outcome constraints, such as `latency <= 50`: conditions that the metrics of a usable trial meet."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from smsweep.core.condition import Condition, parse_condition
from smsweep.core.confirm import assignments
from smsweep.core.objective import last_value, mean
from smsweep.core.trial import Trial, TrialState, is_number
from smsweep.errors import ConfigError

ENDED = (TrialState.FINISHED, TrialState.STOPPED)  # states in which a missing value violates a constraint


@functools.lru_cache(maxsize=256)
def parse_outcome_constraint(text: str) -> Condition:
    """Parse one constraint.

    Args:
        text: `METRIC <= NUMBER` (also `<`, `>=`, `>`).

    Raises:
        ConfigError: If the text has another form.
    """
    condition = parse_condition(text)
    if condition.bound is None or condition.after:
        raise ConfigError(f"{text!r} is not an outcome constraint; write METRIC <= NUMBER (or <, >, >=)")
    return condition


def value_of_constraint(trial: Trial, constraint: Condition) -> float | None:
    """Return the last value of the metric of a constraint, as a finite number; None without one."""
    value = last_value(trial, constraint.metric)
    return float(value) if is_number(value) else None


def is_feasible(trial: Trial, constraints: Iterable[str]) -> bool:
    """Return True if a trial has reported values that meet all constraints."""
    return not any(_is_violated(trial, text) is not False for text in constraints)


def violated(trial: Trial, constraints: Iterable[str]) -> list[str]:
    """Return the constraints that a trial is known to violate.

    A constraint without a value is violated when the trial has ended, and unknown before.
    """
    return [text for text in constraints if _is_violated(trial, text)]


def _is_violated(trial: Trial, text: str) -> bool | None:
    constraint = parse_outcome_constraint(text)
    value = value_of_constraint(trial, constraint)
    if value is None:
        return True if trial.state in ENDED else None
    return not constraint.is_true_of(value)


def feasible_assignments(trials: Iterable[Trial], constraints: Sequence[str]) -> list[Trial]:
    """Return the trials whose assignment meets all constraints, by the mean over its finished trials.

    Args:
        trials: All trials of a sweep; some can repeat others.
        constraints: The texts of the constraints.
    """
    if not constraints:
        return list(trials)
    kept: list[Trial] = []
    for members in assignments(trials).values():
        counted = [trial for trial in members if trial.state is TrialState.FINISHED]
        if counted and all(_mean_holds(counted, parse_outcome_constraint(text)) for text in constraints):
            kept += members
    return sorted(kept, key=lambda trial: trial.number)


def _mean_holds(trials: Sequence[Trial], constraint: Condition) -> bool:
    values = [value for trial in trials if (value := value_of_constraint(trial, constraint)) is not None]
    return bool(values) and constraint.is_true_of(mean(values))
