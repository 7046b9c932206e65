"""Agents as real processes on one real store. Their jobs are files that end after a fixed time.

Agents are forked, so that a start takes milliseconds and tests can kill hundreds of them.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path

from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.job import JobStatus, JobTemplate, LogPage, Site, TrainingJobRequest
from smsweep.core.sweep import Sweep, SweepConfig
from smsweep.engine.agent import Agent
from smsweep.engine.agent_state import AgentOptions
from smsweep.engine.controller import Controller, Rules
from smsweep.engine.failure_limit import FailureLimit
from smsweep.engine.job_request import training_job
from smsweep.engine.metric_parser import MetricParser
from smsweep.engine.places import Place
from smsweep.runtime.script.records import METRICS, records
from smsweep.search.registry import make_strategy
from smsweep.services.agent_ids import new_agent_id, release_dead_agents
from smsweep.services.agents.run_agent import listening
from smsweep.stopping.registry import make_rule
from smsweep.store.base import Store
from smsweep.store.open import open_store
from smsweep.util.clock import utc_now

SITE = Site(assets_uri="file:///assets", output_uri="file:///jobs", checkpoint_uri="file:///checkpoints")
SWEEP = "abcd1234"
POINTS = 3  # metric points of each job
Process = multiprocessing.process.BaseProcess
FORK = multiprocessing.get_context("fork")


class FolderBackend:
    """Backend whose jobs are files. A job ends a fixed time after its file was created. Jobs are never removed."""

    place = "folder@here"

    def __init__(self, folder: Path, lasts_s: float) -> None:
        self._folder = folder
        self._lasts_s = lasts_s

    def submit(self, request: TrainingJobRequest) -> None:
        (self._folder / request["TrainingJobName"]).touch(exist_ok=True)

    def describe(self, names: Collection[str]) -> dict[str, JobStatus]:
        return {name: status for name in names if (status := self._status(name)) is not None}

    def stop(self, name: str, *, grace_s: float | None = None) -> None:
        (self._folder / f"{name}.stop").touch()

    def read_logs(self, name: str, cursor: str = "") -> LogPage:
        status = self._status(name)
        start, n = int(cursor or 0), POINTS if status is not None and status.is_terminal else 1
        lines = [line for step in range(n) for line in records(METRICS, {"loss": step}, time=1.0, step=step)]
        return LogPage(lines=tuple(lines[start:]), cursor=str(n), is_last=n == POINTS)

    def forget(self, name: str) -> None:
        pass

    def wait(self, timeout_s: float) -> None:
        time.sleep(min(timeout_s, self._lasts_s))

    def close(self) -> None:
        pass

    def _status(self, name: str) -> JobStatus | None:
        try:
            age_s = time.time() - (self._folder / name).stat().st_mtime
        except FileNotFoundError:
            return None
        if (self._folder / f"{name}.stop").exists():
            return JobStatus(name=name, status="Stopped", secondary_status="Stopped", exit_code=143)
        status = "Completed" if age_s >= self._lasts_s else "InProgress"
        return JobStatus(name=name, status=status, secondary_status=status, exit_code=0)


class Crew:
    """One sweep, and any number of agents."""

    def __init__(self, url: str, folder: Path, n_trials: int, *, lasts_s: float = 0.02, parallel: int = 1) -> None:
        self.url = url
        self.jobs = folder / "jobs"
        self.jobs.mkdir(parents=True)
        self._lasts_s = lasts_s
        self._parallel = parallel
        config = {"program": "train.py", "method": "grid", "parameters": {"x": {"values": list(range(n_trials))}}}
        self._parsed = parse_sweep(config)
        with self.store() as store:
            store.create_sweep(Sweep(id=SWEEP, config=self._parsed.config, seed=0, sweep_yaml=self._parsed.text))

    def store(self) -> closing[Store]:
        return closing(open_store(self.url, environ={}, parse=self._parse))

    def start(self, before: Callable[[], None] = lambda: None) -> Process:
        """Fork an agent. before: a function that the agent calls first."""
        process = FORK.Process(target=self._work, args=(before,), daemon=True)
        process.start()
        return process

    def finish(self, n_agents: int = 1) -> None:
        """Start new agents, and wait until they have finished the sweep."""
        for process in [self.start() for _ in range(n_agents)]:
            process.join(250)  # 32 agents on one PostgreSQL need two minutes on a busy machine
            assert process.exitcode == 0

    def check(self, n_trials: int) -> None:
        """Check that no trial was lost or repeated, and that no job is left."""
        with self.store() as store:
            trials = sorted(store.list_trials(SWEEP), key=lambda trial: trial.number)
            assert [trial.params["x"] for trial in trials] == list(range(n_trials)), "each trial exists once"
            assert {(trial.state.value, trial.attempt) for trial in trials} == {("finished", 0)}
            assert {trial.n_points for trial in trials} == {POINTS}, "each point is stored once"
            assert store.get_sweep(SWEEP).state == "finished"
            assert store.holders(SWEEP) == set()
        assert {file.name for file in self.jobs.iterdir()} == {trial.job_name for trial in trials}, "no orphan"

    def _parse(self, sweep_yaml: str, job_yaml: str) -> tuple[SweepConfig, JobTemplate]:
        return self._parsed.config, JobTemplate()

    def _work(self, before: Callable[[], None]) -> None:
        logging.disable()
        before()
        with self.store() as store, closing(FolderBackend(self.jobs, self._lasts_s)) as backend:
            agent = self._agent(store, backend)
            release_dead_agents(store, SWEEP)
            with listening(agent):
                agent.run()
        os._exit(0)

    def _agent(self, store: Store, backend: FolderBackend) -> Agent:
        sweep = store.get_sweep(SWEEP)
        strategy = make_strategy(sweep.config, sweep.seed)
        return Agent(
            store,
            [
                Place(
                    backend=backend,
                    render=lambda trial: training_job(JobTemplate(), sweep, trial, SITE),
                    slots=self._parallel,
                )
            ],
            Controller(store, sweep, Rules(strategy=strategy, stopping=make_rule(sweep.config, ()))),
            MetricParser(),
            agent_id=new_agent_id(),
            options=AgentOptions(longest_sleep_s=0.05),
            flapping=FailureLimit(utc_now(), max_consecutive=None),
            clock=utc_now,
            sleep=backend.wait,
        )
