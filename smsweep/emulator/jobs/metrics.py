"""FinalMetricDataList: what MetricDefinitions find in a job's log lines."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MAX_LINE = 65_536  # characters of a line that are looked at


class MetricReader:
    """definitions: the request's; one whose regex Python cannot read finds nothing, as on SageMaker."""

    def __init__(self, definitions: Sequence[Mapping[str, Any]]) -> None:
        self._definitions = [
            (item["Name"], pattern) for item in definitions if (pattern := _compiled(item["Regex"])) is not None
        ]

    def read(self, lines: Iterable[str], now: float) -> dict[str, tuple[float, float]]:
        """Return each metric's last value in the lines, with the time."""
        found = {}
        for line in lines:
            for name, pattern in self._definitions:
                for match in pattern.finditer(line[:MAX_LINE]):
                    value = _number(match)
                    if value is not None:
                        found[name] = (value, now)
        return found


def _compiled(regex: str) -> re.Pattern[str] | None:
    try:
        pattern = re.compile(regex)
    except re.error:
        return None
    return pattern if pattern.groups else None


def _number(match: re.Match[str]) -> float | None:
    try:
        value = float(match[1] or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None  # CloudWatch takes no others
