"""Simulation of hundreds of concurrent trials on SageMaker, with a clock that advances when the agent sleeps.

The agent, the backend, boto3 and the API of the emulator are real. There are no sockets: botocore calls the
emulator's application directly. The jobs compute nothing, and train for a fixed time on the clock.

    python -m tests.support.simulated_sagemaker [--trials 500] [--minutes 10]
"""

from __future__ import annotations

import argparse
import bisect
import io
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.httpsession import URLLib3Session
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.test import Client

from smsweep.backends.sagemaker.backend import SageMakerBackend
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.job import JobTemplate, Site
from smsweep.core.sweep import Sweep
from smsweep.emulator.api.access import Access, AccessKeys
from smsweep.emulator.api.app import Admin, App
from smsweep.emulator.api.batch_api import ServiceJobs
from smsweep.emulator.api.training_jobs import SageMakerApi, TrainingJobs
from smsweep.emulator.api.tuning_jobs import TuningJobs
from smsweep.emulator.faults import CallLog, FaultInjector, Faults
from smsweep.emulator.jobs.job import Job, JobTable
from smsweep.emulator.jobs.moto_services import MotoServices, moto_lifetime
from smsweep.emulator.jobs.runner import client_environment
from smsweep.emulator.jobs.tuning_job import TuningTable
from smsweep.engine.agent import Agent
from smsweep.engine.agent_state import AgentOptions, AgentResult
from smsweep.engine.controller import Controller, Rules
from smsweep.engine.failure_limit import FailureLimit
from smsweep.engine.job_request import training_job
from smsweep.engine.metric_parser import MetricParser
from smsweep.engine.places import Place
from smsweep.runtime.script.records import METRICS, end_record, records
from smsweep.search.registry import make_strategy
from smsweep.services.workspace import read_stored
from smsweep.store.open import open_store
from tests.sagemaker.conftest import ROLE

START = datetime(2026, 1, 2, tzinfo=timezone.utc).timestamp()
STARTING_S, LOG_S = 90.0, 60.0  # time until a job trains; time between two log lines
# Rate limits that AWS documents for these three calls.
AWS = Faults(throttle={"CreateTrainingJob": 1, "ListTrainingJobs": 2, "FilterLogEvents": 5})
TEMPLATE = JobTemplate(
    request={
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": "image", "ContainerArguments": ["--say-end"]},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
    }
)
SITE = Site(assets_uri="s3://bucket/assets", output_uri="s3://bucket/jobs", checkpoint_uri="s3://bucket/ck")


class Simulation:
    """An account whose jobs train for a fixed time. `now` is in seconds since the epoch."""

    def __init__(self, folder: Path, train_s: float, faults: Faults) -> None:
        self.now = START
        self.most_alive = 0
        self._train_s = train_s
        self._table = JobTable(folder / "jobs")
        self._cloud = MotoServices()
        self._logged: dict[str, int] = defaultdict(int)  # job name -> number of lines written
        box = FaultInjector(faults, self.clock)
        self.ledger = CallLog(folder / "ledger.jsonl")
        jobs = TrainingJobs(self._table, box, lambda uri: True, self.clock, lambda job: None, lambda name: None)
        tuning_table = TuningTable(folder / "tuning-jobs", self._table.lock)
        tuning_jobs = TuningJobs(tuning_table, self._table, box, lambda uri: True, self.clock, lambda: None)
        keys = AccessKeys(self.clock)
        self.environ = client_environment("http://127.0.0.1", keys.user)
        app = App(
            Access(keys, "http://127.0.0.1", (), self.clock),
            keys.internal.id,
            SageMakerApi(self._table, jobs, tuning_table, tuning_jobs, box, self.clock),
            ServiceJobs(self._table, jobs, self.clock),
            self._cloud,
            Admin(box, self.ledger, "token"),
            box,
            self.ledger,
            DomainDispatcherApplication(create_backend_app),
            self.clock,
        )
        self._client = Client(app)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        live = self._table.live()
        self.most_alive = max(self.most_alive, len(live))
        for job in live:
            self._move(job, self.now - job.created_at - STARTING_S)

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        """Pass a request of botocore to the application, in place of the network."""
        headers = {name: _text(value) for name, value in request.headers.items()}
        headers["Host"] = urlsplit(request.url).netloc
        answer = self._client.open(
            request.url, method=request.method, headers=headers, data=request.body, buffered=True
        )
        response_headers = {name: value for name, value in answer.headers.items() if name.lower() != "date"}
        return AWSResponse(
            request.url, answer.status_code, HTTPHeaders.from_dict(response_headers), _Raw(answer.get_data())
        )

    def _move(self, job: Job, trained_s: float) -> None:
        if trained_s < 0:
            return
        if job.secondary_status == "Starting":
            job.enter("Training", self.now)
            job.started_at = self.now
            job.log_stream = f"{job.name}/algo-1-{round(self.now)}"
        is_over = trained_s >= self._train_s
        lines: list[str] = []
        while self._logged[job.name] * LOG_S < min(trained_s, self._train_s):
            step = self._logged[job.name]
            lines += records(METRICS, {"loss": 1.0 / (1 + step)}, time=self.now, step=step)
            self._logged[job.name] += 1
        if is_over:
            lines.append(end_record(0).rstrip("\n"))
        if lines:
            self._cloud.write_log(job, lines, self.now)
        if is_over:
            job.ended_at, job.billable_s = self.now, round(self._train_s)
            job.enter("Completed", self.now)


