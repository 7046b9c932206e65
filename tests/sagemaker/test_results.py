"""Results of trials, and the end of warm pools."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from pathlib import Path

import pytest

from smsweep.backends.sagemaker.backend import SageMakerBackend
from smsweep.core.trial import TrialState
from smsweep.errors import NotFound, SourceError, UsageError
from smsweep.services.agents import run_agent
from smsweep.services.backends import renderer
from smsweep.services.sweeps import create, plan
from smsweep.services.views import model_download
from smsweep.services.workspace import Workspace
from tests.sagemaker.conftest import Account

MODEL = """
import os, smsweep
x = smsweep.init().config["x"]
smsweep.log({"loss": x})
open(os.environ["SM_MODEL_DIR"] + "/weights", "w").write(f"weights of {x}")
open(os.environ["SM_OUTPUT_DATA_DIR"] + "/plot.txt", "w").write("a plot")
"""


def test_trial_has_uris_of_model_output_and_log(account: Account) -> None:
    (account.folder / "train.py").write_text(MODEL)
    account.run(1)
    (trial,) = account.trials()
    where = f"s3://{account.bucket}/out/{trial.job_name}/output"
    assert trial.usage["model_uri"] == f"{where}/model.tar.gz"
    assert trial.usage["output_uri"] == f"{where}/output.tar.gz"
    assert f"{trial.usage['output_uri'].removeprefix(f's3://{account.bucket}/')}" in account.objects()
    assert trial.usage["log_url"].startswith("https://us-east-1.console.aws.amazon.com/cloudwatch/")


def test_best_model_is_downloaded_and_unpacked(account: Account, tmp_path: Path) -> None:
    (account.folder / "train.py").write_text(MODEL)
    account.run(2)
    folder = model_download.download_model(account.trials()[0].sweep_id, 1, tmp_path / "model")
    assert (folder / "weights").read_text() == "weights of 1"
    with pytest.raises(UsageError, match="is not an empty folder"):
        model_download.download_model(account.trials()[0].sweep_id, 1, folder)


def test_model_archive_with_outside_path_is_rejected(account: Account, tmp_path: Path) -> None:
    (account.folder / "train.py").write_text(MODEL)
    account.run(1)
    (trial,) = account.trials()
    evil = io.BytesIO()
    with tarfile.open(fileobj=evil, mode="w:gz") as tar:
        for name in ("fine", "../evil"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    key = trial.usage["model_uri"].removeprefix(f"s3://{account.bucket}/")
    account.s3.put_object(Bucket=account.bucket, Key=key, Body=evil.getvalue())
    with pytest.raises(SourceError, match=r"\.\./evil"):
        model_download.download_model(trial.sweep_id, 0, tmp_path / "model")
    assert list(tmp_path.glob("*evil*")) == []
    assert not (tmp_path / "model").exists()


def test_trial_without_a_model_is_reported(account: Account, tmp_path: Path) -> None:
    account.emulator.faults.set({"no_capacity": [{"times": 9}]})
    account.run(1, job={"retries": {"capacity": 0}})
    with pytest.raises(NotFound, match=r"saved no model, or it was deleted: .* the object does not exist"):
        model_download.download_model(account.trials()[0].sweep_id, 0, tmp_path / "model")


def test_warm_pool_is_reused_and_ended_with_the_sweep(account: Account) -> None:
    account.run(3, job={"keep_alive_period_in_seconds": 3600})
    client = account.client("sagemaker")
    pools = [client.describe_training_job(TrainingJobName=name)["WarmPoolStatus"] for name in account.created()]
    assert [pool["Status"] for pool in pools] == ["Reused", "Reused", "Terminated"]


def test_warm_pool_of_an_adopted_job_is_ended(account: Account) -> None:
    sweep_id = create.sweep(account.sweep(1), job={**account.job, "keep_alive_period_in_seconds": 3600})
    (planned,) = plan.plan_sweep(sweep_id, backend="sagemaker").trials
    assert planned.request is not None
    workspace = Workspace()
    with workspace.store() as store:  # the same calls as an agent that is killed later
        stored = store.get_sweep(sweep_id)
        trial = store.add_trials(sweep_id, 0, [planned.params])[0]
        claimed = store.claim(sweep_id, "gone:0", "sagemaker@us-east-1", 0.0)
    assert claimed is not None
    render = renderer(stored.job, stored, workspace, "sagemaker", upload=True)
    SageMakerBackend(os.environ, time.time).submit(render(trial))
    assert run_agent.agent(sweep_id, backend="sagemaker").ended == {TrialState.FINISHED: 1}
    (name,) = account.created()
    described = account.client("sagemaker").describe_training_job(TrainingJobName=name)
    assert described["WarmPoolStatus"]["Status"] == "Terminated"


def test_events_report_ends_between_two_polls(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    sqs, events = account.client("sqs"), account.client("events")
    queue = sqs.create_queue(QueueName=account.bucket)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"source": ["aws.sagemaker"], "detail-type": ["SageMaker Training Job State Change"]}
    events.put_rule(Name=account.bucket, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=account.bucket, Targets=[{"Id": "queue", "Arn": arn}])
    sqs.send_message(QueueUrl=queue, MessageBody="poison")
    account.emulator.faults.set({"duplicate_events": True})
    monkeypatch.setenv("SMSWEEP_SAGEMAKER_EVENTS", queue)
    monkeypatch.setenv("SMSWEEP_SAGEMAKER_POLL_S", "600")  # listing alone would take an hour
    (account.folder / "train.py").write_text("import smsweep; smsweep.log({'loss': 1})")
    assert account.run(2, parallel=2).ended == {TrialState.FINISHED: 2}
    assert [trial.metrics["loss"].last for trial in account.trials()] == [1, 1]
