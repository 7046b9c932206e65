"""Faults of the emulator have the same effect as on AWS."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError

from smsweep.errors import UsageError
from tests.support.account import BUCKET, PATIENT, Account, error_of, open_account, wait_until

SPOT: dict[str, Any] = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
}
# The second run continues from the checkpoint of the first, which runs until it is stopped.
RESUMES = """
import os, pathlib, signal, sys, time
saved = pathlib.Path(os.environ["SMSWEEP_ML_ROOT"], "checkpoints", "step")
if saved.exists():
    print("from", saved.read_text(), flush=True)
    sys.exit()
def save(*_):
    saved.write_text("7")
    print("saved", flush=True)
    sys.exit(1)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with open_account(tmp_path_factory.mktemp("endpoint"), os.environ) as opened:
        yield opened


@pytest.fixture
def account(shared: Account) -> Iterator[Account]:
    yield shared
    shared.emulator.faults.clear()
    for summary in shared.sagemaker.list_training_jobs(MaxResults=100)["TrainingJobSummaries"]:
        if summary["TrainingJobStatus"] == "InProgress":
            shared.sagemaker.stop_training_job(TrainingJobName=summary["TrainingJobName"])
        shared.wait(summary["TrainingJobName"])


def test_quota_counts_live_instances(account: Account) -> None:
    account.emulator.faults.set({"quota": 2})
    account.create("q-one", PATIENT)
    account.create("q-two", PATIENT)
    code, message = error_of(account.sagemaker.create_training_job, **account.request("q-three"))
    assert code == "ResourceLimitExceeded"
    assert message.startswith(
        "The account-level service limit 'ml.m5.large for training job usage' is 2 Instances, with current "
        "utilization of 2 Instances and a request delta of 1 Instances."
    )


def test_quota_counts_stopping_jobs_but_not_ended_ones(account: Account) -> None:
    account.emulator.faults.set({"quota": 1})
    slow = "import signal, time\nsignal.signal(signal.SIGTERM, lambda *_: None)\nprint('ready', flush=True)\n"
    account.create("q-slow", slow + "time.sleep(2)")
    account.wait_for_line("q-slow", "ready")
    account.sagemaker.stop_training_job(TrainingJobName="q-slow")
    code, _ = error_of(account.sagemaker.create_training_job, **account.request("q-next"))
    assert code == "ResourceLimitExceeded"
    account.wait("q-slow")
    assert account.run("q-next")["TrainingJobStatus"] == "Completed"


