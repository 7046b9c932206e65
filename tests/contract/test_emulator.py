"""Contract of the emulator for any client: jobs from their creation to their output."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore import UNSIGNED
from botocore.config import Config

from tests.support.account import BUCKET, PATIENT, Account, error_of, open_account


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with open_account(tmp_path_factory.mktemp("endpoint"), os.environ) as opened:
        yield opened


@pytest.fixture
def account(shared: Account) -> Iterator[Account]:
    """One emulator for all tests of this module. Each test uses different job names."""
    yield shared
    shared.emulator.faults.clear()


def test_data_folder_is_excluded_from_the_source_around_it(tmp_path: Path) -> None:
    account, there = tmp_path / "account", tmp_path / "there"
    (there / "emulator").mkdir(parents=True)
    for folder in (account, there):
        with open_account(folder, os.environ):
            assert (folder / "emulator" / "ledger.jsonl").exists()
    assert (account / "emulator" / ".gitignore").read_text() == "*\n"
    assert not (there / "emulator" / ".gitignore").exists()


def test_job_goes_through_all_statuses(account: Account) -> None:
    found = account.run("walk", "print('hello')")
    assert (found["TrainingJobStatus"], found["SecondaryStatus"]) == ("Completed", "Completed")
    assert account.statuses("walk") == ["Starting", "Downloading", "Training", "Uploading", "Completed"]


def test_status_ends_when_the_next_one_starts(account: Account) -> None:
    steps = account.run("times")["SecondaryStatusTransitions"]
    assert [step["EndTime"] for step in steps[:-1]] == [step["StartTime"] for step in steps[1:]]


def test_describe_returns_request_and_times(account: Account) -> None:
    request = account.request("shown", "", Environment={"COLOUR": "red"})
    account.sagemaker.create_training_job(**request)
    found = account.wait("shown")
    request["OutputDataConfig"]["KmsKeyId"] = ""
    assert {name: found[name] for name in request} == request
    assert found["CreationTime"] <= found["TrainingStartTime"] <= found["TrainingEndTime"]
    assert found["TrainingTimeInSeconds"] == found["BillableTimeInSeconds"] >= 1


def test_describe_returns_optional_fields_that_sdk_2_attach_needs(account: Account) -> None:
    found = account.run("bare", "", StoppingCondition={})
    assert found["OutputDataConfig"]["KmsKeyId"] == ""
    assert found["StoppingCondition"] == {"MaxRuntimeInSeconds": 86_400}


def test_script_receives_hyperparameters_channels_and_environment(account: Account) -> None:
    account.s3.put_object(Bucket=BUCKET, Key="data/train/a.csv", Body=b"1,2")
    script = (
        "import os, sys; print(sys.argv[1:], os.listdir(os.environ['SM_CHANNEL_TRAIN']), os.environ['COLOUR'])"
    )
    account.run(
        "sees",
        script,
        HyperParameters={"lr": "0.1"},
        Environment={"COLOUR": "red"},
        InputDataConfig=[
            {
                "ChannelName": "train",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/data/train/"}},
            }
        ],
    )
    assert account.lines("sees") == ["['--lr', '0.1'] ['a.csv'] red"]


def test_script_calls_the_emulator_with_its_own_credentials(account: Account) -> None:
    script = """
import os
print(os.environ["AWS_ENDPOINT_URL"], os.environ["AWS_REGION"], bool(os.environ["AWS_ACCESS_KEY_ID"]))
"""
    account.run("reaches", script)
    assert account.lines("reaches") == [f"{account.emulator.url} us-east-1 True"]


def test_model_and_output_are_uploaded(account: Account) -> None:
    script = """
