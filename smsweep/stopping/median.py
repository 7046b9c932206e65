"""The median rule: stop what at its best does worse than others did on average."""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass

from smsweep.core.sweep import SweepConfig
from smsweep.core.trial import History, StopDecision, TrialState
from smsweep.errors import ConfigError
from smsweep.stopping.base import told_apart

MIN_TRIALS = 3  # others with as many points, before one is judged
EXTREME = 1e300  # values beyond count as this: their sums must stay finite


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """What the rule keeps of one trial; of values, lower is better. Neither is empty."""

    averages: tuple[float, ...]  # of the values up to each point
    best: float  # of all values


class MedianRule:
    """Stops a running trial whose best value is worse than the median of what others averaged by then.

    The others are all trials of this sweep, in whatever state, with at least as many points as it has; each
    counts with the mean of its first so many values. From min_iter points on, and once there are min_trials
    others (3 unless given).
    Raises ConfigError when the config names no metric.
    Source: Google Vizier, doi:10.1145/3097983.3098043, section 3.2.2.
    """

    def __init__(self, config: SweepConfig) -> None:
        rule, metric = config.early_terminate, config.metric
        if rule is None or metric is None:
            raise ConfigError("early_terminate: median compares trials by the sweep's metric; add `metric`")
        self._metric = metric
        self._min_points = rule.min_iter or 1
        self._min_trials = rule.min_trials or MIN_TRIALS
        self._history: History | None = None

    def judge(self, history: History) -> list[StopDecision]:
        if history is not self._history:
            self._history = history
            self._cursor = 0
            self._courses: dict[int, Course] = {}  # by trial number
            self._running: set[int] = set()
            self._decisions: list[StopDecision] = []
        changed, self._cursor = history.since(self._cursor)
        for number in changed:
            self._fold_in(number, history)
        if changed:
            verdicts = (self._verdict(number) for number in sorted(self._running))
            self._decisions = [verdict for verdict in verdicts if verdict is not None]
        return list(self._decisions)

    def _fold_in(self, number: int, history: History) -> None:
        self._courses.pop(number, None)
        self._running.discard(number)
        trial = history.get(number)
        if trial is None or not trial.curve:
            return
        sign = self._metric.goal.sign
        values = [min(max(sign * value, -EXTREME), EXTREME) for value in trial.curve]
        sums = itertools.accumulate(values)
        averages = tuple(total / n for n, total in enumerate(sums, 1))
        self._courses[number] = Course(averages=averages, best=min(values))
        if trial.state is TrialState.RUNNING and len(values) >= self._min_points:
            self._running.add(number)

    def _verdict(self, number: int) -> StopDecision | None:
        own = self._courses[number]
        n_points = len(own.averages)
        others = [
            course.averages[n_points - 1]
            for other, course in self._courses.items()
            if other != number and len(course.averages) >= n_points
        ]
        if len(others) < self._min_trials:
            return None
        threshold = statistics.median(others)
        if own.best <= threshold:
            return None
        name, sign = self._metric.name, self._metric.goal.sign
        is_at, limit = told_apart(sign * own.best, sign * threshold)
        return StopDecision(
            number=number,
            evidence={
                "rule": "median",
                "metric": name,
                "band": n_points,
                "value": sign * own.best,
                "threshold": sign * threshold,
                "peers": len(others),
            },
            reason=(
                f"median: after {n_points} points its best {name} {is_at} is worse than "
                f"{limit}, the median of what {len(others)} other trials averaged by then"
            ),
        )
