"""The thread that runs tuning jobs: it proposes hyperparameters, launches and stops training jobs, and ends."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from smsweep.config_files.tuning_job import Definition, TuningJob, parameter_text
from smsweep.core.job import MAX_FAILURE_REASON, JobTemplate, SearchSettings
from smsweep.core.objective import is_better
from smsweep.core.sweep import Metric
from smsweep.core.trial import History, MetricStats, Trial, TrialState
from smsweep.emulator.api_error import ApiError
from smsweep.emulator.jobs.job import Job, JobTable
from smsweep.emulator.jobs.tuning_job import Launch, TuningRecord, TuningTable, training_job_request
from smsweep.errors import SmsweepError
from smsweep.search.base import outlook
from smsweep.search.registry import make_strategy
from smsweep.space.distribution import MISSING
from smsweep.stopping.registry import make_rule

log = logging.getLogger(__name__)

TICK_S = 0.1
IDLE_S = 1.0  # pause without live tuning jobs
IMPROVEMENT = 0.01  # API: a smaller relative improvement does not count
MAX_WITHOUT_OBJECTIVE = 5  # training jobs; then a tuning job without any objective value fails
MIN_STALL = 15  # training jobs without an improvement before a search without a model has converged
NO_OBJECTIVE = (
    "No objective metrics found after running {n} training jobs. Please ensure that the custom algorithm is "
    "emitting the objective metric as defined by the regular expression provided."
)
ALL_FAILED = "All training jobs failed. Please take a look at the training jobs failures to get more details."


class TrainingJobApi(Protocol):
    """The calls of the training job API that a tuning job makes."""

    def create(self, request: dict[str, Any], region: str, *, tuning_job_arn: str = "") -> dict[str, Any]: ...

    def stop(self, request: dict[str, Any], region: str) -> None: ...


def final_objective(job: Job | None, metric_name: str) -> float | None:
    """Return the last objective value of a training job that has ended; None for a failed job, or without one."""
    if job is None or job.status not in ("Completed", "Stopped"):
        return None
    value = job.final_metrics.get(metric_name)
    return None if value is None else value[0]


def objective_of(definition: Definition) -> Metric:
    """Return the objective of a definition."""
    assert definition.config.metric is not None
    return definition.config.metric


def n_not_improving(values: Sequence[float], metric: Metric) -> int:
    """Return how many values, in the order of time, follow the last improvement of at least 1 %."""
    best, count = None, 0
    for value in values:
        if best is None or is_better(value, best - metric.goal.sign * IMPROVEMENT * abs(best), metric.goal):
            count = 0
        else:
            count += 1
        if best is None or is_better(value, best, metric.goal):
            best = value
    return count


class DefinitionSearch:
    """The search of one training job definition. It can be rebuilt from the launches at any time.

    Args:
        definition: The definition.
        seed: Seed of the search.
        prior: Trials of the parents.
    """

    def __init__(self, definition: Definition, seed: int, prior: Sequence[Trial]) -> None:
        self.definition = definition
        self.metric = objective_of(definition)
        self._strategy = make_strategy(definition.config, seed, JobTemplate(search=SearchSettings(distinct=True)))
        self._rule = make_rule(definition.config)
        self.history = History(prior=prior)
        self._seen: dict[int, tuple[str, int]] = {}  # number -> (status, number of values) in the history
        self.is_used_up = False

    def follow(self, launches: Sequence[tuple[Launch, Job | None]]) -> None:
        """Update the history. launches: all launches of the definition, oldest first, with their jobs."""
        changed = []
        for number, (launch, job) in enumerate(launches):
            sign = ("", 0) if job is None else (job.status, len(job.curve))
            if self._seen.get(number) != sign:
                self._seen[number] = sign
                changed.append(self._trial(number, launch, job))
        if changed:
            self.history.update(changed)

    def suggest(self) -> Mapping[str, Any] | None:
        """Return params of one more training job; None if the space is used up."""
        params = next(iter(self._strategy.suggest(self.history, 1)), None)
        self.is_used_up = params is None
        return params

    def stops(self) -> dict[int, str]:
        """Return the numbers of the launches to stop early, with the reasons."""
        decisions = self._rule.judge(self.history) if self._rule is not None else ()
        reasons = {decision.number: decision.reason for decision in decisions}
        limit = self.definition.max_resource
        for trial in self.history if limit is not None else ():
            # The job of the last resource gets the time to save its model.
            if trial.state is TrialState.RUNNING and len(trial.curve) > (limit or 0):
                reasons.setdefault(trial.number, f"it has used MaxResource ({limit})")
        return reasons

    def expects_no_gain(self) -> bool:
        """Return True if the search method expects no significant improvement."""
        return bool(outlook(self._strategy, self.history))

    def _trial(self, number: int, launch: Launch, job: Job | None) -> Trial:
        value = final_objective(job, self.metric.name)
        stats = {} if value is None else {self.metric.name: MetricStats(last=value, count=1, min=value, max=value)}
        return Trial(
            number=number,
            params=launch.params,
            state=_state(launch, job),
            metrics=stats,
            curve=tuple(job.curve) if job is not None else (),
        )


def _state(launch: Launch, job: Job | None) -> TrialState:
    if job is None:
        return TrialState.KILLED if launch.is_created else TrialState.PENDING
    stopped = TrialState.STOPPED if launch.is_stopped_early else TrialState.KILLED
    states = {
        "Stopping": TrialState.STOPPING,
        "Completed": TrialState.FINISHED,
        "Failed": TrialState.FAILED,
        "Stopped": stopped,
    }
    return states.get(job.status, TrialState.RUNNING)


def prior_trials(parents: Sequence[TuningRecord], table: JobTable, definition: Definition) -> list[Trial]:
    """Return the results of earlier tuning jobs as trials of a definition.

    A hyperparameter that was static in the parent has its static value. One that the parent did not have is
    missing in the params, and the search guesses its value.
    """
    metric = objective_of(definition)
    trials: list[Trial] = []
    for parent in parents:
        definitions = parent.parsed().definitions
        for launch in parent.launches:
            source = definitions[launch.definition]
            value = final_objective(table.get(launch.job_name), objective_of(source).name)
            if value is None or objective_of(source).goal is not metric.goal:
                continue
            static = source.request["HyperParameters"]
            known = {
                path[0]: launch.params.get(path[0], _typed(static.get(path[0]), leaf.ppf(0.5)))
                for path, leaf in definition.config.space.leaves
            }
            trials.append(
                Trial(
                    sweep_id=parent.name,
                    number=len(trials),
                    params={name: item for name, item in known.items() if item is not MISSING},
                    state=TrialState.FINISHED,
                    metrics={metric.name: MetricStats(last=value, count=1, min=value, max=value)},
                )
            )
    return trials


def _typed(text: str | None, example: object) -> Any:
    """Return a static hyperparameter with the type of an example; MISSING if it has another type."""
    if text is None or isinstance(example, str):
        return MISSING if text is None else text
    try:
        return type(example)(text)  # type: ignore[call-arg]  # an int or a float
    except (TypeError, ValueError):
        return MISSING


class Tuner(threading.Thread):
    """Thread that runs all live tuning jobs.

    Args:
        table: All tuning jobs.
        job_table: All training jobs.
        jobs: Creates and stops training jobs.
        clock: Returns seconds since the epoch.
    """

    def __init__(
        self, table: TuningTable, job_table: JobTable, jobs: TrainingJobApi, clock: Callable[[], float]
    ) -> None:
        super().__init__(name="smsweep-emulator-tuning", daemon=True)
        self._table = table
        self._job_table = job_table
        self._jobs = jobs
        self._clock = clock
        self._wakeup = threading.Event()
        self._is_closing = False
        self._runs: dict[str, TuningRun] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the thread until the `with` block ends. Tuning jobs that have not ended are stopping then."""
        self.start()
        try:
            yield
        finally:
            self.close()

    def wake(self) -> None:
        """Start the next tick at once."""
        self._wakeup.set()

    def close(self) -> None:
        """End the thread, and let all live tuning jobs stop. The next start of the emulator completes the stop."""
        self._is_closing = True
        self.wake()
        self.join()
        with self._table.lock:
            for record in self._table.live():
                record.status = "Stopping"
                self._table.save(record)

    def run(self) -> None:
        while not self._is_closing:
            records = self._table.live()
            for record in records:
                self._step(record)
            names = {record.name for record in records}
            self._runs = {name: run for name, run in self._runs.items() if name in names}
            self._wakeup.wait(TICK_S if records else IDLE_S)
            self._wakeup.clear()

    def _step(self, record: TuningRecord) -> None:
        try:
            run = self._runs.get(record.name)
            if run is None or run.record is not record:
                run = TuningRun(record, self._table, self._job_table, self._jobs, self._clock)
                self._runs[record.name] = run
            run.step()
        except ApiError as err:
            self._fail(record, f"ClientError: {err.message}")
        except SmsweepError as err:
            self._fail(record, f"ClientError: {err}")
        except Exception:  # an error of one tuning job must not affect the others
            log.exception("%s: internal error; the tuning job fails", record.name)
            self._fail(record, "InternalServerError: We encountered an internal error. Please try again.")

    def _fail(self, record: TuningRecord, reason: str) -> None:
        """Let a tuning job fail. Its training jobs are stopped first."""
        with self._table.lock:
            record.failure_reason = record.failure_reason or reason[:MAX_FAILURE_REASON]
            record.status = "Stopping"
            if record.name not in self._runs:  # the request cannot be read
                record.status, record.ended_at = "Failed", self._clock()
            self._table.save(record)


