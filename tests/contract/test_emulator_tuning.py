"""Tests of tuning jobs in the emulator with boto3. Training jobs are processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from smsweep.emulator.api.tuning_rules import NO_METRIC, OTHER_NAMES
from smsweep.emulator.api_error import ACCOUNT
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


PATIENT = """
import time
print("loss=1.0;", flush=True)
time.sleep(120)
"""


def test_stopped_tuning_job_stops_its_training_jobs(account: Account) -> None:
    create(account, "stopped", PATIENT)
    wait(account, "stopped", lambda job: job["TrainingJobStatusCounters"]["InProgress"] == 2)
    account.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="stopped")
    job = wait(account, "stopped")
    assert job["HyperParameterTuningJobStatus"] == "Stopped"
    assert job["TrainingJobStatusCounters"]["Stopped"] == 2
    again = error_of(account.sagemaker.stop_hyper_parameter_tuning_job, HyperParameterTuningJobName="stopped")
    assert again[0] == "ValidationException"
    account.sagemaker.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName="stopped")
    assert error_of(describe, account=account, name="stopped")[0] == "ResourceNotFound"


def test_definitions_have_their_names_and_tags_reach_the_training_jobs(account: Account) -> None:
    request = a_request(account, "several", jobs=2)
    config, single = request["HyperParameterTuningJobConfig"], request.pop("TrainingJobDefinition")
    ranges, objective = config.pop("ParameterRanges"), config.pop("HyperParameterTuningJobObjective")
    request["TrainingJobDefinitions"] = [
        {**single, "DefinitionName": name, "TuningObjective": objective, "HyperParameterRanges": ranges}
        for name in ("one", "two")
    ]
    request["Tags"] = [{"Key": "team", "Value": "red"}]
    arn = account.sagemaker.create_hyper_parameter_tuning_job(**request)["HyperParameterTuningJobArn"]
    wait(account, "several")
    summaries = training_jobs(account, "several")
    assert [item["TrainingJobDefinitionName"] for item in summaries] == ["one", "two"]
    for resource in (arn, summaries[0]["TrainingJobArn"]):
        assert account.sagemaker.list_tags(ResourceArn=resource)["Tags"] == request["Tags"]


def test_list_filters_and_sorts_tuning_jobs(account: Account) -> None:
    for name in ("list-b", "list-a"):
        run(account, name, jobs=1, parallel=1)
    call = account.sagemaker.list_hyper_parameter_tuning_jobs
    listed = call(NameContains="list-")["HyperParameterTuningJobSummaries"]
    assert [item["HyperParameterTuningJobName"] for item in listed] == ["list-a", "list-b"]
    assert listed[0]["Strategy"] == "Random"
    assert call(NameContains="list-", StatusEquals="Failed")["HyperParameterTuningJobSummaries"] == []
    newest = call(NameContains="list-", SortBy="CreationTime", SortOrder="Descending", MaxResults=1)
    assert newest["HyperParameterTuningJobSummaries"][0]["HyperParameterTuningJobName"] == "list-a"
    assert newest["NextToken"]
    found = account.sagemaker.search(
        Resource="HyperParameterTuningJob",
        SearchExpression={
            "Filters": [{"Name": "HyperParameterTuningJobName", "Operator": "Contains", "Value": "list-a"}]
        },
    )
    (result,) = found["Results"]
    assert result["HyperParameterTuningJob"]["BestTrainingJob"]["TuningJobName"] == "list-a"


def test_invalid_tuning_job_is_refused_and_not_stored(account: Account) -> None:
    call = account.sagemaker.create_hyper_parameter_tuning_job
    request = a_request(account, "refused", Strategy="Grid")
    code, message = error_of(call, **request)
    assert (code, "categorical" in message) == ("ValidationException", True)
    missing = a_request(account, "refused")
    missing["TrainingJobDefinition"]["InputDataConfig"] = [
        {
            "ChannelName": "train",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/nothing"}},
        }
    ]
    assert "No S3 objects found" in error_of(call, **missing)[1]
    assert error_of(describe, account=account, name="refused")[0] == "ResourceNotFound"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["AWS:team"], "aws: prefixed tag key names are not allowed for external use."),
        (["team", "team"], "Duplicate tag keys: team"),
    ],
)
def test_tuning_job_with_invalid_tags_is_refused(account: Account, keys: list[str], message: str) -> None:
    request = {**a_request(account, "tags"), "Tags": [{"Key": key, "Value": "red"} for key in keys]}
    refusal = error_of(account.sagemaker.create_hyper_parameter_tuning_job, **request)
    assert refusal == ("ValidationException", message)
    assert error_of(describe, account=account, name="tags")[0] == "ResourceNotFound"


def test_name_of_a_tuning_job_is_unique(account: Account) -> None:
    create(account, "unique", jobs=1, parallel=1)
    call = account.sagemaker.create_hyper_parameter_tuning_job
    assert error_of(call, **a_request(account, "unique"))[0] == "ResourceInUse"
    wait(account, "unique")


def test_name_of_a_tuning_job_is_not_case_sensitive(account: Account) -> None:
    run(account, "Cases", jobs=1, parallel=1)
    call = account.sagemaker.create_hyper_parameter_tuning_job
    assert error_of(call, **a_request(account, "cases"))[0] == "ResourceInUse"
    assert describe(account, "CASES")["HyperParameterTuningJobName"] == "Cases"
    account.sagemaker.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName="cASES")
    assert error_of(describe, account=account, name="Cases")[0] == "ResourceNotFound"


def test_running_tuning_job_is_not_deleted(account: Account) -> None:
    create(account, "running", PATIENT)
    call = account.sagemaker.delete_hyper_parameter_tuning_job
    code, message = error_of(call, HyperParameterTuningJobName="running")
    assert (code, "not in a terminal state" in message) == ("ValidationException", True)
    account.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="running")
    wait(account, "running")
    call(HyperParameterTuningJobName="running")


KMEANS = "382416733822.dkr.ecr.us-east-1.amazonaws.com/kmeans:1"
KMEANS_LINES = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--extra_center_factor", type=int)
args, _ = parser.parse_known_args()
msd = args.extra_center_factor / 10
print(f"[05/16/2021 12:27:47 INFO 140] #quality_metric: host=algo-1, test msd <loss>={msd}")
"""


