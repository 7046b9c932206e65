"""What must hold for every sweep, whatever happens to its agents and its network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from smsweep.core.failure_kind import RETRIES
from smsweep.core.sweep import Sweep, SweepState
from smsweep.core.trial import Trial, TrialState, flat_params
from smsweep.store.base import Store
from tools.simulate import scenario as scenarios
from tools.simulate.account import Account, Job
from tools.simulate.scenario import Scenario


class Violation(Exception):
    """An invariant does not hold."""


def check_new_job(job: Job, accounts: Iterable[Account]) -> None:
    """Raise Violation if another job of the trial is live, in any region."""
    for account in accounts:
        for other in account.live():
            if other is not job and other.owner[:2] == job.owner[:2]:
                raise Violation(f"two live jobs of one trial: {other.name} and {job.name} ({account.region})")


def check_end(store: Store, sweep: Sweep, scenario: Scenario, accounts: Sequence[Account]) -> None:
    """Raise Violation if the state after the last process exited is wrong."""
    trials = sorted(store.list_trials(sweep.id), key=lambda trial: trial.number)
    for text in _problems(store, sweep, scenario, accounts, trials):
        raise Violation(text)


def _problems(
    store: Store, sweep: Sweep, scenario: Scenario, accounts: Sequence[Account], trials: Sequence[Trial]
) -> Iterator[str]:
    jobs = {job.name: job for account in accounts for job in account.jobs.values()}
    for account in accounts:
        for job in account.live():
            yield f"an orphan: {job.name} runs after the last agent"
    for trial in trials:
        if trial.state.is_active:
            yield f"trial {trial.label} is {trial.state.value}, and no agent is left"
    yield from _wrong_numbers(sweep, scenario, trials)
    for trial in trials:
        of_trial = [job for job in jobs.values() if job.owner[1] == trial.number]
        yield from _wrong_trial(store, trial, of_trial)
    if scenario.usd is not None:
        usd = sum(_usd(job, scenario, account) for account in accounts for job in account.jobs.values())
        if usd > scenario.usd * (1 + 1e-9):
            yield f"the jobs cost ${usd:.4f}, and the budget is ${scenario.usd:.4f}"


def _usd(job: Job, scenario: Scenario, account: Account) -> float:
    region = next(region for region in scenario.regions if region_name(region.name) == account.region)
    return job.billable_s(account.world.now_s) * region.price / 3600


def region_name(place_name: str) -> str:
    return {"": "eu-west-1", "near": "eu-west-1", "far": "us-east-1"}[place_name]


def _wrong_numbers(sweep: Sweep, scenario: Scenario, trials: Sequence[Trial]) -> Iterator[str]:
    if [trial.number for trial in trials] != list(range(len(trials))):
        yield f"the numbers of the trials are {[trial.number for trial in trials]}"
    for cap in (scenario.config.get("run_cap"), scenario.trial_cap):
        if cap is not None and len(trials) > cap:
            yield f"{len(trials)} trials, and the cap is {cap}"
    tried = Counter(str(sorted(flat_params(trial.params).items())) for trial in trials)
    if scenario.config["method"] == "grid" and any(n > scenario.repeats for n in tried.values()):
        yield f"a cell of the grid was tried {max(tried.values())} times, and repeats is {scenario.repeats}"
    is_limited = scenario.usd is not None or scenario.trial_cap is not None
    if sweep.state is SweepState.FINISHED and not is_limited:
        expected = expected_trials(scenario)
        if len(trials) != expected:
            yield f"the sweep finished with {len(trials)} of {expected} trials"
        waiting = [trial.label for trial in trials if trial.state is TrialState.PENDING]
        if waiting:
            yield f"the sweep finished, and {', '.join(waiting)} wait"


def expected_trials(scenario: Scenario) -> int:
    """Return the number of trials of a sweep that nothing limits but its config."""
    n = 1
    for parameter in scenario.config["parameters"].values():
        n *= len(parameter["values"])
    n *= scenario.repeats
    cap = scenario.config.get("run_cap")
    if scenario.config["method"] == "random":
        return int(scenario.config["run_cap"])
    return n if cap is None else min(n, cap)


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
    if trial.state.is_terminal and job.points:  # without points, those of the attempt before are kept
        stored = [(point.step, point.value) for point in store.read_points(trial.sweep_id, trial.number)]
        reported = [(step, value) for _, step, value in job.points]
        if stored != reported:
            yield f"{trial.label} ({trial.state.value}): stored {stored}, and its job reported {reported}"
