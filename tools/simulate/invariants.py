"""What must hold for every sweep, whatever happens to its agents and its network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from smsweep.config_files.config_change import PARALLEL
from smsweep.core.failure_kind import RETRIES
from smsweep.core.job import JobTemplate
from smsweep.core.sweep import ConfigRevision, Sweep, SweepConfig, SweepState
from smsweep.core.trial import History, Params, Trial, TrialState, flat_params
from smsweep.search.base import SearchStrategy, outlook
from smsweep.search.registry import make_strategy
from smsweep.space.distribution import MISSING
from smsweep.stopping.base import PromotingRule
from smsweep.stopping.registry import make_rule
from smsweep.store import notes
from smsweep.store.base import ParseStored, Store
from tools.simulate import scenario as scenarios
from tools.simulate.account import Account, Job
from tools.simulate.scenario import MAX_RUN_S, Scenario
from tools.simulate.world import STALL_S, World

DELAY_S = STALL_S[1] + 60  # from a change to the last call of an agent that does not know it yet
DRAIN_S = 900.0  # an agent with an order ends within this time without faults


class Violation(Exception):
    """An invariant does not hold."""


def region_name(place_name: str) -> str:
    return {"": "eu-west-1", "near": "eu-west-1", "far": "us-east-1"}[place_name]


@dataclass(slots=True)
class Watch:
    """Checks what must hold while the sweep runs.

    Args:
        world: The clock.
        store: The store without faults.
        scenario: The scenario.
        accounts: Name of a place -> its account.
        parse: Parses the texts of a stored sweep.
    """

    world: World
    store: Store
    scenario: Scenario
    accounts: dict[str, Account]
    parse: ParseStored
    sweep_id: str = ""
    finished_with: int = 0  # revision of the config with which the sweep finished; 0 if it has not
    _budgets: list[tuple[float, float]] = field(default_factory=list)  # (time, dollars in force from then on)
    _slots: dict[str, list[tuple[float, int]]] = field(default_factory=dict)  # agent -> (time, slots)
    _orders: dict[str, str] = field(default_factory=dict)  # agent -> the order that it has read

    def begin(self, sweep: Sweep) -> None:
        self.sweep_id = sweep.id
        self._budgets.append((0.0, sweep.job.budget.get("usd", math.inf)))

    def after_call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], answer: Any) -> None:
        """Check the effect of a call to the store, at its moment. answer: None if the call failed."""
        process, now_s = self.world.current.name, self.world.now_s
        if name == "get_sweep" and answer is not None:
            self._slots.setdefault(process, [(now_s, self.scenario.regions[0].slots)])
        elif name == "claim" and answer is not None:
            self._check_claim(process)
        elif name == "change_config":
            self._note_change()
        elif name == "set_sweep_state":
            sweep = self.store.get_sweep(self.sweep_id)
            if sweep.state is not SweepState.FINISHED:
                self.finished_with = 0
            elif not self.finished_with:
                self.finished_with = sweep.config_revision
        elif name == "order_agent" and answer is not None and kwargs.get("parallel"):
            self._slots[args[1]].append((now_s, kwargs["parallel"]))

    def after_answer(self, name: str, answer: Any) -> None:
        """Note what an agent knows from the answer of a call."""
        if name == "beat" and answer is not None and answer.order:
            self._orders[self.world.current.name] = answer.order

    def _note_change(self) -> None:
        sweep = self.store.get_sweep(self.sweep_id)
        now_s, usd = self.world.now_s, sweep.job.budget.get("usd", math.inf)
        if usd != self._budgets[-1][1]:
            self._budgets.append((now_s, usd))
        n_slots = self.store.list_revisions(self.sweep_id)[-1].changes.get(PARALLEL)
        if n_slots is not None:
            for slots in self._slots.values():
                slots.append((now_s, n_slots))

    def _check_claim(self, agent_id: str) -> None:
        if order := self._orders.get(agent_id):
            raise Violation(f"an agent claims a trial after an order: {agent_id} ({order})")
        if len(self.scenario.regions) > 1:
            return  # the slots of several places do not change
        held = [trial for trial in self.store.list_trials(self.sweep_id) if trial.agent_id == agent_id]
        allowed = _most_since(self._slots[agent_id], self.world.now_s - DELAY_S)
        if len(held) > allowed:
            raise Violation(f"an agent holds too many trials: {agent_id} has {len(held)} of {allowed:g}")

    def note_job(self, job: Job) -> None:
        """Check a new job, at the moment of its creation."""
        for account in self.accounts.values():
            for other in account.live():
                if other is not job and other.owner[:2] == job.owner[:2]:
                    raise Violation(f"two live jobs of one trial: {other.name} and {job.name} ({account.region})")
        if order := self._orders.get(self.world.current.name):
            raise Violation(f"an agent starts a job after an order: {self.world.current.name} ({order})")
        trial = self.store.get_trial(self.sweep_id, job.owner[1])
        claimed_at = trial.started_at or self.world.true_utc()
        waited_s = (self.world.true_utc() - claimed_at).total_seconds()
        allowed = _most_since(self._budgets, self.world.now_s - waited_s - DELAY_S)
        usd = sum(self.committed_usd())
        if usd > allowed * (1 + 1e-9):
            raise Violation(f"the budget does not cover a job: {job.name}, ${usd:.4f} of ${allowed:.4f}")

    def committed_usd(self) -> Iterator[float]:
        """Yield the cost of each job; of a live one, the worst case."""
        for region in self.scenario.regions:
            account = self.accounts[region.name]
            for job in account.jobs.values():
                is_live = job.is_live(self.world.now_s)
                billed_s = MAX_RUN_S if is_live else job.billable_s(self.world.now_s)
                yield billed_s * region.price / 3600

    @property
    def largest_usd(self) -> float:
        """The largest budget that was in force."""
        return max(usd for _, usd in self._budgets)


def _most_since(values: Sequence[tuple[float, float]], begin_s: float) -> float:
    """Return the largest value that was in force after a time."""
    index = max((i for i, (at_s, _) in enumerate(values) if at_s <= begin_s), default=0)
    return max(value for _, value in values[index:])


class CheckedStrategy:
    """A strategy that must suggest what a new one does with the same config, trials and seed."""

    def __init__(self, strategy: SearchStrategy, config: SweepConfig, seed: int, job: JobTemplate) -> None:
        self._strategy = strategy
        self._make: Callable[[], SearchStrategy] = lambda: make_strategy(config, seed, job)

    def suggest(self, history: History, n: int) -> list[Params]:
        params = self._strategy.suggest(history, n)
        again = self._make().suggest(History(list(history), history.prior), n)
        if params != again:
            raise Violation(f"a suggestion depends on more than config, trials and seed: {params}, then {again}")
        return params

    def outlook(self, history: History) -> str:
        return outlook(self._strategy, history)


def check_end(watch: Watch) -> None:
    """Raise Violation if the state after the last process exited is wrong."""
    trials = sorted(watch.store.list_trials(watch.sweep_id), key=lambda trial: trial.number)
    for text in _problems(watch, trials):
        raise Violation(text)


def _problems(watch: Watch, trials: Sequence[Trial]) -> Iterator[str]:
    store, sweep, accounts = watch.store, watch.store.get_sweep(watch.sweep_id), list(watch.accounts.values())
    for account in accounts:
        for job in account.live():
            yield f"an orphan: {job.name} runs after the last agent"
    for trial in trials:
        if trial.state.is_active:
            yield f"trial {trial.label} is {trial.state.value}, and no agent is left"
    if [trial.number for trial in trials] != list(range(len(trials))):
        yield f"the numbers of the trials are {[trial.number for trial in trials]}"
    revisions = store.list_revisions(sweep.id)
    for revision in revisions:
        yield from _wrong_proposals(revision, revisions, watch.parse, trials)
    if sweep.state is SweepState.FINISHED:
        yield from _wrong_finish(store, sweep, revisions[watch.finished_with - 1], watch.parse, trials)
    for trial in trials:
        of_trial = [job for account in accounts for job in account.jobs.values() if job.owner[1] == trial.number]
        yield from _wrong_trial(store, trial, of_trial)
    if why := notes.IGNORES_CHECKPOINTS.get(store, sweep.id):
        yield f"no trial is promoted any more, and all scripts load checkpoints: {why}"
    usd = sum(watch.committed_usd())
    if usd > watch.largest_usd * (1 + 1e-9):
        yield f"the jobs cost ${usd:.4f}, and the budget is ${watch.largest_usd:.4f}"


def _wrong_proposals(
    revision: ConfigRevision, revisions: Sequence[ConfigRevision], parse: ParseStored, trials: Sequence[Trial]
) -> Iterator[str]:
    """Yield what is wrong with the trials that were proposed for a revision of the config."""
    end = min((each.first_number for each in revisions if each.number > revision.number), default=len(trials))
    config, job = parse(revision.sweep_yaml, revision.job_yaml)
    caps = {"run_cap": config.run_cap, "budget.trials": job.budget.get("trials")}
    for trial in trials[revision.first_number : end]:
        for name, cap in caps.items():
            if cap is not None and trial.number >= cap:
                yield f"{trial.label} is beyond {name} {cap:g} of revision {revision.number}"
        first = trials[trial.number - trial.number % job.repeats]
        if first is not trial:
            if first.params != trial.params:
                yield f"{trial.label} does not repeat {first.label}: {trial.params}, not {first.params}"
            continue
        if not _has(config, trial.params):
            yield f"{trial.label} is outside of the space of revision {revision.number}: {trial.params}"
        if config.method == "grid":
            earlier = trials[: trial.number : job.repeats]
            cell = config.space.grid_index(trial.params)
            if any(config.space.grid_index(each.params) == cell for each in earlier):
                yield f"{trial.label} tries a cell of the grid again: {trial.params}"


def _has(config: SweepConfig, params: Params) -> bool:
    """Return True if a space has the params."""
    space = config.space
    if space.missing(params) or len(flat_params(params)) != len(space.leaves):
        return False
    for (_, leaf), value in zip(space.leaves, space.flatten(params), strict=True):
        if value is MISSING:
            return False
        if not (leaf.index_of(value) is not None if leaf.size else leaf.ppf(0) <= value <= leaf.ppf(1)):
            return False
    return True


def _wrong_finish(
    store: Store, sweep: Sweep, revision: ConfigRevision, parse: ParseStored, trials: Sequence[Trial]
) -> Iterator[str]:
    """Yield what was left to do when the sweep was marked finished."""
    config, job = parse(revision.sweep_yaml, revision.job_yaml)
    if job.budget:
        return
    waiting = [trial.label for trial in trials if trial.state is TrialState.PENDING]
    if waiting:
        yield f"the sweep finished, and {', '.join(waiting)} wait"
    if config.run_cap is None or len(trials) < config.run_cap:
        size = config.space.grid_size if config.method == "grid" else None
        covered = {config.space.grid_index(trial.params) for trial in trials} - {None}
        if size is None or len(covered) < size or len(trials) % job.repeats:
            yield f"the sweep finished with {len(trials)} trials, and more are possible"
    rule = make_rule(config, job.stop_if)
    if isinstance(rule, PromotingRule) and rule.promotes and config.metric is not None:
        history = History(store.list_trials(sweep.id, curve_of=config.metric.name))
        if numbers := rule.promotable(history):
            yield f"the sweep finished, and the trials {numbers} can be promoted"


def _wrong_trial(store: Store, trial: Trial, jobs: Sequence[Job]) -> Iterator[str]:
    by_attempt = {job.owner[2]: job for job in jobs}
    if any(attempt > trial.attempt for attempt in by_attempt):
        yield f"{trial.label} is at attempt {trial.attempt}, and has the jobs {sorted(by_attempt)}"
    for kind, n in trial.retries.items():
        if n > scenarios.RETRIES.get(kind, RETRIES[kind]):
            yield f"{trial.label} was retried {n} times after {kind!r}"
    counted, billed = trial.usage.get("billable_s", 0.0), sum(job.billable_s(job.ends_s) for job in jobs)
    if trial.state.is_terminal and abs(counted - billed) > 1e-3:
        yield f"{trial.label} counts {counted:g} s, and its jobs were billed {billed:g} s"
    job = by_attempt.get(trial.attempt)
    # A rule can stop a retried trial by the points of the attempt before, and a user can kill it, without a job.
    if trial.state in (TrialState.FINISHED, TrialState.FAILED, TrialState.CRASHED) and job is None:
        yield f"{trial.label} is {trial.state.value}, and its last attempt has no job"
    if job is None:
        return
    if trial.state is TrialState.FINISHED and job.status != "Completed":
        yield f"{trial.label} is finished, and its job is {job.status}"
    if trial.state.is_terminal:
        reported: list[tuple[int, float]] = []
        for _, each in sorted(by_attempt.items()):
            if each.points:  # without points, those of the attempt before are kept
                first = each.points[0][1]
                reported = [point for point in reported if point[0] < first]
                reported += [(step, value) for _, step, value in each.points]
        stored = [(point.step, point.value) for point in store.read_points(trial.sweep_id, trial.number)]
        if stored != reported:
            yield f"{trial.label} ({trial.state.value}): stored {stored}, and its jobs reported {reported}"