import os, pathlib
pathlib.Path(os.environ["SM_MODEL_DIR"], "weights").write_text("w")
pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], "plot").write_text("p")
"""
    found = account.run("leaves", script)
    uri = found["ModelArtifacts"]["S3ModelArtifacts"]
    assert uri == f"s3://{BUCKET}/output/leaves/output/model.tar.gz"
    assert account.names(uri.removeprefix(f"s3://{BUCKET}/")) == ["weights"]
    assert account.names("output/leaves/output/output.tar.gz") == ["plot"]


def test_failure_reason_has_message_and_exit_code_of_the_script(account: Account) -> None:
    found = account.run("fails", "raise SystemExit('no luck')")
    assert (found["TrainingJobStatus"], found["SecondaryStatus"]) == ("Failed", "Failed")
    assert found["FailureReason"].startswith("AlgorithmError: ")
    assert "no luck" in found["FailureReason"]
    assert found["FailureReason"].endswith(", exit code: 1")


def test_long_failure_reason_is_cut_at_the_api_limit(account: Account) -> None:
    found = account.run("long", "raise SystemExit('x' * 5000)")
    assert len(found["FailureReason"]) <= 1024
    assert found["FailureReason"].endswith(", exit code: 1")


def test_metric_definitions_report_last_values(account: Account) -> None:
    definitions = [{"Name": "loss", "Regex": "loss=([0-9.]+)"}, {"Name": "never", "Regex": "never=(.*)"}]
    found = account.run(
        "metrics",
        "print('loss=0.5')\nprint('loss=0.25')",
        AlgorithmSpecification={
            "TrainingImage": "image",
            "TrainingInputMode": "File",
            "MetricDefinitions": definitions,
        },
    )
    assert [(item["MetricName"], item["Value"]) for item in found["FinalMetricDataList"]] == [("loss", 0.25)]
    listed = account.client("cloudwatch").get_metric_statistics(
        Namespace="/aws/sagemaker/TrainingJobs",
        MetricName="loss",
        Dimensions=[{"Name": "TrainingJobName", "Value": "metrics"}],
        StartTime=found["TrainingStartTime"],
        EndTime=found["TrainingEndTime"] + timedelta(minutes=1),
        Period=60,
        Statistics=["Sum", "SampleCount"],
    )["Datapoints"]
    assert sum(point["Sum"] for point in listed) == 0.75
    assert sum(point["SampleCount"] for point in listed) == 2
    query = {"MetricName": "loss", "ResourceArn": found["TrainingJobArn"], "MetricStat": "Last"}
    metrics = account.client("sagemaker-metrics")
    by_step = {**query, "Period": "IterationNumber", "XAxisType": "IterationNumber"}
    by_time = {**query, "MetricStat": "Avg", "Period": "OneHour", "XAxisType": "Timestamp"}
    other = {**by_step, "ResourceArn": found["TrainingJobArn"] + "-other"}
    steps, means, missing = metrics.batch_get_metrics(MetricQueries=[by_step, by_time, other])[
        "MetricQueryResults"
    ]
    assert (steps["XAxisValues"], steps["MetricValues"]) == ([0, 1], [0.5, 0.25])
    assert sum(means["MetricValues"]) in (0.375, 0.75)  # in one hour, or at its end in two
    assert (missing["Status"], missing["MetricValues"]) == ("ValidationError", [])
    refused = error_of(metrics.batch_get_metrics, MetricQueries=[{**by_step, "MetricStat": "Middle"}])
    assert refused[0] == "ValidationException"


def test_stopped_job_receives_sigterm_and_its_model_is_uploaded(account: Account) -> None:
    script = "import os, pathlib\npathlib.Path(os.environ['SM_MODEL_DIR'], 'half').touch()\n" + PATIENT
    account.create("stopped", script)
    account.wait_for_line("stopped", "ready")
    account.sagemaker.stop_training_job(TrainingJobName="stopped")
    assert account.describe("stopped")["TrainingJobStatus"] == "Stopping"
    found = account.wait("stopped")
    assert (found["TrainingJobStatus"], found["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert account.statuses("stopped") == [
        "Starting",
        "Downloading",
        "Training",
        "Stopping",
        "Uploading",
        "Stopped",
    ]
    assert account.lines("stopped") == ["ready", "told"]
    assert account.names("output/stopped/output/model.tar.gz") == ["half"]


def test_job_stopped_before_training_never_runs(account: Account) -> None:
    account.emulator.faults.set({"start_s": 3600})
    account.create("early", "print('ran')")
    account.sagemaker.stop_training_job(TrainingJobName="early")
    assert "TrainingStartTime" not in account.wait("early")
    assert account.statuses("early") == ["Starting", "Stopping", "Stopped"]
    assert account.lines("early") == []


def test_job_stopped_while_it_waits_for_capacity_never_runs(account: Account) -> None:
    account.emulator.faults.set({"no_capacity": [{"instance_type": "*", "after_s": 3600}]})
    account.create("pending", "print('ran')")
    account.wait("pending", lambda found: found["SecondaryStatus"] == "Pending")
    account.sagemaker.stop_training_job(TrainingJobName="pending")
    assert "TrainingStartTime" not in account.wait("pending")
    assert account.statuses("pending") == ["Starting", "Pending", "Stopping", "Stopped"]
    assert account.lines("pending") == []


def test_job_stopped_during_its_download_never_runs(account: Account) -> None:
    for number in range(60):  # so that the download takes a while
        account.s3.put_object(Bucket=BUCKET, Key=f"many/{number}", Body=b"1")
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/many"}
    channel = {"ChannelName": "many", "DataSource": {"S3DataSource": source}}
    account.create("loads", "print('ran')", InputDataConfig=[channel])
    account.wait("loads", lambda found: found["SecondaryStatus"] == "Downloading")
    account.sagemaker.stop_training_job(TrainingJobName="loads")
    found = account.wait("loads")
    assert (found["TrainingJobStatus"], found["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert account.statuses("loads") == ["Starting", "Downloading", "Stopping", "Stopped"]
    assert account.lines("loads") == []


@pytest.mark.parametrize(("exit_code", "ends"), [(0, "Stopped"), (3, "Failed")])
def test_job_stopped_during_its_upload_keeps_its_model_and_its_failure(
    account: Account, exit_code: int, ends: str
) -> None:
    script = f"""
