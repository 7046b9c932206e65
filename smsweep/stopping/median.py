"""The median rule: stop a trial whose best value is worse than the other trials' averages."""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass

from smsweep.core.sweep import Metric
from smsweep.core.trial import History, StopDecision, TrialState
from smsweep.stopping.base import MedianOptions, distinct_texts

EXTREME = 1e300  # larger values count as this value, so that sums stay finite


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """The values of one trial, with the sign that makes lower better. At least one value."""

    averages: tuple[float, ...]  # of the values up to each point
    best: float  # of all values


class MedianRule:
    """Stops a running trial whose best value is worse than the median of the other trials' averages.

    The others are all trials of this sweep, in any state, that have at least as many points as the trial. Each of
    them counts with the mean of its values up to that number of points.

    Args:
        metric: The metric that trials are compared by.
        options: The keys of `early_terminate`. A trial is judged from min_iter points on, if there are at least
            min_trials others.

    Source: Google Vizier, doi:10.1145/3097983.3098043, section 3.2.2.
    """

    def __init__(self, metric: Metric, options: MedianOptions) -> None:
        self._metric = metric
        self._min_points = options.min_iter
        self._min_trials = options.min_trials
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
            self._update(number, history)
        if changed:
            verdicts = (self._verdict(number) for number in sorted(self._running))
            self._decisions = [verdict for verdict in verdicts if verdict is not None]
        return list(self._decisions)

    def _update(self, number: int, history: History) -> None:
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
        own_best, limit = distinct_texts(sign * own.best, sign * threshold)
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
                f"median: after {n_points} points its best {name} {own_best} is worse than "
                f"{limit}, the median of what {len(others)} other trials averaged by then"
            ),
        )
