"""Tests of tuning jobs in the emulator with boto3. Training jobs are processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.account import BUCKET, Account, error_of, open_account

LOSS = [{"Name": "loss", "Regex": r"loss=([0-9.e+-]+);"}]
SQUARE = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--width", type=float, default=0.0)
args, _ = parser.parse_known_args()
print(f"loss={(args.width - 3) ** 2};")
"""
RANGES = {"ContinuousParameterRanges": [{"Name": "width", "MinValue": "0", "MaxValue": "10"}]}
ENDED = ("Completed", "Failed", "Stopped")


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with open_account(tmp_path_factory.mktemp("emulator"), os.environ) as opened:
        yield opened


def a_definition(account: Account, script: str = SQUARE, **more: Any) -> dict[str, Any]:
    """Return a training job definition that runs a script."""
    job = account.request("unused", script)
    return {
        "StaticHyperParameters": {**job["HyperParameters"], **more.pop("StaticHyperParameters", {})},
        "AlgorithmSpecification": {**job["AlgorithmSpecification"], "MetricDefinitions": LOSS},
        **{name: job[name] for name in ("RoleArn", "OutputDataConfig", "ResourceConfig", "StoppingCondition")},
        **more,
    }


def a_request(
    account: Account,
    name: str,
    script: str = SQUARE,
    *,
    jobs: int = 3,
    parallel: int = 2,
    ranges: dict[str, Any] | None = None,
    definition: dict[str, Any] | None = None,
    **config: Any,
) -> dict[str, Any]:
    """Return a CreateHyperParameterTuningJob request that runs a script."""
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": jobs, "MaxParallelTrainingJobs": parallel},
            "ParameterRanges": ranges or RANGES,
            **config,
        },
        "TrainingJobDefinition": a_definition(account, script, **definition or {}),
    }


def create(account: Account, name: str, script: str = SQUARE, **more: Any) -> str:
    request = a_request(account, name, script, **more)
    return account.sagemaker.create_hyper_parameter_tuning_job(**request)["HyperParameterTuningJobArn"]


def describe(account: Account, name: str) -> dict[str, Any]:
    return dict(account.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name))


def wait(account: Account, name: str, until: Callable[[dict[str, Any]], object] | None = None) -> dict[str, Any]:
    """Wait until the tuning job has ended, or `until` returns True, and return its description."""
    is_so = until or (lambda job: job["HyperParameterTuningJobStatus"] in ENDED)
    deadline = time.monotonic() + 240
    while not is_so(description := describe(account, name)):
        assert time.monotonic() < deadline, description
        time.sleep(0.1)
    return description


def run(account: Account, name: str, script: str = SQUARE, **more: Any) -> dict[str, Any]:
    """Run a tuning job to its end, and return its description."""
    create(account, name, script, **more)
    return wait(account, name)


def training_jobs(account: Account, name: str, **more: Any) -> list[dict[str, Any]]:
    response = account.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name, MaxResults=100, **more
    )
    return [dict(item) for item in response["TrainingJobSummaries"]]


def value_of(summary: dict[str, Any]) -> float:
    return float(summary["FinalHyperParameterTuningJobObjectiveMetric"]["Value"])


def test_random_search_runs_training_jobs_and_finds_the_best(account: Account) -> None:
    job = run(account, "random")
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"] == {
        "Completed": 3,
        "InProgress": 0,
        "RetryableError": 0,
        "NonRetryableError": 0,
        "Stopped": 0,
    }
    assert job["ObjectiveStatusCounters"] == {"Succeeded": 3, "Pending": 0, "Failed": 0}
    summaries = training_jobs(account, "random", SortBy="FinalObjectiveMetricValue")
    assert [value_of(item) for item in summaries] == sorted(value_of(item) for item in summaries)
    assert job["BestTrainingJob"] == summaries[0]
    width = float(summaries[0]["TunedHyperParameters"]["width"])
    assert value_of(summaries[0]) == pytest.approx((width - 3) ** 2)
    best = account.describe(summaries[0]["TrainingJobName"])
    assert best["TuningJobArn"] == job["HyperParameterTuningJobArn"]
    assert best["HyperParameters"]["width"] == summaries[0]["TunedHyperParameters"]["width"]
    assert best["HyperParameters"]["_tuning_objective_metric"] == "loss"
    assert best["FinalMetricDataList"][0]["Value"] == pytest.approx(value_of(summaries[0]))
