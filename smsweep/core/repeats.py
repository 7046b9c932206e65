"""Several trials of one assignment on purpose: a search sees them as one trial with their mean."""

from __future__ import annotations

from collections.abc import Sequence

from smsweep.core.objective import mean, objective
from smsweep.core.pareto import last_value
from smsweep.core.sweep import Metric
from smsweep.core.trial import History, MetricStats, Trial, TrialState, is_number


def repeat_of(number: int, n: int) -> int:
    """Return which repetition of its assignment a trial is, from 0."""
    return number % n


class Repeats:
    """Takes each n trials with successive numbers for one, at the cost of what changed.

    Such a trial runs until all of its n have ended; then it is finished if any of them is. Its objective is the
    mean over those that finished (over those that were stopped, if none did), its curve the mean of their curves
    as far as all of them went. Of several metrics it has the means of their last values, as far as all reported
    them. A removed trial is left out, and not made up for.
    """

    def __init__(self, n: int, metric: Metric | None, metrics: Sequence[Metric] = ()) -> None:
        self.n = n
        self._metric = metric
        self._metrics = metrics
        self._history: History | None = None

    def follow(self, history: History) -> History:
        """Return the trials of a history as the search sees them: itself, where nothing is repeated."""
        if self.n == 1:
            return history
        if history is not self._history:
            self._history = history
            self._cursor = 0
            self._seen = History(prior=history.prior)
        changed, self._cursor = history.since(self._cursor)
        groups = dict.fromkeys(number // self.n for number in changed)
        self._seen.update(self._as_one(history, group) for group in groups)
        return self._seen

    def members(self, history: History, group: int) -> list[Trial]:
        numbers = range(group * self.n, (group + 1) * self.n)
        return [trial for trial in map(history.get, numbers) if trial is not None]

    def _as_one(self, history: History, group: int) -> Trial:
        members = self.members(history, group)
        if not members:
            return Trial(number=group, params={}, is_removed=True)
        is_complete = history.next_number >= (group + 1) * self.n
        if not is_complete or not all(member.state.is_terminal for member in members):
            is_waiting = all(member.state is TrialState.PENDING for member in members)
            state = TrialState.PENDING if is_waiting else TrialState.RUNNING
            return Trial(number=group, params=members[0].params, state=state)
        return self._ended(group, members)

    def _ended(self, group: int, members: Sequence[Trial]) -> Trial:
        for state in (TrialState.FINISHED, TrialState.STOPPED):
            counted = [member for member in members if member.state is state]
            if counted:
                break
        else:
            return Trial(number=group, params=members[0].params, state=members[0].state)
        return Trial(
            number=group,
            params=members[0].params,
            state=counted[0].state,
            metrics=self._mean(counted),
            curve=tuple(map(mean, zip(*(member.curve for member in counted), strict=False))),
        )

    def _mean(self, counted: Sequence[Trial]) -> dict[str, MetricStats]:
        means = {}
        if self._metric is not None:
            values = [value for trial in counted if (value := objective(trial, self._metric)) is not None]
            if values:
                means[self._metric.name] = MetricStats().add(mean(values))
        for name in (metric.name for metric in self._metrics):
            last = [last_value(trial, name) for trial in counted]
            if all(map(is_number, last)):
                means[name] = MetricStats().add(mean(list(map(float, last))))  # type: ignore[arg-type]  # numbers
        return means
