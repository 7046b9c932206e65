"""A sweep in a real store, and agents on a scripted backend, with one clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from smsweep.backends.base import Backend
from smsweep.config_files.job_yaml import parse_job
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.budget import Budget, BudgetTracker, budgets_of
from smsweep.core.job import Confirm, JobTemplate, SearchSettings, Site, TrainingJobRequest
from smsweep.core.sweep import Sweep
from smsweep.core.trial import Trial
from smsweep.engine.agent import Agent
from smsweep.engine.agent_state import AgentOptions
from smsweep.engine.controller import Controller, Rules
from smsweep.engine.failure_limit import FailureLimit
from smsweep.engine.job_request import training_job
from smsweep.engine.metric_parser import MetricParser
from smsweep.engine.places import Place
from smsweep.runtime.script.records import METRICS, records
from smsweep.search.registry import make_strategy
from smsweep.services.agents.setup import new_parallel
from smsweep.services.workspace import read_stored
from smsweep.stopping.registry import make_rule
from smsweep.store.base import Store
from smsweep.store.open import open_store

AN_HOUR = {"StoppingCondition": {"MaxRuntimeInSeconds": 3600}}
SITE = Site(assets_uri="file:///assets", output_uri="file:///jobs", checkpoint_uri="file:///checkpoints")


class Kit:
    """Makes agents on one sweep. `sleep` advances the clock and does not wait.

    Args:
        folder: Folder for the store.
        config: The sweep config.
        seed: Seed of the search.
        url: URL of a store with its own clock; None for a store that uses the kit's clock.
        job: The job config that changes of the sweep start from; agents apply it after the first change.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        seed: int = 0,
        url: str | None = None,
        job: Mapping[str, Any] | None = None,
    ) -> None:
        self.clock_now = datetime(2026, 1, 2, tzinfo=timezone.utc)
        self.slept = 0
        parsed, parsed_job = parse_sweep(config), parse_job(job or {})
        self._url = url or f"sqlite:///{folder / 'store.db'}"
        self._store_clock = None if url else lambda: self.clock_now
        self.store = self.open_store()
        self.sweep = self.store.create_sweep(
            Sweep(
                id="abcd1234",
                config=parsed.config,
                seed=seed,
                sweep_yaml=parsed.text,
                job=parsed_job.template,
                job_yaml=parsed_job.text if job else "",
            )
        )
        self.on_sleep: Callable[[], None] = lambda: None

    def open_store(self) -> Store:
        return open_store(self._url, environ={}, parse=read_stored, clock=self._store_clock)

    def agent(
        self,
        backend: Backend,
        *,
        agent_id: str = "a",
        retries: int = 1,
        parallel: int = 1,
        count: int | None = None,
        max_consecutive: int | None = None,
        trial_cap: int | None = None,
        stop_if: Sequence[str] = (),
        repeats: int = 1,
        confirm: Confirm | None = None,
        searches: bool = True,
        hours: float | None = None,
        grace_s: float | None = None,
        until: frozenset[int] | None = None,
        places: Sequence[Place] = (),
        budgets: Sequence[Budget] | None = None,
    ) -> Agent:
        """Return an agent.

        Args:
            hours: Budget for trials of at most one hour each; None for no budget.
            places: Places instead of `backend`.
            budgets: Budgets instead of `hours`.
        """
        budget = {} if hours is None else {"hours": hours}
        first_budgets = budgets_of(JobTemplate(request=AN_HOUR, budget=budget)) if budgets is None else budgets

        first_revision = self.store.get_sweep(self.sweep.id).config_revision

        def make_rules(sweep: Sweep) -> Rules:
            config = sweep.config
            is_changed = sweep.config_revision > 1
            limits = budgets_of(sweep.job) if is_changed else first_budgets
            distinct = True if config.method == "random" else None
            job = JobTemplate(repeats=repeats, search=SearchSettings(distinct=distinct))
            return Rules(
                strategy=make_strategy(config, sweep.seed, job),
                stopping=make_rule(config, sweep.job.stop_if if is_changed else stop_if),
                trial_cap=trial_cap,
                budget=BudgetTracker(limits),
                parallel=new_parallel(self.store, sweep, first_revision),
            )

        controller = Controller(
            self.store,
            self.sweep,
            make_rules(self.sweep),
            make_rules=make_rules,
            repeats=repeats,
            confirm=confirm,
            searches=searches,
        )
        return Agent(
            self.store,
            places or [Place(backend=backend, render=self.render, slots=parallel)],
            controller,
            MetricParser(),
            agent_id=agent_id,
            options=AgentOptions(count=count, retries={"crashed": retries}, grace_s=grace_s, until=until),
            flapping=FailureLimit(self.clock_now, max_consecutive=max_consecutive),
            clock=lambda: self.clock_now,
            sleep=self._sleep,
        )

    def render(self, trial: Trial) -> TrainingJobRequest:
        return training_job(JobTemplate(), self.sweep, trial, SITE)

    def trials(self) -> list[Trial]:
        return sorted(self.store.list_trials(self.sweep.id), key=lambda trial: trial.number)

    def states(self) -> list[str]:
        return [trial.state.value for trial in self.trials()]

    def advance(self, seconds: float) -> None:
        self.clock_now += timedelta(seconds=seconds)

    def _sleep(self, seconds: float) -> None:
        self.slept += 1
        assert self.slept < 5_000, "the agent does not end"
        self.advance(seconds)
        self.on_sleep()


def logged(step: int, **values: Any) -> str:
    """Return the line that `smsweep.log(values, step)` prints."""
    (line,) = records(METRICS, values, time=1_700_000_000.0 + step, step=step)
    return line
