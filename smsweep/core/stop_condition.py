"""Conditions on what a trial reports, as people write them: `val_loss > 10 after 3`."""

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

MAX_TEXT = 500  # characters of a condition; nobody means a longer one
FORMS = (
    "METRIC is nan, METRIC is inf, or METRIC < NUMBER (or <=, >, >=), and then maybe: after N; "
    "of several, each as an item of its own"
)
_FORM = re.compile(
    r"\s*(?P<metric>[^\s<>][^<>]*?)"
    r"(?:\s+is\s+(?P<kind>nan|inf)|\s*(?P<comparison><=|>=|<|>)\s*(?P<number>[^\s<>=]+))"
    r"(?:\s+after\s+(?P<after>[0-9]+))?\s*\Z"
)
# What no metric's name holds: there, more was meant than is said, as in "loss is nan or loss > 9".
_MEANT = re.compile(r"\s(?:is\s+(?:nan|inf)|after\s+[0-9]+)(?:\s|\Z)|=\Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """True of a trial, or not, by the newest value that it reported of one metric."""

    text: str  # as written
    metric: str
    after: int = 0  # it takes so many finite values of the metric before it can be true
    is_true_of: Callable[[float], bool]  # of any float, NaN included

    def holds(self, trial: Trial) -> bool:
        stats = trial.metrics.get(self.metric)
        if stats is None or stats.count < self.after:
            return False
        value = stats.last
        if is_number(value) or isinstance(value, float):  # bools and text are no values to compare
            return self.is_true_of(float(value))
        return False


def parse_condition(text: str) -> Condition:
    """Read one condition; a metric's name may hold dots, slashes and blanks.

    Nothing is evaluated but a comparison with one number. Raises ConfigError for anything else.
    """
    found = _FORM.match(text) if len(text) <= MAX_TEXT else None
    if found is None or _MEANT.search(found["metric"]):
        raise ConfigError(f"{text[:MAX_TEXT]!r} is no condition; write {FORMS}")
    metric, kind, comparison = found["metric"], found["kind"], found["comparison"]
    return Condition(
        text=" ".join(text.split()),
        metric=metric,
        after=int(found["after"] or 0),
        is_true_of=KINDS[kind] if kind else _compared(comparison, _number(found["number"], text)),
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
