"""Repeated trials of one assignment: their mean, for the search, and which of them are the best."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from smsweep.core.condition import feasible_assignments, is_feasible, parse_outcome_constraint
from smsweep.core.confirm import assignments, estimate, interval_of, is_repeat, pooled_noise, value_of
from smsweep.core.json_documents import BestTrialDocument
from smsweep.core.objective import best_trial, front, last_value, mean, objective
from smsweep.core.sweep import Metric
from smsweep.core.trial import History, MetricStats, Trial, TrialState, is_number


def repeat_of(trial: Trial, n: int) -> int:
    """Return the repetition of a trial, from 0.

    Args:
        trial: The trial, which can repeat another one to confirm it.
        n: Number of trials of each assignment in the search.
    """
    return trial.repeat if is_repeat(trial) else trial.number % n


class Repeats:
    """Combines each group of n consecutive trials into one. Only changed groups are computed again.

    A combined trial runs until all its members have ended. It is finished if a member is finished. Its objective
    is the mean of the finished members, or of the stopped members if none is finished. Its curve is the mean of
    their curves, up to the shortest one. With several metrics, it has the mean of the last values of each metric
    that all of these members reported. Its usage is that of all members together. A removed member is left out.

    Args:
        n: Number of trials of each assignment.
        metric: The metric of the sweep; None for none or several.
        metrics: The metrics of a sweep with several.
        constraints: The outcome constraints.
    """

    def __init__(
        self, n: int, metric: Metric | None, metrics: Sequence[Metric] = (), constraints: Sequence[str] = ()
    ) -> None:
        self.n = n
        self._metric = metric
        self._last = [metric.name for metric in metrics]  # metrics whose last values are combined
        self._last += [parse_outcome_constraint(text).metric for text in constraints]
        self._history: History | None = None

    def follow(self, history: History) -> History:
        """Return the combined trials of a history; the history itself if n is 1."""
        if self.n == 1:
            return history
        if history is not self._history:
            self._history = history
            self._cursor = 0
            self._seen = History(prior=history.prior)
        changed, self._cursor = history.since(self._cursor)
        groups = dict.fromkeys(number // self.n for number in changed)
        self._seen.update(self._combined(history, group) for group in groups)
        return self._seen

    def members(self, history: History, group: int) -> list[Trial]:
        """Return the trials of a group, without removed ones."""
        numbers = range(group * self.n, (group + 1) * self.n)
        return [trial for trial in map(history.get, numbers) if trial is not None]

    def _combined(self, history: History, group: int) -> Trial:
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
            usage={unit: sum(member.usage.get(unit, 0.0) for member in members) for unit in ("instance_s", "usd")},
        )

    def _mean(self, counted: Sequence[Trial]) -> dict[str, MetricStats]:
        means = {}
        if self._metric is not None:
            values = [value for trial in counted if (value := objective(trial, self._metric)) is not None]
            if values:
                means[self._metric.name] = MetricStats().add(mean(values))
        for name in self._last:
            if name in means:
                continue
            last = [last_value(trial, name) for trial in counted]
            if all(map(is_number, last)):
                means[name] = MetricStats().add(mean(list(map(float, last))))  # type: ignore[arg-type]  # numbers
        return means


@dataclass(frozen=True, kw_only=True, slots=True)
class Best:
    trial: Trial  # the best one of its assignment
    objective: float  # the mean over the assignment's trials that finished, or the trial's own
    repeats: tuple[Trial, ...] = ()  # all trials of the assignment; () where nothing is repeated
    n_values: int = 1  # number of values in the mean
    interval: tuple[float, float] | None = None  # 95 % confidence interval of the mean; None if unknown


@dataclass(frozen=True, kw_only=True, slots=True)
class Unbeaten:
    trial: Trial  # a finished trial of its assignment
    seen: Trial  # the assignment as one trial: with the means of its metrics; or the trial itself
    repeats: tuple[Trial, ...] = ()  # all trials of the assignment; () where nothing is repeated


def find_best(
    trials: Iterable[Trial], metric: Metric, repeats: int, constraints: Sequence[str] = ()
) -> Best | None:
    """Return the best trial; where assignments are repeated, of the assignment with the best mean.

    None when no trial has an objective, or no assignment has been tried as often as asked for. After repeats that
    confirm the best trials, the finished trials are compared by the estimates of `core/confirm.py`. The mean and
    its interval then leave out the value of the search, which was selected because it was good. Only trials that
    meet the outcome constraints count.
    """
    history, groups = History(trials), Repeats(repeats, metric, constraints=constraints)
    if repeats == 1 and any(map(is_repeat, history)):
        return _find_confirmed(feasible_assignments(history, constraints), metric)
    winner = best_trial([trial for trial in groups.follow(history) if is_feasible(trial, constraints)], metric)
    if winner is None:
        return None
    value = objective(winner, metric)
    assert value is not None
    if repeats == 1:
        return Best(trial=winner, objective=value)
    members = groups.members(history, winner.number)
    best = best_trial(members, metric) or members[0]
    values = [own for trial in members if (own := value_of(trial, metric)) is not None]
    noise, degrees = pooled_noise(_values_by_group(history, repeats, metric))
    return Best(
        trial=best,
        objective=value,
        repeats=tuple(members),
        n_values=max(len(values), 1),
        interval=_interval(values, noise, degrees, metric) if values else None,
    )


def _values_by_group(history: History, repeats: int, metric: Metric) -> list[list[float]]:
    """Return the values of the finished trials of each assignment; lower is better."""
    groups: dict[int, list[float]] = {}
    for trial in history:
        if (value := value_of(trial, metric)) is not None:
            groups.setdefault(trial.number // repeats, []).append(value)
    return list(groups.values())


def _find_confirmed(trials: Sequence[Trial], metric: Metric) -> Best | None:
    estimates = estimate(trials, metric)
    if not estimates.all:
        return None
    number = min(estimates.all, key=lambda each: (each.expected, each.number)).number
    members = sorted(assignments(trials)[number], key=lambda trial: trial.number)
    best = best_trial([trial for trial in members if trial.state is TrialState.FINISHED], metric)
    assert best is not None
    values = [own for trial in members if is_repeat(trial) and (own := value_of(trial, metric)) is not None]
    if not values:
        value = objective(best, metric)
        assert value is not None
        return Best(trial=best, objective=value)
    return Best(
        trial=best,
        objective=metric.goal.sign * mean(values),
        repeats=tuple(members),
        n_values=len(values),
        interval=_interval(values, estimates.noise, estimates.degrees, metric),
    )


def _interval(values: Sequence[float], noise: float, degrees: int, metric: Metric) -> tuple[float, float] | None:
    """Return the interval of a mean in units of the metric. values: lower is better."""
    bounds = interval_of(values, noise, degrees)
    if bounds is None:
        return None
    low, high = sorted(metric.goal.sign * bound for bound in bounds)
    return low, high


def mean_text(best: BestTrialDocument) -> str:
    """Return the mean over the repeats of the best trial with its interval, for the user; "" without repeats."""
    repeats = best.get("repeats")
    if not repeats:
        return ""
    n, interval = repeats["n_values"], repeats["interval"]
    between = f" (95 % interval {interval[0]:.6g} to {interval[1]:.6g})" if interval else ""
    if interval and interval[0] == interval[1]:
        between = " (all repeats are equal; is SMSWEEP_REPEAT the seed of the script?)"
    return f"mean {repeats['mean']:.6g} of {n} repeat{'' if n == 1 else 's'}{between}"


def find_front(
    trials: Iterable[Trial], metrics: Sequence[Metric], repeats: int, constraints: Sequence[str] = ()
) -> list[Unbeaten]:
    """Return the assignments, or where nothing is repeated the trials, that no other beats by all metrics.

    Only those that meet the outcome constraints count.
    """
    history, groups = History(trials), Repeats(repeats, None, metrics, constraints)
    unbeaten = front([trial for trial in groups.follow(history) if is_feasible(trial, constraints)], metrics)
    if repeats == 1:
        return [Unbeaten(trial=trial, seen=trial) for trial in unbeaten]
    assignments = []
    for seen in unbeaten:
        members = groups.members(history, seen.number)
        ended = [trial for trial in members if trial.state is TrialState.FINISHED] or members
        assignments.append(Unbeaten(trial=ended[0], seen=seen, repeats=tuple(members)))
    return assignments
