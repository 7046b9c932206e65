"""Conditions on the newest value of a metric, such as `val_loss > 10 after 3`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from smsweep.core.trial import Trial, is_number
from smsweep.errors import ConfigError

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
