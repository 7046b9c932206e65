"""How often a sweep tries each assignment, and which of its trials are the best then."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from smsweep.core.objective import best_trial, front, objective
from smsweep.core.repeats import Repeats
from smsweep.core.sweep import Metric
from smsweep.core.trial import History, Trial, TrialState


@dataclass(frozen=True, kw_only=True, slots=True)
class Best:
    trial: Trial  # the best one of its assignment
    objective: float  # the mean over the assignment's trials that ended well, or the trial's own
    repeats: tuple[Trial, ...] = ()  # all trials of the assignment; () where nothing is repeated


@dataclass(frozen=True, kw_only=True, slots=True)
class Unbeaten:
    trial: Trial  # one of its assignment that ended well
    seen: Trial  # the assignment as one trial: with the means of its metrics; or the trial itself
    repeats: tuple[Trial, ...] = ()  # all trials of the assignment; () where nothing is repeated


def find_best(trials: Iterable[Trial], metric: Metric, repeats: int) -> Best | None:
    """Return the best trial; where assignments are repeated, of the assignment with the best mean.

    None when no trial has an objective, or no assignment has been tried as often as asked for.
    """
    history, groups = History(trials), Repeats(repeats, metric)
    found = best_trial(groups.follow(history), metric)
    if found is None:
        return None
    value = objective(found, metric)
    assert value is not None
    if repeats == 1:
        return Best(trial=found, objective=value)
    members = groups.members(history, found.number)
    best = best_trial(members, metric) or members[0]
    return Best(trial=best, objective=value, repeats=tuple(members))


def find_front(trials: Iterable[Trial], metrics: Sequence[Metric], repeats: int) -> list[Unbeaten]:
    """Return the assignments, or where nothing is repeated the trials, that no other beats by all metrics."""
    history, groups = History(trials), Repeats(repeats, None, metrics)
    unbeaten = front(groups.follow(history), metrics)
    if repeats == 1:
        return [Unbeaten(trial=trial, seen=trial) for trial in unbeaten]
    found = []
    for seen in unbeaten:
        members = groups.members(history, seen.number)
        ended = [trial for trial in members if trial.state is TrialState.FINISHED] or members
        found.append(Unbeaten(trial=ended[0], seen=seen, repeats=tuple(members)))
    return found
