"""Tests of the decisions of tuning jobs. The training jobs end as the test says, without processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from smsweep.core.sweep import Goal, Metric
from smsweep.emulator.api_error import quota_reached
from smsweep.emulator.jobs.job import Job, JobTable
from smsweep.emulator.jobs.tuner import TuningRun, n_not_improving
from smsweep.emulator.jobs.tuning_job import Launch, TuningRecord, TuningTable
from tests.unit.config_files.test_tuning_job import a_definition, a_range, a_request, floats

Result = Callable[
    [Mapping[str, str], int], tuple[str, list[float]]
]  # (params, number) -> status, objective values
MAX_STEPS = 500


def distance(params: Mapping[str, str], number: int) -> tuple[str, list[float]]:
    return "Completed", [abs(float(params["x"]) - 0.3)]


class Account:
    """Tables of an emulator, and training jobs that end with the next call of `finish`.

    Args:
        folder: Folder of the tables.
        result: Returns the status and the objective values of a training job. Status InProgress lets it run.
    """

    def __init__(self, folder: Path, result: Result = distance) -> None:
        self.folder = folder
        self.result = result
        self.jobs = JobTable(folder / "jobs")
        self.tuning = TuningTable(folder / "tuning-jobs", self.jobs.lock)
        self.now = 1000.0
        self.quota = 10**6
        self.stopped: list[str] = []

    def create(self, request: dict[str, Any], region: str, *, tuning_job_arn: str = "") -> dict[str, Any]:
        if len(self.jobs.live()) >= self.quota:
            raise quota_reached("ml.m5.large for training job usage", self.quota, self.quota, 1)
        tags = {tag["Key"]: tag["Value"] for tag in request.pop("Tags")}
        name = request["TrainingJobName"]
        job = Job(
            name=name,
            arn=name,
            region=region,
            request=request,
            tags=tags,
            created_at=self.now,
            modified_at=self.now,
        )
        job.tuning_job_arn = tuning_job_arn
        job.enter("Training", self.now)
        self.jobs.add(job)
        return {"TrainingJobArn": name}

    def stop(self, request: dict[str, Any], region: str) -> None:
        job = self.jobs.get(request["TrainingJobName"])
        assert job is not None
        job.enter("Stopping", self.now)
        self.stopped.append(job.name)

    def finish(self) -> None:
        """End the training jobs, oldest first."""
        for number, job in enumerate(self.jobs.all()):
            if not job.is_terminal:
                self.now += 1
                status, values = self.result(job.request["HyperParameters"], number)
                job.curve = values
                if values:
                    job.final_metrics = {"loss": (values[-1], self.now)}
                if job.is_stopping or status != "InProgress":
                    job.enter("Stopped" if job.is_stopping else status, self.now)
                    job.ended_at = self.now
                self.jobs.save(job)

    def add(self, request: dict[str, Any], seed: int = 0) -> TuningRecord:
        record = TuningRecord(
            name=request["HyperParameterTuningJobName"],
            arn="arn",
            region="us-east-1",
            request=request,
            tags={"team": "red"},
            created_at=self.now,
            modified_at=self.now,
            seed=seed,
        )
        self.tuning.add(record)
        return record

    def a_run(self, record: TuningRecord) -> TuningRun:
        return TuningRun(record, self.tuning, self.jobs, self, lambda: self.now)

    def run(self, request: dict[str, Any], seed: int = 0) -> TuningRecord:
        """Run a tuning job to its end."""
        record = self.add(request, seed)
        run = self.a_run(record)
        for _ in range(MAX_STEPS):
            run.step()
            if record.is_terminal:
                return record
            self.finish()
        raise AssertionError(record)


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path)


def params_of(record: TuningRecord) -> list[dict[str, Any]]:
    return [launch.params for launch in record.launches]


def criteria(**fields: Any) -> dict[str, Any]:
    limits = {"MaxNumberOfTrainingJobs": 100, "MaxParallelTrainingJobs": 1}
    return a_request(
        floats("0.0", "1.0", "Linear"),
        ResourceLimits=limits,
        TuningJobCompletionCriteria=fields,
        Strategy="Random",
    )


@pytest.mark.parametrize("strategy", ["Bayesian", "Random", "Hyperband"])
def test_tuning_job_runs_its_number_of_training_jobs(account: Account, strategy: str) -> None:
    record = account.run(a_request(floats("0.0", "1.0"), Strategy=strategy))
    assert record.status == "Completed"
    assert len(record.launches) == 10
    assert {job.tags["team"] for job in account.jobs.all()} == {"red"}
    names = [job.name for job in account.jobs.all()]
    assert [name.rpartition("-")[0] for name in names] == [f"tune-{number:03d}" for number in range(1, 11)]


def test_no_more_training_jobs_run_at_once_than_the_limit(account: Account) -> None:
    record = account.add(a_request(floats("0.0", "1.0")))
    account.a_run(record).step()
    assert len(account.jobs.live()) == 2


def test_bayesian_search_approaches_the_optimum(account: Account) -> None:
    limits = {"MaxNumberOfTrainingJobs": 25, "MaxParallelTrainingJobs": 1}
    record = account.run(a_request(floats("0.0", "1.0", "Linear"), ResourceLimits=limits))
    assert min(abs(params["x"] - 0.3) for params in params_of(record)) < 0.01


def test_grid_tries_every_combination_once(account: Account) -> None:
    account.result = lambda params, number: ("Completed", [1.0])
    choices = [{"Name": name, "Values": ["a", "b", "c"]} for name in "xy"]
    limits = {"MaxParallelTrainingJobs": 2}
    record = account.run(
        a_request({"CategoricalParameterRanges": choices}, Strategy="Grid", ResourceLimits=limits)
    )
    tried = [(params["x"], params["y"]) for params in params_of(record)]
    assert (len(tried), len(set(tried)), record.status) == (9, 9, "Completed")


def test_same_seed_gives_the_same_hyperparameters(tmp_path: Path) -> None:
    runs = [
        Account(tmp_path / name).run(a_request(floats("0.0", "1.0")), seed)
        for name, seed in zip("abc", (7, 7, 8), strict=True)
    ]
    first, second, other = map(params_of, runs)
    assert first == second
    assert first != other


def test_target_ends_the_tuning_job(account: Account) -> None:
    account.result = lambda params, number: ("Completed", [10.0 - number])
    record = account.run(criteria(TargetObjectiveMetricValue=7.0))
    assert (record.status, len(record.launches)) == ("Completed", 4)


def test_tuning_job_without_improvement_ends(account: Account) -> None:
    account.result = lambda params, number: ("Completed", [1.0 - min(number, 2) * 0.1])
    record = account.run(criteria(BestObjectiveNotImproving={"MaxNumberOfTrainingJobsNotImproving": 4}))
    assert (record.status, len(record.launches)) == ("Completed", 7)


def test_improvement_below_one_percent_does_not_count() -> None:
    metric = Metric(name="loss", goal=Goal.MINIMIZE)
    assert n_not_improving([1.0, 0.995, 0.992, 0.9, 0.95], metric) == 1
    assert n_not_improving([1.0, 1.005, 1.02], Metric(name="acc", goal=Goal.MAXIMIZE)) == 0
    assert n_not_improving([], metric) == 0


def test_convergence_ends_the_tuning_job(account: Account) -> None:
    account.result = lambda params, number: ("Completed", [1.0])
    record = account.run(criteria(ConvergenceDetected={"CompleteOnConvergence": "Enabled"}))
    assert (record.status, len(record.launches)) == ("Completed", 16)
    assert record.converged_at is not None


def test_time_limit_stops_running_training_jobs(account: Account) -> None:
    account.result = lambda params, number: ("InProgress", [1.0])
    limits = {"MaxParallelTrainingJobs": 2, "MaxRuntimeInSeconds": 120}
    record = account.run(a_request(floats("0.0", "1.0"), ResourceLimits=limits))
    assert (record.status, len(account.stopped)) == ("Completed", 2)


def test_tuning_job_fails_if_all_training_jobs_fail(account: Account) -> None:
    account.result = lambda params, number: ("Failed", [])
    record = account.run(a_request(floats("0.0", "1.0")))
    assert record.status == "Failed"
    assert record.failure_reason.startswith("All training jobs failed.")


def test_tuning_job_without_objective_values_fails_after_five_training_jobs(account: Account) -> None:
    account.result = lambda params, number: ("Completed", [])
    record = account.run(criteria())
    assert (record.status, len(record.launches)) == ("Failed", 5)
    assert record.failure_reason.startswith("No objective metrics found after running 5 training jobs.")


def test_early_stopping_stops_a_poor_training_job(account: Account) -> None:
    def result(params: Mapping[str, str], number: int) -> tuple[str, list[float]]:
        return ("Completed", [1.0, 1.0, 1.0]) if number < 4 else ("InProgress", [9.0, 9.0])

    account.result = result
    limits = {"MaxNumberOfTrainingJobs": 5, "MaxParallelTrainingJobs": 1}
    record = account.run(
        a_request(floats("0.0", "1.0"), ResourceLimits=limits, TrainingJobEarlyStoppingType="Auto")
    )
    assert record.status == "Completed"
    assert [launch.is_stopped_early for launch in record.launches] == [False] * 4 + [True]


def test_hyperband_stops_a_training_job_beyond_its_largest_resource(account: Account) -> None:
    account.result = lambda params, number: ("InProgress", [1.0] * 10)
    record = account.run(a_request(floats("0.0", "1.0"), Strategy="Hyperband"))  # 9 epochs
    assert record.status == "Completed"
    assert all(launch.is_stopped_early for launch in record.launches)


def test_several_definitions_take_turns(account: Account) -> None:
    request = a_request()
    config = request["HyperParameterTuningJobConfig"]
    del request["TrainingJobDefinition"], config["ParameterRanges"]
    objective = config.pop("HyperParameterTuningJobObjective")
    request["TrainingJobDefinitions"] = [
        a_definition(DefinitionName=name, TuningObjective=objective, HyperParameterRanges=floats(low, "1.0"))
        for name, low in (("one", "0.0"), ("two", "0.5"))
    ]
    record = account.run(request)
    assert [launch.definition for launch in record.launches] == [0, 1] * 5
    assert min(launch.params["x"] for launch in record.launches if launch.definition == 1) >= 0.5


def test_warm_start_uses_the_results_of_the_parent(account: Account) -> None:
    limits = {"MaxNumberOfTrainingJobs": 20, "MaxParallelTrainingJobs": 1}
    parent = a_request(floats("0.0", "1.0", "Linear"), ResourceLimits=limits)
    account.run({**parent, "HyperParameterTuningJobName": "parent"})
    child = a_request(
        floats("0.0", "1.0", "Linear"),
        ResourceLimits={"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 1},
    )
    child["WarmStartConfig"] = {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "parent"}],
        "WarmStartType": "IdenticalDataAndAlgorithm",
    }
    record = account.run(child)
    assert min(abs(params["x"] - 0.3) for params in params_of(record)) < 0.05


def test_training_job_waits_for_the_quota(account: Account) -> None:
    account.quota = 1
    record = account.run(a_request(floats("0.0", "1.0")))
    assert (record.status, len(account.jobs.all())) == ("Completed", 10)


def test_stopped_tuning_job_stops_its_training_jobs(account: Account) -> None:
    account.result = lambda params, number: ("InProgress", [])
    record = account.add(a_request(floats("0.0", "1.0")))
    run = account.a_run(record)
    run.step()
    record.status = "Stopping"
    run.step()
    assert (record.status, len(account.stopped)) == ("Stopping", 2)
    account.finish()
    run.step()
    assert record.status == "Stopped"


@pytest.mark.parametrize("is_submitted", [False, True])
def test_training_job_of_a_killed_emulator_is_created_once(account: Account, *, is_submitted: bool) -> None:
    record = account.add(a_request(floats("0.0", "1.0")))
    account.a_run(record).step()
    killed = record.launches[-1]
    killed.is_created = False  # killed before, or just after, the training job was created
    if not is_submitted:
        account.jobs.remove(killed.job_name)
    account.tuning.save(record)
    again = Account(account.folder)
    (stored,) = again.tuning.all()
    assert isinstance(stored.launches[0], Launch)
    again.a_run(stored).step()
    assert [launch.job_name for launch in stored.launches] == [
        job.name for job in sorted(again.jobs.all(), key=lambda job: job.name)
    ]
    assert all(launch.is_created for launch in stored.launches)


def test_search_continues_after_a_restart(account: Account) -> None:
    request = a_request(floats("0.0", "1.0"))
    whole = params_of(account.run(request, seed=3))
    other = Account(account.folder / "other")
    record = other.add(request, seed=3)
    for _ in range(3):
        other.a_run(record).step()  # a new run reads everything from the tables
        other.finish()
    other.a_run(record).step()
    made = params_of(record)
    assert made == whole[: len(made)]


def test_integer_and_text_reach_the_training_job_as_text(account: Account) -> None:
    account.result = lambda params, number: ("Completed", [1.0])
    ranges = {
        "IntegerParameterRanges": [a_range("n", "3", "3")],
        "CategoricalParameterRanges": [{"Name": "c", "Values": ['"adam"']}],
        **floats("0.1", "0.2"),
    }
    account.run(a_request(ranges))
    sent = account.jobs.all()[0].request["HyperParameters"]
    assert (sent["n"], sent["c"], sent["epochs"]) == ("3", '"adam"', "9")
    assert 0.1 <= float(sent["x"]) <= 0.2