def test_tuning_job_of_a_builtin_algorithm_needs_no_metric_definitions(account: Account) -> None:
    """The request of KMeans in the tests of Terraform's provider, with a script in place of the algorithm."""
    account.s3.put_object(Bucket=BUCKET, Key="input/placeholder.csv", Body=b"feature1,label")
    ranges = {
        "CategoricalParameterRanges": [{"Name": "init_method", "Values": ["kmeans++", "random"]}],
        "IntegerParameterRanges": [
            {"Name": name, "MinValue": low, "MaxValue": high, "ScalingType": "Auto"}
            for name, low, high in (
                ("epochs", "1", "10"),
                ("extra_center_factor", "4", "10"),
                ("mini_batch_size", "3000", "15000"),
            )
        ],
    }
    channel = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/input/"}}
    job = run(
        account,
        "kmeans",
        KMEANS_LINES,
        jobs=2,
        parallel=1,
        ranges=ranges,
        HyperParameterTuningJobObjective={"Type": "Minimize", "MetricName": "test:msd"},
        definition={
            "StaticHyperParameters": {"feature_dim": "3", "k": "2"},
            "AlgorithmSpecification": {"TrainingImage": KMEANS, "TrainingInputMode": "File"},
            "InputDataConfig": [
                {"ChannelName": name, "ContentType": "text/csv", "InputMode": "File", "DataSource": channel}
                for name in ("train", "test")
            ],
        },
    )
    assert job["HyperParameterTuningJobStatus"] == "Completed", job
    best = job["BestTrainingJob"]
    assert value_of(best) == int(best["TunedHyperParameters"]["extra_center_factor"]) / 10
    described = account.describe(best["TrainingJobName"])
    for algorithm in (job["TrainingJobDefinition"]["AlgorithmSpecification"], described["AlgorithmSpecification"]):
        assert [item["Name"] for item in algorithm["MetricDefinitions"]] == ["test:msd", "test:ssd"]
    described_ranges = job["HyperParameterTuningJobConfig"]["ParameterRanges"]
    assert described_ranges == {**ranges, "ContinuousParameterRanges": []}  # attach of SDK 2.x needs all kinds


def test_defaults_of_a_tuning_job_are_described(account: Account) -> None:
    choices = {"CategoricalParameterRanges": [{"Name": "width", "Values": ["1", "2"]}]}
    job = run(account, "grid", ranges=choices, Strategy="Grid", ResourceLimits={"MaxParallelTrainingJobs": 2})
    config = job["HyperParameterTuningJobConfig"]
    assert config["ResourceLimits"] == {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2}
    assert config["TrainingJobEarlyStoppingType"] == "Off"
    request = a_request(account, "autotuned", ResourceLimits={"MaxParallelTrainingJobs": 1})
    account.sagemaker.create_hyper_parameter_tuning_job(**request, Autotune={"Mode": "Enabled"})
    config = describe(account, "autotuned")["HyperParameterTuningJobConfig"]
    account.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="autotuned")
    assert config["ResourceLimits"] == {"MaxNumberOfTrainingJobs": 100, "MaxParallelTrainingJobs": 1}
    assert config["TrainingJobEarlyStoppingType"] == "Auto"
    wait(account, "autotuned")


