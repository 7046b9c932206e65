"""What one look at a sweep shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from smsweep.trials import MetricPoint, Trial, is_number

Data = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """A trial that an agent holds."""

    trial: Data  # as `smsweep trials --json`
    step: int | None  # of the newest report; where the script counts none, how often it reported the metric
    curve: Sequence[float]  # finite values of the sweep's (first) metric in its current attempt, oldest first
    waits_for: str = ""  # "quota", "capacity", "credentials", "backend"; "" when its job has started
    is_lost: bool = False  # its agent has given no sign of life for longer than it may


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """One look at a sweep."""

    shown: Data  # as `smsweep show --json`
    slots: Sequence[Slot]  # by ascending number
    reasons: Sequence[tuple[str, int]]  # why trials failed or crashed, and how many; the most frequent first
    n_ended: int  # trials
    fixed: frozenset[str]  # params that are the same in every trial, nested ones joined by dots
    started_at: datetime | None  # when the first trial was; None while none was
    eta_s: float | None  # until the expected trials have ended; None while nobody can tell
    at: datetime
    is_over: bool  # no trial will start, and none runs
    events: Sequence[Data] = ()  # since the look before, oldest first; see `Watcher.look`

    @property
    def expected(self) -> int | None:
        count: int | None = self.shown["expected_trial_count"]
        return count


class Curve:
    """What one attempt of an active trial reported of the sweep's metric, read in pieces."""

    def __init__(self, attempt: int) -> None:
        self.attempt = attempt
        self.n_read = 0  # points of any metric
        self.step: int | None = None  # of the newest one that has any
        self.values: list[float] = []
        # The first report of a further attempt replaces some of what the one before said: read all once more.
        self.is_settled = attempt == 0

    def fits(self, trial: Trial) -> bool:
        """Tell whether what was read is the beginning of what there is."""
        has_news = self.n_read != trial.n_points
        return (
            self.attempt == trial.attempt and self.n_read <= trial.n_points and (self.is_settled or not has_news)
        )

    def add(self, points: Iterable[MetricPoint], metric: str) -> None:
        for point in points:
            self.n_read += 1
            self.step = point.step if point.step is not None else self.step
            if point.name == metric and is_number(point.value):
                self.values.append(float(point.value or 0))
