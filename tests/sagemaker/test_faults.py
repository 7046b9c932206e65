"""Faults of SageMaker, one per test. The numbers are those in docs/faults.md."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from smsweep.backends.base import Backend
from smsweep.cli.commands import show
from smsweep.cli.run_agent import follow
from smsweep.core.json_documents import SweepDocument
from smsweep.core.trial import Trial, TrialState
from smsweep.errors import AccessDenied, BackendUnavailable
from smsweep.services.agents.run_agent import run
from smsweep.services.sweeps.create import sweep
from smsweep.services.views import json_views
from tests.sagemaker.conftest import Account
from tests.support.account import wait_until
from tests.support.sagemaker_jobs import cloud_jobs

FINISHED_3 = {TrialState.FINISHED: 3}


def test_lost_response_to_create_starts_no_second_job(account: Account) -> None:
    account.emulator.faults.set({"lose_response": [{"action": "CreateTrainingJob"}]})
    assert account.run(3).ended == FINISHED_3
    assert sorted(account.created().values()) == [1, 1, 1]
    assert [trial.attempt for trial in account.trials()] == [0, 0, 0]


def test_repeatedly_lost_response_starts_no_second_job(account: Account) -> None:
    account.emulator.faults.set({"lose_response": [{"action": "CreateTrainingJob", "times": 2}]})
    assert account.run(2).ended == {TrialState.FINISHED: 2}
    assert sorted(account.created().values()) == [1, 1]


def test_job_end_is_kept_when_the_next_poll_fails(account: Account, tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    folder.mkdir()
    jobs = cloud_jobs(account.emulator, folder)
    try:
        one, two = (jobs.start(label, f"print('{label}')") for label in ("one", "two"))
        watched = jobs.another()
        for name in (one, two):
            jobs.finish(name, watched)
        account.emulator.faults.set({"fail_call": [{"action": "DescribeTrainingJob", "job": two, "times": 3}]})
        with pytest.raises(BackendUnavailable, match="DescribeTrainingJob"):
            jobs.backend.describe([one, two])  # read the end of one job, then fail
        for name in (one, two):
            jobs.finish(name)
            assert is_read_out(jobs.backend, name)
    finally:
        jobs.close()


def is_read_out(backend: Backend, name: str) -> bool:
    """Read the log of an ended job. Return False if the log does not end within ten seconds."""
    cursor, deadline = "", time.monotonic() + 10
    while time.monotonic() < deadline:
        page = backend.read_logs(name, cursor)
        if page.is_last:
            return True
        cursor = page.cursor
        backend.wait(0.02)
    return False


def test_throttling_fails_no_trial(account: Account) -> None:
    account.emulator.faults.set(
        {
            "throttle": {
                "CreateTrainingJob": 0.5,  # longer than the submission of three jobs takes
                "ListTrainingJobs": 2,
                "DescribeTrainingJob": 2,
                "FilterLogEvents": 2,
            }
        }
    )
    assert account.run(3, parallel=3).ended == FINISHED_3
    assert account.calls(outcome="refused")["CreateTrainingJob"] > 0


def test_quota_keeps_trials_pending(account: Account) -> None:
    account.emulator.faults.set({"quota": 1})
    assert account.run(3, parallel=3).ended == FINISHED_3
    assert [trial.attempt for trial in account.trials()] == [0, 0, 0]
    assert account.calls(outcome="refused")["CreateTrainingJob"] == 1  # smsweep learns the quota from the error


def test_show_reports_trials_that_wait_for_quota(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    result: list[SweepDocument] = []

    def look(trial: Trial) -> None:
        data = json_views.show(trial.sweep_id)
        if data["waiting"] and not result:
            result.append(data)
            show.show_sweep(data)

    (account.folder / "train.py").write_text("import smsweep, time; time.sleep(1); smsweep.log({'loss': 1})")
    account.emulator.faults.set({"quota": 1})
    account.run(2, parallel=2, on_change=look)
    (waiting,) = result[0]["waiting"]
    assert (waiting["number"], waiting["for"], waiting["limit"]) == (1, "quota", 1)
    assert "/1  waiting for quota: The account-level service limit 'ml.m5.large" in capsys.readouterr().out
    sweep_id = account.trials()[0].sweep_id
    assert json_views.show(sweep_id)["waiting"] == []
    assert json_views.show_trial(f"{sweep_id}/1")["waiting"] is None


def test_missing_capacity_starts_a_new_attempt(account: Account) -> None:
    account.emulator.faults.set({"no_capacity": [{}]})
    assert account.run(2).ended == {TrialState.FINISHED: 2}
    first = account.trials()[0]
    assert (first.attempt, first.retries) == (1, {"capacity": 1})


def test_next_instance_type_is_used_without_capacity(account: Account) -> None:
    machines = [{"InstanceType": name, "InstanceCount": 1} for name in ("ml.g5.xlarge", "ml.g6.xlarge")]
    job = {
        **{key: value for key, value in account.job.items() if key not in ("image_uri", "instance_type")},
        "framework": "pytorch",
        "framework_version": "2.3.0",
        "py_version": "py311",
        "request": {"ResourceConfig": {"InstancePreferences": machines, "VolumeSizeInGB": 30}},
    }
    account.emulator.faults.set({"no_capacity": [{"instance_type": "ml.g5.xlarge", "times": 9}]})
    assert run(account.sweep(1), job=job, backend="sagemaker").ended == {TrialState.FINISHED: 1}
    (trial,) = account.trials()
    assert (trial.attempt, trial.usage["instance_type"]) == (0, "ml.g6.xlarge")
    described = account.client("sagemaker").describe_training_job(TrainingJobName=trial.job_name)
    assert "-gpu-" in described["AlgorithmSpecification"]["TrainingImage"]


def test_internal_error_starts_a_new_attempt_up_to_the_limit(account: Account) -> None:
    account.emulator.faults.set({"internal_error": [{"times": 5}]})
    (account.folder / "train.py").write_text("import time; time.sleep(2)")
    assert account.run(1, job={"retries": {"internal": 1}}).ended == {TrialState.CRASHED: 1}
    (trial,) = account.trials()
    assert trial.reason.startswith("InternalServerError")
    assert trial.retries == {"internal": 1}


def test_spot_interruption_continues_the_same_attempt(account: Account) -> None:
    (account.folder / "train.py").write_text(
        "import os, time, smsweep\n"
        "run = smsweep.init()\n"
        "file = os.path.join(os.environ['SM_MODEL_DIR'], '../checkpoints/step')\n"
        "step = int(open(file).read()) if os.path.exists(file) else 0\n"
        "for step in range(step, 4):\n"
        "    smsweep.log({'loss': 10 - step}, step=step)\n"
        "    open(file + '.part', 'w').write(str(step + 1))\n"
        "    os.replace(file + '.part', file)\n"
        "    time.sleep(0.8)\n"
    )
    account.emulator.faults.set({"interrupt": [{"after_s": 1.5}]})
    spot = {"use_spot_instances": True, "max_wait": 900, "checkpoint_s3_uri": f"s3://{account.bucket}/ck"}
    assert account.run(1, job=spot).ended == {TrialState.FINISHED: 1}
    (trial,) = account.trials()
    assert trial.attempt == 0
    assert trial.metrics["loss"].last == 7
    assert sorted(account.created().values()) == [1]


def test_expired_credentials_pause_the_agent_until_refreshed(
    account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    def refresh() -> None:
        wait_until(lambda: any("credentials" in message for message in caplog.messages))
        n_refused = account.calls(outcome="refused").total()
        wait_until(lambda: account.calls(outcome="refused").total() > n_refused + 1)
        account.emulator.faults.set({"expired": False})

    account.emulator.faults.set({"expired": True})
    account.s3.create_bucket(Bucket=account.bucket)
    thread = threading.Thread(target=refresh)
    thread.start()
    assert account.run(2).ended == {TrialState.FINISHED: 2}
    thread.join()
    messages = [record.message for record in caplog.records if "credentials" in record.message]
    assert len(messages) == 1
    assert "refresh them" in messages[0]


def test_denied_action_ends_the_agent_with_the_missing_policy(account: Account) -> None:
    account.emulator.faults.set({"deny": ["CreateTrainingJob"]})
    with pytest.raises(AccessDenied, match=r'"Action": "sagemaker:CreateTrainingJob"'):
        account.run(2)
    assert account.calls(outcome="refused")["CreateTrainingJob"] == 1


def test_jobs_that_continue_without_agent_are_reported(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    account.emulator.faults.set({"deny": ["FilterLogEvents"]})
    sweep_id = sweep(account.sweep(1), job=account.job)
    with pytest.raises(AccessDenied):
        follow(sweep_id, as_json=False, backend="sagemaker")
    message = "1 trial continues without this agent; after you fix the error, run: smsweep agent"
    assert f"{message} {sweep_id} --backend sagemaker" in capsys.readouterr().err


def test_job_stopped_by_the_user_is_killed_and_not_retried(account: Account) -> None:
    (account.folder / "train.py").write_text("import time; print('here', flush=True); time.sleep(30)")
    client = account.client("sagemaker")

    def stop() -> None:
        while not (jobs := client.list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"]):
            time.sleep(0.05)
        while (
            client.describe_training_job(TrainingJobName=jobs[0]["TrainingJobName"])["SecondaryStatus"]
            != "Training"
        ):
            time.sleep(0.05)
        client.stop_training_job(TrainingJobName=jobs[0]["TrainingJobName"])

    thread = threading.Thread(target=stop)
    thread.start()
    assert account.run(1).ended == {TrialState.KILLED: 1}
    thread.join()
    assert account.trials()[0].reason == "its job was stopped from outside"


def test_time_limit_fails_the_trial_and_keeps_its_metrics(account: Account) -> None:
    (account.folder / "train.py").write_text("import smsweep, time; smsweep.log({'loss': 5}); time.sleep(30)")
    assert account.run(1, job={"max_run": 1}).ended == {TrialState.FAILED: 1}
    (trial,) = account.trials()
    assert trial.reason == "ran longer than its limit (max_run)"
    assert trial.metrics["loss"].last == 5


def test_delayed_list_changes_nothing(account: Account) -> None:
    account.emulator.faults.set({"visible_after_s": 3})
    assert account.run(2, parallel=2).ended == {TrialState.FINISHED: 2}
    assert sorted(account.created().values()) == [1, 1]


def test_trial_fails_when_the_model_cannot_be_saved(account: Account) -> None:
    (account.folder / "train.py").write_text(
        "import smsweep\n"
        "smsweep.log({'loss': 1})\n"
        "try:\n"
        "    raise OSError(28, 'No space left on device')\n"
        "except OSError as err:\n"
        "    print('model not saved:', err)\n"
    )
    assert account.run(1, job={"retries": {"disk": 1}}).ended == {TrialState.FAILED: 1}
    (trial,) = account.trials()
    assert trial.retries == {"disk": 1}
    assert "and printed: model not saved" in trial.reason


def test_memory_and_disk_errors_differ_from_script_errors(account: Account) -> None:
    (account.folder / "train.py").write_text(
        "import smsweep, os, signal\n"
        "x = smsweep.init().config['x']\n"
        "if x == 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "if x == 1: raise OSError(28, 'No space left on device')\n"
        "raise ValueError('no')\n"
    )
    assert account.run(3).ended == {TrialState.FAILED: 3}
    memory, disk, own = (trial.reason for trial in account.trials())
    assert "memory ran out" in memory
    assert "raise volume_size" in disk
    assert own.startswith("ValueError: no")
