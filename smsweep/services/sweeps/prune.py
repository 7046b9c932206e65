"""Prune the models and checkpoints of ended trials, on this machine and in S3."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from smsweep.core.condition import feasible_assignments, is_feasible
from smsweep.core.confirm import assignments, estimate, is_repeat
from smsweep.core.objective import front, objective
from smsweep.core.repeats import Repeats
from smsweep.core.sweep import Sweep
from smsweep.core.trial import History, Trial, TrialState
from smsweep.errors import UsageError
from smsweep.services.sweeps.control import OPEN
from smsweep.services.sweeps.remove import Leftovers, OnProgress, Scope, may_have_objects
from smsweep.services.workspace import Workspace
from smsweep.store import notes
from smsweep.util.clock import utc_now

if TYPE_CHECKING:
    from smsweep.aws.sweep_objects import Sources, SweepObject

FAILED = (TrialState.FAILED, TrialState.CRASHED)
AGE = re.compile(r"(\d+(?:\.\d+)?)([mhdw])")
UNIT_S = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
MOST_S = 100 * 365 * 86_400  # the calendar starts in year 1


@dataclass(frozen=True, kw_only=True, slots=True)
class PrunedSweep:
    """What pruning deletes of one sweep."""

    sweep: Sweep
    trials: tuple[Trial, ...]  # trials that have files
    kept: tuple[int, ...]  # numbers of the best trials
    job_folders: int
    local_bytes: int
    objects: tuple[SweepObject, ...]
    versioned: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Pruning:
    """What pruning deletes."""

    sweeps: tuple[PrunedSweep, ...]  # sweeps with something to delete
    skipped: Mapping[str, str] = field(default_factory=dict)  # sweep id -> reason


def parse_age(text: str) -> timedelta:
    """Return the duration of a text such as `30d`, `12h` or `2w`. Raises UsageError."""
    match = AGE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not an age; give a number and a unit (m, h, d or w), such as 30d")
    age = float(match[1]) * UNIT_S[match[2]]
    if age > MOST_S:
        raise UsageError(f"{text!r} is more than 100 years; give an age such as 30d")
    return timedelta(seconds=age)


def plan_pruning(
    sweep_ids: Sequence[str] = (),
    *,
    keep_best: int | None = None,
    older_than: timedelta | None = None,
    now: datetime | None = None,
) -> Pruning:
    """Return what pruning deletes. This changes nothing.

    Args:
        sweep_ids: The sweeps; empty for all sweeps of the store.
        keep_best: Keep the files of this many best ended trials of each sweep, or of its Pareto front. None keeps
            none.
        older_than: Only trials that ended longer ago. None for all ended trials.
        now: Current time, aware UTC; None for the clock of this machine.

    Raises:
        NotFound: If there is no such sweep.
        UsageError: If neither `keep_best` nor `older_than` is set.
        JobError: If S3 cannot be listed.
    """
    if keep_best is None and older_than is None:
        raise UsageError("prune: nothing selects trials; add --keep-best K, --older-than AGE, or both")
    before = None if older_than is None else (now or utc_now()) - older_than
    pruned_sweeps, skipped = [], {}
    seen: set[str] = set()
    with Scope(Workspace()) as scope:
        sweeps = [scope.store.get_sweep(sweep_id) for sweep_id in dict.fromkeys(sweep_ids)]
        every = scope.store.list_sweeps()
        for sweep in sweeps or every:
            trials = scope.store.list_trials(sweep.id)
            kept = best_numbers(sweep, trials, keep_best) if keep_best else set()
            if keep_best and not kept and any(trial.state.is_terminal for trial in trials):
                skipped[sweep.id] = "it has no best trial; use --keep-best 0 to prune it"
            elif scope.has_live_agent(sweep.id):
                skipped[sweep.id] = "its detached agent is running"
            else:
                pruned = _plan_sweep(scope, sweep, trials, kept, before, every)
                # Sweeps with the same source share its objects.
                pruned = replace(pruned, objects=tuple(each for each in pruned.objects if each.uri not in seen))
                seen |= {each.uri for each in pruned.objects}
                if pruned.trials or pruned.objects:
                    pruned_sweeps.append(pruned)
    return Pruning(sweeps=tuple(pruned_sweeps), skipped=skipped)


def carry_out_pruning(pruning: Pruning, on_progress: OnProgress = lambda n: None) -> None:
    """Delete what `plan_pruning` returned.

    The store first notes which trials are pruned. If a call is interrupted, plan and call again.

    Raises:
        JobError: If some objects in S3 cannot be deleted.
    """
    with Scope(Workspace()) as scope:
        for pruned in pruning.sweeps:
            _prune(scope, pruned, on_progress)


def best_numbers(sweep: Sweep, trials: Collection[Trial], k: int) -> set[int]:
    """Return the numbers of the k best ended trials of a sweep; with several metrics, of the Pareto front.

    Failed and crashed trials, and trials that violate an outcome constraint, are never best. If assignments are
    repeated, k assignments count, with all their trials. After repeats that confirm the best trials, the finished
    trials are compared as `smsweep best` does.
    """
    metric, metrics, n = sweep.config.metric, sweep.config.metrics, sweep.job.repeats
    constraints = sweep.job.search.outcome_constraints
    if metric is not None and any(map(is_repeat, trials)):
        feasible = feasible_assignments(trials, constraints)
        confirmed = sorted(estimate(feasible, metric).all, key=lambda each: (each.expected, each.number))[:k]
        groups = assignments(trials)
        return {trial.number for each in confirmed for trial in groups[each.number]}
    history, repeats = History(trials), Repeats(n, metric, metrics, constraints)
    combined = repeats.follow(history)
    ended = [trial for trial in combined if trial.state.is_terminal and is_feasible(trial, constraints)]
    best: list[Trial] = []
    if metrics:
        best = front(ended, metrics)
    elif metric is not None:
        valued = [
            (metric.goal.sign * value, trial.number, trial)
            for trial in ended
            if trial.state not in FAILED and (value := objective(trial, metric)) is not None
        ]
        best = [trial for *_, trial in sorted(valued, key=lambda each: each[:2])[:k]]
    if n == 1:
        return {trial.number for trial in best}
    # An assignment whose trials have not all ended can still become one of the best.
    best += [trial for trial in combined if not trial.state.is_terminal] if best else []
    return {member.number for trial in best for member in repeats.members(history, trial.number)}


def _plan_sweep(
    scope: Scope,
    sweep: Sweep,
    trials: Collection[Trial],
    kept: Collection[int],
    before: datetime | None,
    every: Collection[Sweep],
) -> PrunedSweep:
    """Plan the pruning of a sweep. before: only trials that ended earlier. every: all sweeps of the store."""
    chosen = {
        trial.number: trial
        for trial in trials
        if trial.state.is_terminal
        and trial.number not in kept
        and not (trial.is_paused and sweep.state in OPEN)  # a promotion needs its checkpoints
        and (before is None or (trial.ended_at is not None and trial.ended_at < before))
    }
    objects: list[SweepObject] = []
    record = scope.records.get(sweep.id)
    if may_have_objects(sweep, trials, record.uri if record else ""):
        from smsweep.aws.sweep_objects import find_objects, find_sources

        locations = scope.locations(sweep, trials)
        candidates = find_objects(scope.aws(), locations, sweep.id) if chosen else ()
        objects += [each for each in candidates if each.number in chosen]
        sources = find_sources(scope.aws(), locations, sweep.source_hash)
        if _is_unused(scope, sweep, sources, every, before):
            objects += (*sources.objects, *sources.markers)
    local = Leftovers.by_trial(scope.workspace, sweep.id, chosen)
    sizes = {number: leftovers.prunable() for number, leftovers in local.items() if not leftovers.is_alive()}
    with_files = {each.number for each in objects} | {number for number, (n, _) in sizes.items() if n}
    return PrunedSweep(
        sweep=sweep,
        trials=tuple(trial for number, trial in sorted(chosen.items()) if number in with_files),
        kept=tuple(sorted(kept)),
        job_folders=sum(n for n, _ in sizes.values()),
        local_bytes=sum(n for _, n in sizes.values()),
        objects=tuple(objects),
        versioned=scope.versioned_of(objects),
    )


def _prune(scope: Scope, pruned: PrunedSweep, on_progress: OnProgress) -> None:
    now = {trial.number: trial for trial in scope.store.list_trials(pruned.sweep.id)}
    # A trial that was queued again since the plan keeps its files.
    chosen = [trial for trial in pruned.trials if (new := now.get(trial.number)) and _is_same(trial, new)]
    numbers = {trial.number for trial in chosen}
    objects = [each for each in pruned.objects if each.number is None or each.number in numbers]
    at, known = utc_now().isoformat(), notes.PRUNED.get(scope.store, pruned.sweep.id)
    noted = {**known, **{notes.attempt_key(trial): at for trial in chosen}}
    if chosen:
        _note(scope, pruned.sweep.id, noted)
    errors = scope.delete(objects, on_progress)
    failed = {each.number for each in objects if each.uri in errors}
    for number, leftovers in Leftovers.by_trial(scope.workspace, pruned.sweep.id, numbers).items():
        if number not in failed and not leftovers.is_alive():
            leftovers.prune()
    if errors:
        wrong = {notes.attempt_key(trial) for trial in chosen if trial.number in failed} - known.keys()
        _note(scope, pruned.sweep.id, {key: time for key, time in noted.items() if key not in wrong})
        scope.fail(errors, objects)


def _note(scope: Scope, sweep_id: str, pruned: dict[str, str]) -> None:
    if scope.is_remote(sweep_id):
        scope.remote().write(sweep_id, lambda store: notes.PRUNED.put(store, sweep_id, pruned))
    else:
        notes.PRUNED.put(scope.store, sweep_id, pruned)


def _is_unused(
    scope: Scope, sweep: Sweep, sources: Sources, every: Collection[Sweep], before: datetime | None
) -> bool:
    """Return True if a source in S3 belongs to ended sweeps of this store only. An agent uploads it again."""
    same = [each for each in every if each.source_hash == sweep.source_hash]
    if not sources.objects or not sources.users <= {each.id for each in same}:
        return False
    for each in same:
        counts = scope.store.count_trials(each.id)
        if each.state in OPEN or any(state.is_active for state in counts) or scope.has_live_agent(each.id):
            return False
        if before is not None:
            times = [trial.ended_at for trial in scope.store.list_trials(each.id) if trial.ended_at]
            last = max(times, default=each.created_at)
            if last is None or last >= before:
                return False
    return True


def _is_same(trial: Trial, new: Trial) -> bool:
    return new.state.is_terminal and new.attempt == trial.attempt