import os, pathlib, sys
# To pack this model takes most of a second.
pathlib.Path(os.environ["SM_MODEL_DIR"], "weights").write_bytes(os.urandom(20_000_000))
sys.exit({exit_code})
"""
    name = f"keeps-{exit_code}"
    account.create(name, script)
    account.wait(name, lambda found: found["SecondaryStatus"] == "Uploading")
    account.sagemaker.stop_training_job(TrainingJobName=name)
    assert account.wait(name)["TrainingJobStatus"] == ends
    assert account.statuses(name) == ["Starting", "Downloading", "Training", "Uploading", "Stopping", ends]
    assert account.names(f"output/{name}/output/model.tar.gz") == ["weights"]


def test_ended_job_cannot_be_stopped(account: Account) -> None:
    account.run("over")
    assert error_of(account.sagemaker.stop_training_job, TrainingJobName="over") == (
        "ValidationException",
        "The request was rejected because the training job is in status Completed.",
    )


def test_job_is_stopped_at_its_maximum_run_time(account: Account) -> None:
    found = account.run("slow", PATIENT, StoppingCondition={"MaxRuntimeInSeconds": 1})
    assert (found["TrainingJobStatus"], found["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    steps = account.statuses("slow")
    assert steps == ["Starting", "Downloading", "Training", "Stopping", "Uploading", "MaxRuntimeExceeded"]


def test_spot_job_is_stopped_at_its_maximum_wait_time(account: Account) -> None:
    found = account.run(
        "waits",
        PATIENT,
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 1},
    )
    assert found["TrainingJobStatus"] == "Stopped"
    assert found["SecondaryStatus"] in ("MaxWaitTimeExceeded", "MaxRuntimeExceeded")


def test_spot_job_bills_less_than_its_training_time(account: Account) -> None:
    found = account.run(
        "cheap",
        "import time; time.sleep(2)",
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
    )
    assert found["BillableTimeInSeconds"] < found["TrainingTimeInSeconds"]


def test_checkpoints_are_downloaded_and_uploaded(account: Account) -> None:
    account.s3.put_object(Bucket=BUCKET, Key="checkpoints/old", Body=b"1")
    account.s3.put_object(Bucket=BUCKET, Key="checkpoints/gone", Body=b"1")
    script = """