class TuningRun:
    """The execution of one tuning job.

    Args:
        record: The tuning job.
        table: All tuning jobs.
        job_table: All training jobs.
        jobs: Creates and stops training jobs.
        clock: Returns seconds since the epoch.
    """

    def __init__(
        self,
        record: TuningRecord,
        table: TuningTable,
        job_table: JobTable,
        jobs: TrainingJobApi,
        clock: Callable[[], float],
    ) -> None:
        self.record = record
        self._table = table
        self._job_table = job_table
        self._jobs = jobs
        self._clock = clock
        self._job: TuningJob = record.parsed()
        found = [table.get(name) for name in self._job.parents]
        parents = [parent for parent in found if parent is not None]  # a parent can be deleted
        self._searches = [
            DefinitionSearch(definition, record.seed + index, prior_trials(parents, job_table, definition))
            for index, definition in enumerate(self._job.definitions)
        ]
        self._n_checked = 0  # evaluated training jobs at the last check for convergence

    def step(self) -> None:
        """Bring the tuning job one step further."""
        with self._table.lock:
            launched = self._launched()
            for index, search in enumerate(self._searches):
                search.follow([item for item in launched if item[0].definition == index])
            live = [launch for launch, job in launched if job is not None and not job.is_terminal]
            if self.record.status == "Stopping" or self.record.is_complete:
                self._wind_up(launched, live)
                return
            if self._is_over(launched):
                self.record.is_complete = True
                self._table.save(self.record)
                self._wind_up(launched, live)
                return
            self._stop_early(live)
        self._launch_more()

    def _launched(self) -> list[tuple[Launch, Job | None]]:
        return [(launch, self._job_table.get(launch.job_name)) for launch in self.record.launches]

    def _stop_early(self, live: Sequence[Launch]) -> None:
        for index, search in enumerate(self._searches):
            own = [launch for launch in self.record.launches if launch.definition == index]
            for number, reason in search.stops().items():
                if own[number] in live and not own[number].is_stopped_early:
                    log.info("%s: stops early: %s", own[number].job_name, reason)
                    own[number].is_stopped_early = True
                    self._table.save(self.record)
                    self._stop(own[number])

    def _stop(self, launch: Launch) -> None:
        job = self._job_table.get(launch.job_name)
        if job is not None and not job.is_terminal:
            self._jobs.stop({"TrainingJobName": launch.job_name}, self.record.region)

    def _wind_up(self, launched: Sequence[tuple[Launch, Job | None]], live: Sequence[Launch]) -> None:
        """Stop the running training jobs, then end the tuning job."""
        for launch in live:
            if not launch.is_stopped_early:
                launch.is_stopped_early = True
                self._table.save(self.record)
            self._stop(launch)
        if live:
            return
        record = self.record
        record.launches = [launch for launch, job in launched if job is not None or launch.is_created]
        jobs = [job for _, job in launched if job is not None]
        has_objective = any(self._values(search, launched) for search in self._searches)
        if record.status == "InProgress" and not has_objective and not record.failure_reason:
            is_failed = bool(jobs) and all(job.status == "Failed" for job in jobs)
            record.failure_reason = ALL_FAILED if is_failed else NO_OBJECTIVE.format(n=len(jobs))
        stopped = "Stopped" if record.status == "Stopping" else "Completed"
        record.status = "Failed" if record.failure_reason else stopped
        record.modified_at = record.ended_at = self._clock()
        self._table.save(record)

    def _values(self, search: DefinitionSearch, launched: Sequence[tuple[Launch, Job | None]]) -> list[float]:
        """Return the final objective values of a definition, in the order in which the training jobs ended."""
        index = self._searches.index(search)
        ended = [job for launch, job in launched if launch.definition == index and job is not None]
        ended.sort(key=lambda job: (job.ended_at or 0.0, job.name))
        values = (final_objective(job, search.metric.name) for job in ended)
        return [value for value in values if value is not None]

    def _is_over(self, launched: Sequence[tuple[Launch, Job | None]]) -> bool:
        """Return True if a limit or a completion criterion ends the tuning job now."""
        job, record = self._job, self.record
        if job.max_runtime_s is not None and self._clock() - record.created_at >= job.max_runtime_s:
            return True
        is_running = any(
            not launch.is_created or (it is not None and not it.is_terminal) for launch, it in launched
        )
        is_capped = job.max_jobs is not None and len(record.launches) >= job.max_jobs
        is_used_up = all(search.is_used_up for search in self._searches)
        if (is_capped or is_used_up) and not is_running:
            return True
        values = [self._values(search, launched) for search in self._searches]
        n_completed = sum(it is not None and it.status == "Completed" for _, it in launched)
        if not any(values):
            return n_completed >= MAX_WITHOUT_OBJECTIVE
        return any(
            self._meets_criterion(*pair) for pair in zip(self._searches, values, strict=True) if pair[1]
        ) or (job.ends_on_convergence and self._has_converged(values))

    def _meets_criterion(self, search: DefinitionSearch, values: Sequence[float]) -> bool:
        metric, limit = search.metric, self._job.max_not_improving
        if metric.target is not None and any(not is_better(metric.target, v, metric.goal) for v in values):
            return True
        return limit is not None and n_not_improving(values, metric) >= limit

    def _has_converged(self, values: Sequence[Sequence[float]]) -> bool:
        """Return True if no definition is expected to improve. Only new values start a new check."""
        n_values = sum(map(len, values))
        if n_values == self._n_checked:
            return False
        self._n_checked = n_values
        for search, own in zip(self._searches, values, strict=True):
            stalled = n_not_improving(own, search.metric)
            if stalled < max(MIN_STALL, len(own) // 2) and not search.expects_no_gain():
                return False
        self.record.converged_at = self._clock()
        return True

    def _launch_more(self) -> None:
        """Create the training jobs that can start now: those stored before a crash first."""
        for launch in [launch for launch in self.record.launches if not launch.is_created]:
            if not self._create(launch):
                return
        while self._has_slot():
            search = self._next_search()
            params = search.suggest() if search is not None else None  # can be slow, so without the lock
            if search is None or params is None:
                if search is None:
                    return
                continue
            index = self._searches.index(search)
            with self._table.lock:
                if self.record.status != "InProgress":
                    return
                number = len(self.record.launches) + 1
                name = f"{self.record.name}-{number:03d}-{secrets.token_hex(4)}"
                launch = Launch(job_name=name, definition=index, params=dict(params))
                self.record.launches.append(launch)
                self._table.save(self.record)
                own = [item for item in self._launched() if item[0].definition == index]
                search.follow(own)
            if not self._create(launch):
                return

    def _has_slot(self) -> bool:
        with self._table.lock:
            n_launched = len(self.record.launches)
            n_live = sum(job is not None and not job.is_terminal for _, job in self._launched())
        is_capped = self._job.max_jobs is not None and n_launched >= self._job.max_jobs
        return self.record.status == "InProgress" and not is_capped and n_live < self._job.max_parallel

    def _next_search(self) -> DefinitionSearch | None:
        """Return the search with the fewest launches that is not used up."""
        candidates = [search for search in self._searches if not search.is_used_up]
        return min(candidates, key=lambda search: search.history.next_number, default=None)

    def _create(self, launch: Launch) -> bool:
        """Create the training job of a launch. Returns False if the quota has no room for it."""
        definition = self._job.definitions[launch.definition]
        texts = {name: parameter_text(value) for name, value in launch.params.items()}
        request = training_job_request(self.record, definition, launch, texts)
        if self._job_table.get(launch.job_name) is None:  # it exists if the emulator was killed right after
            try:
                self._jobs.create(request, self.record.region, tuning_job_arn=self.record.arn)
            except ApiError as err:
                if err.code == "ResourceLimitExceeded":
                    return False
                raise
        with self._table.lock:
            launch.is_created = True
            self._table.save(self.record)
        return True
