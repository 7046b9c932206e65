"""Conditions on the values of a metric.

`stop_if` has conditions on the newest value, such as `val_loss > 10 after 3`. Outcome constraints, such as
`latency <= 50`, are conditions that a usable trial meets.
"""

from __future__ import annotations

import functools
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from smsweep.core.confirm import assignments
from smsweep.core.objective import last_value, mean
from smsweep.core.trial import Trial, TrialState, is_number
from smsweep.errors import ConfigError

ENDED = (TrialState.FINISHED, TrialState.STOPPED)  # states in which a missing value violates a constraint
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
KINDS: Mapping[str, Callable[[float], bool]] = {"nan": math.isnan, "inf": math.isinf}
MAX_TEXT = 500  # characters of a condition
FORMS = (
    "METRIC is nan, METRIC is inf, or METRIC < NUMBER (or <=, >, >=), optionally followed by: after N; "
    "write several conditions as a list"
)
_FORM = re.compile(
    r"\s*(?P<metric>[^\s<>][^<>]*?)"
    r"(?:\s+is\s+(?P<kind>nan|inf)|\s*(?P<comparison><=|>=|<|>)\s*(?P<number>[^\s<>=]+))"
    r"(?:\s+after\s+(?P<after>[0-9]+))?\s*\Z"
)
# Parts of a second condition, as in "loss is nan or loss > 9". A metric name must not contain them.
_SECOND_CONDITION = re.compile(r"\s(?:is\s+(?:nan|inf)|after\s+[0-9]+)(?:\s|\Z)|=\Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """A condition on the newest value of one metric."""

    text: str  # as the user wrote it, with single spaces
    metric: str
    after: int = 0  # the condition is False until the trial reported so many finite values
    is_true_of: Callable[[float], bool]  # accepts any float, including NaN
    bound: tuple[str, float] | None = None  # comparison and number; None for `is nan` and `is inf`

    def holds(self, trial: Trial) -> bool:
        """Return True if the condition is true for a trial."""
        stats = trial.metrics.get(self.metric)
        if stats is None or stats.count < self.after:
            return False
        value = stats.last
        if is_number(value) or isinstance(value, float):  # bool and str cannot be compared
            return self.is_true_of(float(value))
        return False


def parse_condition(text: str) -> Condition:
    """Parse one condition.

    Args:
        text: `METRIC is nan`, `METRIC is inf` or `METRIC < NUMBER` (also `<=`, `>`, `>=`), optionally followed
            by `after N`. A metric name can contain dots, slashes and spaces.

    Returns:
        The condition.

    Raises:
        ConfigError: If the text has another form, or the number is not finite.
    """
    match = _FORM.match(text) if len(text) <= MAX_TEXT else None
    if match is None or _SECOND_CONDITION.search(match["metric"]):
        raise ConfigError(f"{text[:MAX_TEXT]!r} is not a valid condition; write {FORMS}")
    metric, kind, comparison = match["metric"], match["kind"], match["comparison"]
    bound = (comparison, _number(match["number"], text)) if comparison else None
    return Condition(
        text=" ".join(text.split()),
        metric=metric,
        after=int(match["after"] or 0),
        is_true_of=_compared(*bound) if bound else KINDS[kind],
        bound=bound,
    )


def _compared(comparison: str, bound: float) -> Callable[[float], bool]:
    compare = COMPARISONS[comparison]
    return lambda value: compare(value, bound)


def _number(text: str, condition: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{condition!r} compares with {text!r}; write a finite number, or is nan, is inf")
    return number


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
