"""Boundary from trial to agent in S3: the role of trials has no access to agents."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.iam.access_control import IAMPolicy, PermissionResult

from smsweep.aws.client import Aws
from smsweep.errors import StoreError, UsageError
from smsweep.remote.record import read_records
from smsweep.remote.s3_store.s3_object import S3Store, SentCommand
from smsweep.remote.s3_store.writer import Writer
from smsweep.services import aws_setup
from smsweep.services.agents import detach
from smsweep.services.sweeps import create
from smsweep.services.workspace import read_stored
from tests.security.conftest import PAUSE
from tests.support.s3_server import ACCOUNT, FaultyS3
from tests.support.walkthrough import SMSWEEP

ROLE = f"arn:aws:iam::{ACCOUNT}:role/trainer"
AGENT_ROLE = f"arn:aws:iam::{ACCOUNT}:role/agent"
CONFIG = {"program": "train.py", "method": "grid", "parameters": {"x": {"values": [1, 2]}}}
# A job.yaml whose trial role covers a complete bucket.
JOBS: Mapping[str, dict[str, Any]] = {
    "output below a prefix": {"output_path": "s3://BUCKET/out"},
    "output anywhere in the bucket": {"output_path": "s3://BUCKET"},
    "output beside the agents": {"output_path": "s3://BUCKET/smsweep"},
    "the bucket as input": {"output_path": "s3://BUCKET/out", "inputs": {"train": "s3://BUCKET"}},
    "an input that is a name's beginning": {
        "output_path": "s3://BUCKET/out",
        "inputs": {"train": "s3://BUCKET/sm"},
    },
    "checkpoints anywhere in the bucket": {"output_path": "s3://BUCKET/out", "checkpoint_s3_uri": "s3://BUCKET"},
    "checkpoints among the agents": {
        "output_path": "s3://BUCKET/out",
        "checkpoint_s3_uri": "s3://BUCKET/smsweep/agents",
    },
    "checkpoints in another bucket": {"output_path": "s3://BUCKET/out", "checkpoint_s3_uri": "s3://other/c"},
    "a debugger's output anywhere": {
        "output_path": "s3://BUCKET/out",
        "request": {"DebugHookConfig": {"S3OutputPath": "s3://BUCKET"}},
    },
}


@dataclass
class Cloud:
    """An account with a bucket and two detached sweeps."""

    s3: FaultyS3
    bucket: str
    folder: Path
    own: str = ""  # id of the sweep whose trial is hostile
    other: str = ""

    def job(self, name: str) -> dict[str, Any]:
        """Return a job.yaml that uses the bucket."""
        own = json.loads(json.dumps(JOBS[name]).replace("BUCKET", self.bucket))
        return {"role": ROLE, "image_uri": "image", "agent": {"role": AGENT_ROLE}, **own}

    def detach(self, name: str) -> str:
        """Upload a sweep's store and sources to S3, and return the sweep's id."""
        sweep_id = create.sweep(CONFIG, job=self.job(name))
        uri = detach.start_agent_job(sweep_id, {}, with_agent=False).uri
        with closing(Aws(self.s3.environ())) as aws:
            s3_store = S3Store(aws, uri)
            s3_store.send_command(SentCommand(id="1", document=json.loads(PAUSE)))
            s3_store.write_heartbeat({"job": ""})
        return sweep_id

    def agents(self) -> dict[str, str]:
        """Return the keys and etags of all objects that agents use."""
        listed = self.s3.client().list_objects_v2(Bucket=self.bucket, Prefix="smsweep/agents/")
        return {item["Key"]: item["ETag"] for item in listed["Contents"]}

    def role(self, policy: Mapping[str, Any]) -> Any:
        """Return an S3 client that uses a role with this policy."""
        environ = self.s3.new_role(policy)
        return self.s3.client(
            aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=environ["AWS_SESSION_TOKEN"],
        )


@pytest.fixture(scope="module")
def cloud(s3_server: FaultyS3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("AWS_", "SMSWEEP_", "WANDB_")):
                patch.delenv(name)
        for name, value in s3_server.environ().items():
            patch.setenv(name, value)
        created = Cloud(s3_server, s3_server.new_bucket(), tmp_path_factory.mktemp("cloud"))
        patch.chdir(created.folder)
        Path("train.py").write_text("print('hello')\n")
        created.other, created.own = (
            created.detach("output below a prefix"),
            created.detach("output below a prefix"),
        )
        yield created


def attempts(client: Any, bucket: str, key: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the operations that a hostile script tries with one object."""
    where = {"Bucket": bucket, "Key": key}
    yield "read", lambda: client.get_object(**where)["Body"].read()
    yield "look", lambda: client.head_object(**where)
    yield "overwrite", lambda: client.put_object(**where, Body=b"hostile")
    yield "tag", lambda: client.put_object_tagging(**where, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    yield "publish", lambda: client.put_object_acl(**where, ACL="public-read")
    yield "upload in parts", lambda: client.create_multipart_upload(**where)
    yield "copy over it", lambda: client.copy_object(**where, CopySource={"Bucket": bucket, "Key": "smsweep/own"})
    yield "delete", lambda: client.delete_object(**where)


def is_denied(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except ClientError as err:
        return err.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    return False


@pytest.mark.parametrize("name", JOBS)
@pytest.mark.parametrize("is_for_one_sweep", [False, True], ids=["all sweeps", "one sweep"])
def test_trial_role_cannot_access_agent_objects(cloud: Cloud, name: str, is_for_one_sweep: bool) -> None:
    before = cloud.agents()
    kinds = ("store.db.gz", "alive.json", "orders/1.json", "source/", "code/")
    wanted = [f"/{sweep_id}/{kind}" for kind in kinds for sweep_id in (cloud.own, cloud.other)]
    keys = [next(key for key in before if part in key) for part in wanted]
    new = [f"smsweep/agents/{cloud.own}/orders/{end}" for end in ("2.json", "")]
    trial = cloud.role(aws_setup.policies(cloud.job(name), cloud.own if is_for_one_sweep else None)["role"])
    with cloud.s3.policies_enforced():
        allowed = [
            (key, what)
            for key in (*keys, *new)
            for what, attempt in attempts(trial, cloud.bucket, key)
            if not is_denied(attempt)
        ]
    assert allowed == []
    assert cloud.agents() == before


@pytest.mark.parametrize("name", JOBS)
def test_trial_role_cannot_change_the_source_of_another_job(cloud: Cloud, name: str) -> None:
    where = {"Bucket": cloud.bucket, "Key": "smsweep/assets/1-2/source.tar.gz"}
    cloud.s3.client().put_object(**where, Body=b"source")
    trial = cloud.role(aws_setup.policies(cloud.job(name))["role"])
    with cloud.s3.policies_enforced():
        assert trial.get_object(**where)["Body"].read() == b"source"
        assert is_denied(lambda: trial.put_object(**where, Body=b"hostile"))
        assert is_denied(lambda: trial.delete_object(**where))


def test_trial_role_can_access_its_own_checkpoints_only(cloud: Cloud) -> None:
    trial = cloud.role(aws_setup.policies(cloud.job("output below a prefix"), cloud.own)["role"])
    with cloud.s3.policies_enforced():
        for sweep_id, may in ((cloud.own, True), (cloud.other, False), (f"{cloud.own}x", False), ("*", False)):
            for key in (f"smsweep/checkpoints/{sweep_id}/0/c", f"out/smsweep-{sweep_id}-0-0/output/model.tar.gz"):
                where = {"Bucket": cloud.bucket, "Key": key}
                put = is_denied(partial(trial.put_object, **where, Body=b"x"))
                got = is_denied(partial(trial.get_object, **where))
                assert (put, got) == (not may, not may), key


def test_job_yaml_of_the_sweep_is_the_default(cloud: Cloud) -> None:
    job = cloud.job("output below a prefix")
    assert (
        aws_setup.policies(sweep=cloud.own)
        == aws_setup.policies(job, cloud.own)
        != aws_setup.policies(job, cloud.other)
    )
    with pytest.raises(UsageError, match="not a sweep id"):
        aws_setup.policies(job, "*")


def test_agent_role_allows_all_calls_of_an_agent_to_its_store(cloud: Cloud, tmp_path: Path) -> None:
    own = cloud.detach("checkpoints anywhere in the bucket")
    records = read_records(Path(".smsweep"))
    assert records[own].uri == f"s3://{cloud.bucket}/smsweep/agents/{own}"
    environ = cloud.s3.new_role(aws_setup.policies(sweep=own)["agent"])
    with cloud.s3.policies_enforced(), closing(Aws(environ)) as aws:
        s3_store = S3Store(aws, records[own].uri)
        s3_store.send_command(SentCommand(id="2", document={"do": "nonsense"}))
        with closing(Writer(s3_store, own, tmp_path / "agent", read_stored, "agent")) as writer:
            assert writer.run_commands() == 2
            assert writer.store.get_sweep(own).state == "paused"
            s3_store.write_heartbeat({})
        assert s3_store.received_commands() == []
        with pytest.raises(StoreError, match="access denied to s3:GetObject"):
            S3Store(aws, records[cloud.other].uri).fetch(tmp_path / "other.db")


def test_launcher_policy_allows_detach_and_commands(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = cloud.job("output below a prefix")
    for name, value in cloud.s3.new_role(aws_setup.policies(job)["launcher"]).items():
        monkeypatch.setenv(name, value)
    sweep_id = create.sweep(CONFIG, job=job)
    with cloud.s3.policies_enforced():
        uri = detach.start_agent_job(sweep_id, {}, with_agent=False).uri
        with closing(Aws(os.environ)) as aws:
            s3_store = S3Store(aws, uri)
            s3_store.send_command(SentCommand(id="1", document={}))
            assert s3_store.has_command("1")
            s3_store.fetch(tmp_path / "store.db")


@pytest.mark.parametrize("agent", [{}, {"role": ROLE}, {"instance_type": "ml.t3.medium"}], ids=str)
def test_agent_without_its_own_role_is_not_started(cloud: Cloud, agent: dict[str, str]) -> None:
    before, records = cloud.agents(), read_records(Path(".smsweep"))
    job = {**cloud.job("output below a prefix"), "instance_type": "ml.m5.large", "agent": agent}
    with pytest.raises(UsageError, match="needs a role of its own"):
        detach.start_agent_job(create.sweep(CONFIG, job=job), {})
    assert (cloud.agents(), read_records(Path(".smsweep"))) == (before, records)


def test_run_creates_no_sweep_when_the_agent_has_no_role(cloud: Cloud, tmp_path: Path) -> None:
    job = {**cloud.job("output below a prefix"), "instance_type": "ml.m5.large", "agent": {}}
    for name, text in (("sweep.yaml", json.dumps(CONFIG)), ("job.yaml", json.dumps(job)), ("train.py", "")):
        (tmp_path / name).write_text(text)
    words = ["run", "sweep.yaml", "--job", "job.yaml", "--backend", "sagemaker", "--detach"]
    command = [*SMSWEEP, *words]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "job.yaml: agent.role: a detached agent needs a role of its own" in " ".join(ended.stderr.split())
    assert not (tmp_path / ".smsweep" / "store.db").exists()


ACTIONS = (
    *("s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"),
    *(
        "s3:PutObjectAcl",
        "s3:PutObjectTagging",
        "s3:RestoreObject",
        "s3:ReplicateObject",
        "s3:AbortMultipartUpload",
    ),
)
POWERS = (
    *("sagemaker:CreateTrainingJob", "sagemaker:StopTrainingJob", "iam:PassRole", "sqs:DeleteMessage"),
    *("batch:SubmitServiceJob", "s3:PutBucketPolicy", "s3:PutLifecycleConfiguration"),
)


@pytest.mark.parametrize("name", ["", "output anywhere in the bucket"])
def test_trial_role_is_denied_in_any_bucket(name: str) -> None:
    job = {**JOBS[name], "role": ROLE, "agent": {"role": AGENT_ROLE}} if name else None
    policy = IAMPolicy(json.dumps(aws_setup.policies(job)["role"]))
    for action in ACTIONS:
        for bucket in ("BUCKET", f"sagemaker-us-east-1-{ACCOUNT}", "any-other"):
            found = policy.is_action_permitted(
                action, f"arn:aws:s3:::{bucket}/smsweep/agents/abcd1234/store.db.gz"
            )
            assert found is PermissionResult.DENIED, (action, bucket)
    for action in POWERS:
        found = policy.is_action_permitted(action, f"arn:aws:s3:::{bucket}")
        assert found is PermissionResult.NEUTRAL, action
