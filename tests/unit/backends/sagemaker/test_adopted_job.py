"""A job that another agent has started, just before this agent starts it."""

from __future__ import annotations

from unittest import mock

from smsweep.backends.sagemaker import backend as sagemaker
from smsweep.config_files.job_yaml import parse_job
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.sweep import Sweep
from smsweep.core.trial import Trial
from smsweep.engine.job_request import training_job
from smsweep.engine.metric_parser import MetricParser
from tools.simulate.account import Account, Connection, JobRates
from tools.simulate.run import SITE
from tools.simulate.scenario import draw
from tools.simulate.world import World


def test_log_is_read_from_its_beginning() -> None:
    scenario = draw(0)
    world = World(seed=0, rates={}, calm_s=0, end_s=10_000)
    rates = JobRates(fails=0, loses_machine=0, gets_no_machine=0, shortest_s=200, longest_s=200)
    account = Account(world, "eu-west-1", 8, rates, on_create=lambda job: None)
    sweep = Sweep(id="abcd1234", config=parse_sweep(scenario.config).config)
    request = training_job(
        parse_job(scenario.job).template, sweep, Trial(sweep_id=sweep.id, number=0, params={}), SITE
    )
    name, lines = request["TrainingJobName"], list[str]()

    def agent() -> None:
        first, second = (sagemaker.SageMakerBackend({}, world.time, world.monotonic) for _ in range(2))
        first.submit(request)
        world.sleep(150)  # the job has logged values
        second.submit(request)
        cursor = ""
        while True:
            world.sleep(5)
            status = second.describe([name])[name]
            page = second.read_logs(name, cursor)
            lines.extend(page.lines)
            cursor = page.cursor
            if status.is_terminal and page.is_last:
                return

    with mock.patch.object(sagemaker, "Aws", lambda _: Connection(account)):
        world.start("agent", agent, 0.0)
        world.run()
    points = MetricParser().read(lines, world.true_utc()).points
    assert [(point.step, point.value) for point in points] == [point[1:] for point in account.jobs[name].points]
    assert len(points) == rates.steps