import os, pathlib
folder = pathlib.Path(os.environ["SMSWEEP_ML_ROOT"], "checkpoints")
print(sorted(path.name for path in folder.iterdir()))
(folder / "gone").unlink()
(folder / "new").write_text("2")
"""
    account.run("points", script, CheckpointConfig={"S3Uri": f"s3://{BUCKET}/checkpoints"})
    assert account.lines("points") == ["['gone', 'old']"]
    assert account.keys("checkpoints/") == ["checkpoints/new", "checkpoints/old"]


def test_checkpoints_are_uploaded_while_the_job_runs(account: Account) -> None:
    script = "import os, pathlib\npathlib.Path(os.environ['SMSWEEP_ML_ROOT'], 'checkpoints', 'one').touch()\n"
    account.create("live", script + PATIENT, CheckpointConfig={"S3Uri": f"s3://{BUCKET}/live"})
    account.wait("live", lambda found: account.keys("live/") == ["live/one"])


def test_job_name_cannot_be_used_twice(account: Account) -> None:
    account.run("once")
    code, message = error_of(account.sagemaker.create_training_job, **account.request("once"))
    assert code == "ResourceInUse"
    assert message.endswith("(arn:aws:sagemaker:us-east-1:123456789012:training-job/once)")


def test_name_of_a_deleted_job_can_be_used_again(account: Account) -> None:
    account.run("again", "print('first')")
    account.sagemaker.delete_training_job(TrainingJobName="again")
    assert error_of(account.sagemaker.describe_training_job, TrainingJobName="again")[0] == "ValidationException"
    account.run("again", "print('second')")
    assert account.lines("again")[-1] == "second"


def test_live_job_cannot_be_deleted(account: Account) -> None:
    account.create("lives", PATIENT)
    assert error_of(account.sagemaker.delete_training_job, TrainingJobName="lives")[0] == "ResourceInUse"


@pytest.mark.parametrize("action", ["describe", "stop", "update", "delete"])
def test_missing_job_raises_the_error_of_aws(account: Account, action: str) -> None:
    call = getattr(account.sagemaker, f"{action}_training_job")
    assert error_of(call, TrainingJobName="nobody") == ("ValidationException", "Requested resource not found.")


def test_missing_input_is_rejected_at_creation(account: Account) -> None:
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/nothing"}
    request = account.request(
        "empty", InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": source}}]
    )
    code, message = error_of(account.sagemaker.create_training_job, **request)
    assert code == "ValidationException"
    assert message.startswith('No S3 objects found under S3 URL "s3://bucket/nothing" given in input data source.')


def test_spot_job_needs_a_maximum_wait_time(account: Account) -> None:
    request = account.request("spot", EnableManagedSpotTraining=True)
    assert error_of(account.sagemaker.create_training_job, **request) == (
        "ValidationException",
        "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds",
    )


def test_request_is_validated_when_botocore_does_not(account: Account) -> None:
    request = account.request("model", HyperParameters={"long": "x" * 2501})
    code, message = error_of(account.sagemaker.create_training_job, **request)
    assert code == "ValidationException"
    assert (
        "'hyperParameters' failed to satisfy constraint: Map value must satisfy constraint: [Member must have "
        "length less than or equal to 2500" in message
    )


def test_tags_are_added_listed_and_deleted(account: Account) -> None:
    arn = account.create("tagged", Tags=[{"Key": "a", "Value": "1"}])
    account.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}, {"Key": "a", "Value": "3"}])
    account.sagemaker.delete_tags(ResourceArn=arn, TagKeys=["b", "no such"])
    assert account.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "3"}]


def test_tags_are_listed_in_pages(account: Account) -> None:
    tags = [{"Key": f"key{number:02}", "Value": "v"} for number in range(50)]
    arn = account.create("tags", Tags=tags)
    pages = account.sagemaker.get_paginator("list_tags").paginate(
        ResourceArn=arn, PaginationConfig={"PageSize": 50}
    )
    assert [tag for page in pages for tag in page["Tags"]] == tags


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["aws:createdBy"], "aws: prefixed tag key names are not allowed for external use."),
        (["team", "Team", "team"], "Duplicate tag keys: team"),
    ],
)
def test_invalid_tag_is_rejected(account: Account, keys: list[str], message: str) -> None:
    tags = [{"Key": key, "Value": "me"} for key in keys]
    name = f"tagged-{len(keys)}"
    words = ("ValidationException", message)
    assert error_of(account.sagemaker.create_training_job, **account.request(name, Tags=tags)) == words
    account.sagemaker.create_training_job(**account.request(name))
    arn = account.sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobArn"]
    assert error_of(account.sagemaker.add_tags, ResourceArn=arn, Tags=tags) == words
    assert account.sagemaker.list_tags(ResourceArn=arn)["Tags"] == []


def test_unsupported_call_raises_an_error_in_boto3(account: Account) -> None:
    assert error_of(account.sagemaker.list_algorithms) == (
        "NotImplementedException",
        "sagemaker:ListAlgorithms: the emulator does not support this call; unset AWS_ENDPOINT_URL to call AWS",
    )


def test_too_many_tags_are_rejected(account: Account) -> None:
    arn = account.create("full", Tags=[{"Key": f"key{number}", "Value": "v"} for number in range(50)])
    more = [{"Key": "one more", "Value": "v"}]
    assert error_of(account.sagemaker.add_tags, ResourceArn=arn, Tags=more)[0] == "ValidationException"


def test_warm_pool_is_reused_by_a_matching_job(account: Account) -> None:
    warm = {
        "InstanceType": "ml.m5.large",
        "InstanceCount": 1,
        "VolumeSizeInGB": 1,
        "KeepAlivePeriodInSeconds": 600,
    }
    assert account.run("first", ResourceConfig=warm)["WarmPoolStatus"] == {"Status": "Available"}
    account.run("other", ResourceConfig={**warm, "VolumeSizeInGB": 2})
    account.run("second", ResourceConfig=warm)
    first = account.describe("first")["WarmPoolStatus"]
    assert (first["Status"], first["ReusedByJob"]) == ("Reused", "second")


def test_warm_pool_above_the_quota_ends_without_an_error(account: Account) -> None:
    warm = {
        "InstanceType": "ml.c5.xlarge",
        "InstanceCount": 1,
        "VolumeSizeInGB": 1,
        "KeepAlivePeriodInSeconds": 600,
    }
    account.emulator.faults.set({"warm_pool_quota": 0})
    found = account.run("unkept", ResourceConfig=warm)
    assert (found["TrainingJobStatus"], found["WarmPoolStatus"]["Status"]) == ("Completed", "Terminated")


@pytest.mark.parametrize("part", ["input", "output"])
def test_bucket_in_another_region_fails_the_job(account: Account, part: str) -> None:
    there = account.client("s3", region_name="eu-west-1")
    there.create_bucket(Bucket=f"far-{part}", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    there.put_object(Bucket=f"far-{part}", Key="data/a", Body=b"1")
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": "s3://far-input/data",
        "S3DataDistributionType": "FullyReplicated",
    }
    fields: dict[str, Any] = (
        {"InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}]}
        if part == "input"
        else {"OutputDataConfig": {"S3OutputPath": "s3://far-output/jobs"}}
    )
    found = account.run(f"far-{part}", **fields)
    assert found["TrainingJobStatus"] == "Failed"
    assert found["FailureReason"] == (
        f"ClientError: {'Data download failed:' if part == 'input' else 'Artifact upload failed: '}"
        "PermanentRedirect (301): The bucket is in this region: eu-west-1. Please use this region to retry the "
        "request"
    )


def test_warm_pool_is_ended_by_an_update(account: Account) -> None:
    warm = {
        "InstanceType": "ml.m5.large",
        "InstanceCount": 1,
        "VolumeSizeInGB": 1,
        "KeepAlivePeriodInSeconds": 600,
    }
    account.run("kept", ResourceConfig=warm)
    assert error_of(account.sagemaker.delete_training_job, TrainingJobName="kept")[0] == "ResourceInUse"
    account.sagemaker.update_training_job(TrainingJobName="kept", ResourceConfig={"KeepAlivePeriodInSeconds": 0})
    assert account.describe("kept")["WarmPoolStatus"]["Status"] == "Terminated"


def test_other_services_use_the_same_url(account: Account) -> None:
    assert account.client("sts").get_caller_identity()["Account"] == "123456789012"
    account.client("secretsmanager").create_secret(Name="key", SecretString="hidden")
    account.client("ssm").put_parameter(Name="/key", Value="hidden", Type="SecureString")
    assert account.client("ssm").get_parameter(Name="/key", WithDecryption=True)["Parameter"]["Value"] == "hidden"


def test_unsigned_call_is_rejected(account: Account) -> None:
    client = account.client("sagemaker", config=Config(signature_version=UNSIGNED))
    assert error_of(client.list_training_jobs)[0] == "MissingAuthenticationTokenException"


def test_call_log_has_every_call_and_its_outcome(account: Account) -> None:
    account.create("noted", PATIENT)
    error_of(account.sagemaker.create_training_job, **account.request("noted"))
    entries = [entry for entry in account.ledger("CreateTrainingJob") if entry["subject"] == "noted"]
    assert [(entry["subject"], entry["outcome"], entry.get("code")) for entry in entries] == [
        ("noted", "accepted", None),
        ("noted", "refused", "ResourceInUse"),
    ]


def test_closing_the_emulator_ends_all_processes(tmp_path: Path) -> None:
    with open_account(tmp_path, os.environ) as account:
        account.create("orphan", "import os\nprint(os.getpid(), flush=True)\n" + PATIENT)
        account.wait_for_line("orphan", "ready")
        pid = int(account.lines("orphan")[0])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_next_emulator_reads_the_jobs_of_the_folder(tmp_path: Path) -> None:
    with open_account(tmp_path, os.environ) as account:
        account.run("old")
        account.create("cut", PATIENT)
    with open_account(tmp_path, os.environ) as account:
        assert account.describe("old")["TrainingJobStatus"] == "Completed"
        assert account.describe("cut")["TrainingJobStatus"] == "Stopped"
        assert error_of(account.sagemaker.create_training_job, **account.request("old"))[0] == "ResourceInUse"