def test_quota_is_separate_for_each_instance_type_and_market(account: Account) -> None:
    account.emulator.faults.set({"quota": 1})
    account.create("q-demand", PATIENT)
    account.create("q-spot", PATIENT, **SPOT)
    account.create(
        "q-other",
        PATIENT,
        ResourceConfig={"InstanceType": "ml.c5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1},
    )


def test_quota_counts_idle_warm_pool_unless_the_job_reuses_it(account: Account) -> None:
    warm = {
        "InstanceType": "ml.m4.xlarge",
        "InstanceCount": 1,
        "VolumeSizeInGB": 1,
        "KeepAlivePeriodInSeconds": 600,
    }
    account.run("pool", ResourceConfig=warm)
    account.emulator.faults.set({"quota": 1})
    other = account.request("pool-other", ResourceConfig={**warm, "VolumeSizeInGB": 2})
    assert error_of(account.sagemaker.create_training_job, **other)[0] == "ResourceLimitExceeded"
    account.create("pool-next", ResourceConfig=warm)


def test_call_over_the_rate_is_throttled(account: Account) -> None:
    account.emulator.faults.set({"throttle": {"ListTrainingJobs": 0.01}})
    account.sagemaker.list_training_jobs()
    assert error_of(account.sagemaker.list_training_jobs) == ("ThrottlingException", "Rate exceeded")
    error_of(account.sagemaker.describe_training_job, TrainingJobName="another-api")


def test_botocore_retries_throttled_calls(account: Account) -> None:
    account.emulator.faults.set({"throttle": {"ListTrainingJobs": 5}})
    patient = account.client("sagemaker", config=Config(retries={"total_max_attempts": 8, "mode": "standard"}))
    for _ in range(7):
        patient.list_training_jobs()


def test_job_fails_without_capacity_and_the_next_does_not(account: Account) -> None:
    account.emulator.faults.set({"no_capacity": [{"job": "c-*"}]})
    found = account.run("c-one")
    assert found["TrainingJobStatus"] == "Failed"
    assert found["FailureReason"].startswith("CapacityError: Unable to provision requested ML compute capacity")
    assert "TrainingStartTime" not in found
    assert account.run("c-two")["TrainingJobStatus"] == "Completed"


def test_next_preferred_instance_type_is_used_without_capacity(account: Account) -> None:
    account.emulator.faults.set({"no_capacity": [{"instance_type": "ml.p5.48xlarge"}]})
    preferences = [{"InstanceType": "ml.p5.48xlarge"}, {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1}]
    found = account.run("c-next", ResourceConfig={"InstancePreferences": preferences, "VolumeSizeInGB": 1})
    assert found["TrainingJobStatus"] == "Completed"
    assert found["ResourceConfig"]["SelectedInstanceType"] == "ml.g5.xlarge"


def test_job_waits_for_capacity(account: Account) -> None:
    account.emulator.faults.set({"no_capacity": [{"instance_type": "ml.m5.*", "after_s": 0.5}]})
    account.run("c-pending")
    assert account.statuses("c-pending") == ["Starting", "Pending", "Failed"]


def test_spot_job_waits_for_capacity_until_its_maximum_wait_time(account: Account) -> None:
    account.emulator.faults.set({"no_capacity": [{"after_s": 3600}]})
    limits = {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 1}
    found = account.run("c-spot", EnableManagedSpotTraining=True, StoppingCondition=limits)
    assert (found["TrainingJobStatus"], found["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
    assert account.statuses("c-spot") == ["Starting", "Pending", "MaxWaitTimeExceeded"]


def test_interrupted_spot_job_continues_from_its_checkpoint(account: Account) -> None:
    account.emulator.faults.set({"interrupt": [{"job": "spot", "after_s": 0.5}]})
    found = account.run("spot", RESUMES, CheckpointConfig={"S3Uri": f"s3://{BUCKET}/spot"}, **SPOT)
    assert found["TrainingJobStatus"] == "Completed"
    assert account.statuses("spot") == [
        *("Starting", "Downloading", "Training", "Interrupted"),
        *("Starting", "Downloading", "Training", "Uploading", "Completed"),
    ]
    assert account.lines("spot") == ["ready", "saved", "from 7"]


def test_interruption_affects_spot_jobs_only(account: Account) -> None:
    account.emulator.faults.set({"interrupt": [{}]})
    account.run("demand", "import time; time.sleep(0.5)")
    assert "Interrupted" not in account.statuses("demand")


def test_interrupted_job_can_be_stopped(account: Account) -> None:
    stubborn = "import signal, time\nsignal.signal(signal.SIGTERM, lambda *_: print('told', flush=True))\n"
    account.emulator.faults.set({"interrupt": [{"after_s": 0.5}]})
    account.create("spot-stopped", stubborn + "time.sleep(3)\ntime.sleep(1)", **SPOT)
    account.wait_for_line("spot-stopped", "told")
    account.sagemaker.stop_training_job(TrainingJobName="spot-stopped")
    assert account.wait("spot-stopped")["TrainingJobStatus"] == "Stopped"
    assert "Interrupted" not in account.statuses("spot-stopped")


def test_internal_error_fails_the_job(account: Account) -> None:
    account.emulator.faults.set({"internal_error": [{}]})
    found = account.run("internal", PATIENT)
    assert found["FailureReason"] == "InternalServerError: We encountered an internal error. Please try again."


def test_internal_error_restarts_the_job_with_a_retry_strategy(account: Account) -> None:
    account.emulator.faults.set({"internal_error": [{"after_s": 0.2}]})
    script = "import time; print('run', flush=True); time.sleep(1)"
    found = account.run("retried", script, RetryStrategy={"MaximumRetryAttempts": 1})
    assert found["TrainingJobStatus"] == "Completed"
    assert "Restarting" in account.statuses("retried")
    assert account.lines("retried") == ["run", "run"]


def test_maximum_run_time_is_that_of_all_attempts_together(account: Account) -> None:
    account.emulator.faults.set({"internal_error": [{"after_s": 5}]})
    limits = {"MaxRuntimeInSeconds": 7}
    found = account.run("twice", PATIENT, RetryStrategy={"MaximumRetryAttempts": 1}, StoppingCondition=limits)
    assert found["SecondaryStatus"] == "MaxRuntimeExceeded"
    first, second = [
        (step["EndTime"] - step["StartTime"]).total_seconds()
        for step in found["SecondaryStatusTransitions"]
        if step["Status"] == "Training"
    ]
    assert first >= 5
    assert second < 5


def test_call_with_lost_response_is_carried_out(account: Account) -> None:
    account.emulator.faults.set({"lose_response": [{"action": "CreateTrainingJob"}]})
    with pytest.raises(ConnectionClosedError):
        account.create("lost")
    assert account.wait("lost")["TrainingJobStatus"] == "Completed"
    (entry,) = [entry for entry in account.ledger("CreateTrainingJob") if entry["subject"] == "lost"]
    assert (entry["outcome"], entry["is_lost"]) == ("accepted", True)


def test_botocore_retry_of_a_lost_create_raises_resource_in_use(account: Account) -> None:
    account.emulator.faults.set({"lose_response": [{"action": "CreateTrainingJob"}]})
    patient = account.client("sagemaker", config=Config(retries={"total_max_attempts": 3, "mode": "standard"}))
    assert error_of(patient.create_training_job, **account.request("repeated"))[0] == "ResourceInUse"


def test_failing_call_is_not_carried_out(account: Account) -> None:
    account.emulator.faults.set({"fail_call": [{"action": "CreateTrainingJob", "times": 1}]})
    assert error_of(account.sagemaker.create_training_job, **account.request("failed"))[0] == "InternalFailure"
    assert error_of(account.sagemaker.describe_training_job, TrainingJobName="failed")[0] == "ValidationException"


def test_denied_action_is_in_the_error(account: Account) -> None:
    account.emulator.faults.set({"deny": ["StopTrainingJob", "GetSecretValue"]})
    code, message = error_of(account.sagemaker.stop_training_job, TrainingJobName="any")
    assert code == "AccessDeniedException"
    assert "is not authorized to perform: sagemaker:StopTrainingJob on resource: arn:aws:sagemaker:" in message
    code, message = error_of(account.client("secretsmanager").get_secret_value, SecretId="key")
    assert code == "AccessDeniedException"
    assert "secretsmanager:GetSecretValue" in message


def test_expired_credentials_do_not_disturb_the_jobs(account: Account, tmp_path: Path) -> None:
    start, end = tmp_path / "start", tmp_path / "end"
    script = (
        "import pathlib, time\nwhile not pathlib.Path({!r}).exists(): time.sleep(0.01)\npathlib.Path({!r}).touch()"
    )
    account.create("goes-on", script.format(str(start), str(end)))
    account.emulator.faults.set({"expired": True})
    assert error_of(account.sagemaker.list_training_jobs)[0] == "ExpiredTokenException"
    start.touch()
    wait_until(end.exists)
    account.emulator.faults.set({"expired": False})
    assert account.wait("goes-on")["TrainingJobStatus"] == "Completed"


def test_latency_is_added_to_each_response(account: Account) -> None:
    account.emulator.faults.set({"latency_s": {"ListTrainingJobs": 0.3}})
    began = time.monotonic()
    account.sagemaker.list_training_jobs()
    assert time.monotonic() - began >= 0.3


def test_faults_set_over_http_occur_as_often_as_requested(account: Account) -> None:
    account.admin("POST", "faults", {"fail_call": [{"action": "ListTrainingJobs"}], "quota": 9})
    assert error_of(account.sagemaker.list_training_jobs)[0] == "InternalFailure"
    account.sagemaker.list_training_jobs()
    now = account.admin("GET", "faults")
    assert (now["quota"], now["fail_call"][0]["times"]) == (9, 0)
    assert account.admin("DELETE", "faults")["quota"] is None


def test_call_log_is_read_over_http(account: Account) -> None:
    account.sagemaker.list_training_jobs()
    assert account.admin("GET", "ledger")[-1]["action"] == "ListTrainingJobs"


@pytest.mark.parametrize(
    ("method", "route", "document", "token", "status"),
    [
        ("POST", "faults", {"quota": 1}, "wrong", 403),
        ("POST", "faults", {"quota": -1}, None, 400),
        ("POST", "faults", {"quotas": 1}, None, 400),
        ("POST", "faults", [{"quota": 1}], None, 400),
        ("GET", "nothing", None, None, 404),
    ],
)
def test_admin_routes_reject_invalid_requests(
    account: Account, method: str, route: str, document: Any, token: str | None, status: int
) -> None:
    with pytest.raises(HTTPError) as refused:
        account.admin(method, route, document, token)
    assert refused.value.code == status
    refused.value.close()
    assert account.emulator.faults.now.quota is None


def test_invalid_faults_change_nothing(account: Account) -> None:
    with pytest.raises(UsageError, match=r"faults: throttle\.StopTrainingJob: "):
        account.emulator.faults.set({"throttle": {"StopTrainingJob": 0}, "quota": 1})
    assert account.emulator.faults.now.quota is None
