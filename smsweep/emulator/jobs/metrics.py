"""FinalMetricDataList: metric values that MetricDefinitions match in a job's log."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from smsweep.core.line_regex import LineRegex, LineSearch
from smsweep.core.regex_syntax import RegexError


class MetricReader:
    """Parses metrics in log lines.

    Args:
        definitions: MetricDefinitions of the request. A definition with an invalid regex matches nothing, as on
            SageMaker.
    """

    def __init__(self, definitions: Sequence[Mapping[str, Any]]) -> None:
        regexes = [(item["Name"], _compiled(item["Regex"])) for item in definitions]
        self._search = LineSearch([(name, regex) for name, regex in regexes if regex is not None])

    def read(self, lines: Iterable[str], now: float) -> dict[str, tuple[float, float]]:
        """Return the last value of each metric in the lines: name -> (value, now)."""
        found = {}
        self._search.begin_page()
        for line in lines:
            if self._search.begin(line):
                for name, text in self._search.find(line):
                    value = _number(text)
                    if value is not None:
                        found[name] = (value, now)
        return found


def _compiled(regex: str) -> LineRegex | None:
    try:
        return LineRegex(regex)
    except RegexError:
        return None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None  # CloudWatch accepts only finite values