def test_own_image_without_metric_definitions_is_refused(account: Account) -> None:
    request = a_request(account, "undefined")
    del request["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"]
    refusal = error_of(account.sagemaker.create_hyper_parameter_tuning_job, **request)
    assert refusal == ("ValidationException", NO_METRIC)


def test_warm_start_with_other_hyperparameters_is_refused(account: Account) -> None:
    run(account, "names", jobs=1, parallel=1)
    request = a_request(account, "names-2", definition={"StaticHyperParameters": {"layers": "3"}})
    request["WarmStartConfig"] = {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "names"}],
        "WarmStartType": "TransferLearning",
    }
    refusal = error_of(account.sagemaker.create_hyper_parameter_tuning_job, **request)
    assert refusal == ("ValidationException", OTHER_NAMES)
    assert error_of(describe, account=account, name="names-2")[0] == "ResourceNotFound"


def test_warm_start_reports_the_best_training_job_of_all(account: Account) -> None:
    run(account, "parent", jobs=2)
    request = a_request(
        account, "child", SQUARE.replace("print(", "print('loss=1000;') if True else print("), jobs=1, parallel=1
    )
    request["WarmStartConfig"] = {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "parent"}],
        "WarmStartType": "IdenticalDataAndAlgorithm",
    }
    account.sagemaker.create_hyper_parameter_tuning_job(**request)
    job = wait(account, "child")
    assert value_of(job["BestTrainingJob"]) == 1000
    assert job["OverallBestTrainingJob"]["TuningJobName"] == "parent"


def test_tuning_job_is_stopped_with_the_emulator(tmp_path: Path) -> None:
    with open_account(tmp_path, os.environ) as first:
        create(first, "interrupted", PATIENT)
        wait(first, "interrupted", lambda job: job["TrainingJobStatusCounters"]["InProgress"] == 2)
    with open_account(tmp_path, os.environ) as second:
        job = wait(second, "interrupted")
        assert job["HyperParameterTuningJobStatus"] == "Stopped"
        assert job["TrainingJobStatusCounters"]["Stopped"] == 2


def test_call_that_starts_other_work_is_refused(account: Account) -> None:
    code, message = error_of(
        account.sagemaker.start_pipeline_execution, PipelineName="p", ClientRequestToken="x" * 32
    )
    assert code == "NotImplementedException"
    assert message.startswith("sagemaker:StartPipelineExecution: the emulator does not support this call; run the")
    runtime = account.client("sagemaker-runtime")
    assert error_of(runtime.invoke_endpoint, EndpointName="e", Body=b"1")[0] == "NotImplementedException"
    account.sagemaker.create_experiment(ExperimentName="records-stay-with-moto")


@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [
        ("sagemaker", "list_tags", {"ResourceArn": f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:thing/x"}),
        ("sagemaker", "describe_experiment", {"ExperimentName": "absent"}),
        ("sagemaker-geospatial", "list_raster_data_collections", {}),
    ],
)
def test_call_that_moto_fails_to_answer_is_refused(
    account: Account, service: str, operation: str, arguments: dict[str, str]
) -> None:
    code, message = error_of(getattr(account.client(service), operation), **arguments)
    assert code == "NotImplementedException"
    assert "the emulator does not support this call" in message


def test_tuning_job_continues_after_a_kill_of_the_emulator(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "smsweep",
        "--quiet",
        "emulator",
        "--port",
        "0",
        "--json",
        "--dir",
        str(tmp_path),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as emulator:
        assert emulator.stdout is not None
        printed = json.loads(emulator.stdout.readline())
        keys = {name: printed[name] for name in ("url", "region", "access_key_id", "secret_access_key")}
        killed = Account(SimpleNamespace(**keys))  # type: ignore[arg-type]  # only the fields of a client
        create(killed, "killed", PATIENT, jobs=2)
        wait(killed, "killed", lambda job: job["TrainingJobStatusCounters"]["InProgress"] == 2)
        before = [item["TrainingJobName"] for item in training_jobs(killed, "killed")]
        for name in before:
            killed.wait(name, lambda job: job["SecondaryStatus"] == "Training")
        emulator.kill()
    with open_account(tmp_path, os.environ) as again:
        job = describe(again, "killed")
        assert job["HyperParameterTuningJobStatus"] == "InProgress"
        assert job["TrainingJobStatusCounters"]["InProgress"] == 2
        again.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="killed")
        assert wait(again, "killed")["HyperParameterTuningJobStatus"] == "Stopped"
        assert [item["TrainingJobName"] for item in training_jobs(again, "killed")] == before