class _Raw(io.BytesIO):
    """A response body for botocore."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def run(
    folder: Path, n_trials: int, train_s: float, faults: Faults, *, least_sleep_s: float = 0.0
) -> tuple[AgentResult, Simulation]:
    """Run a sweep with n_trials concurrent trials. least_sleep_s: minimum time between two ticks of the agent."""
    simulation = Simulation(folder, train_s, faults)
    parsed = parse_sweep(
        {
            "method": "grid",
            "program": "train.py",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": {"x": {"min": 1, "max": n_trials}},
        }
    )
    store = open_store(
        f"sqlite:///{folder / 'store.db'}",
        environ={},
        parse=read_stored,
        clock=lambda: datetime.fromtimestamp(simulation.now, timezone.utc),
    )
    sweep = store.create_sweep(Sweep(id="abcd1234", config=parsed.config, seed=0, sweep_yaml=parsed.text))
    backend = SageMakerBackend(simulation.environ, simulation.clock, simulation.clock)
    agent = Agent(
        store,
        [Place(backend=backend, render=lambda trial: training_job(TEMPLATE, sweep, trial, SITE), slots=n_trials)],
        Controller(store, sweep, Rules(strategy=make_strategy(parsed.config, 0))),
        MetricParser(),
        agent_id="a",
        options=AgentOptions(),
        flapping=FailureLimit(datetime.fromtimestamp(START, timezone.utc)),
        clock=lambda: datetime.fromtimestamp(simulation.now, timezone.utc),
        sleep=lambda seconds: simulation.sleep(max(seconds, least_sleep_s)),
    )
    in_place = patch.object(URLLib3Session, "send", lambda session, request: simulation.send(request))
    with moto_lifetime(), in_place, closing(store), closing(backend), closing(simulation.ledger):
        outcome = agent.run()
    return outcome, simulation


def calls(simulation: Simulation) -> dict[str, list[float]]:
    """Return the times of all calls by action, in seconds from the start."""
    times: dict[str, list[float]] = defaultdict(list)
    for entry in simulation.ledger.read():
        times[entry["action"]].append(entry["at"] - START)
    return times


def most_in_a_second(times: list[float]) -> int:
    return max(bisect.bisect_left(times, at + 1) - index for index, at in enumerate(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=10, help="that each trains")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        outcome, simulation = run(Path(name), options.trials, options.minutes * 60, AWS)
        times_by_action = calls(simulation)
    print(
        f"{sum(outcome.ended.values())} ended, {simulation.most_alive} alive at once, "
        f"{(simulation.now - START) / 60:.0f} minutes by their clock"
    )
    for action, times in times_by_action.items():
        print(f"  {action:20} {len(times):5} calls, at most {most_in_a_second(times)} in any second")


if __name__ == "__main__":
    main()
