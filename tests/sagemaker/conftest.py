"""Sweeps on the SageMaker backend with the emulator."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from smsweep.core.trial import Trial
from smsweep.emulator.server import Emulator
from smsweep.engine.agent_state import AgentResult
from smsweep.services import emulator
from smsweep.services.agents.run_agent import run
from smsweep.services.workspace import Workspace
from tests.support.account import client_of
from tools.docker_engine import IMAGE

ROLE = "arn:aws:iam::123456789012:role/smsweep-test"
AGENT_ROLE = "arn:aws:iam::123456789012:role/smsweep-test-agent"
TRAIN = """
import smsweep
run = smsweep.init()
smsweep.log({"loss": run.config["x"] * 2})
print("x is", run.config["x"])
"""
# High rates, because the emulator has no rate limits without faults.
FAST = {
    "SMSWEEP_SAGEMAKER_POLL_S": "0.05",
    "SMSWEEP_SAGEMAKER_LOG_LAG_S": "2",
    "SMSWEEP_SAGEMAKER_RATES": "create=1000,list=1000,describe=1000,stop=1000,logs=1000",
}


class Account:
    """An AWS account in an emulator, and a working directory whose sweeps run in it."""

    def __init__(self, opened: Emulator, folder: Path) -> None:
        self.emulator = opened
        self.folder = folder
        self.bucket = f"test-{secrets.token_hex(6)}"
        self.s3 = self.client("s3")
        self.s3.create_bucket(Bucket=self.bucket)
        self.job: dict[str, Any] = {
            "image_uri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/train:1",
            "role": ROLE,
            "instance_type": "ml.m5.large",
            "output_path": f"s3://{self.bucket}/out",
            "max_run": 600,
            "agent": {"role": AGENT_ROLE},
        }
        (folder / "train.py").write_text(TRAIN)

    def client(self, service: str) -> Any:
        return client_of(self.emulator, service)

    def sweep(self, n: int = 3, **changes: Any) -> dict[str, Any]:
        """Return a sweep config of n cells."""
        return {
            "program": "train.py",
            "method": "grid",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": {"x": {"values": list(range(n))}},
            **changes,
        }

    def run(self, n: int = 3, *, job: Mapping[str, Any] | None = None, **options: Any) -> AgentResult:
        document = {**self.job, **(job or {})}
        return run(self.sweep(n), job=document, backend="sagemaker", **options)

    def trials(self) -> list[Trial]:
        with Workspace().store() as store:
            return sorted(
                (trial for sweep in store.list_sweeps() for trial in store.list_trials(sweep.id)),
                key=lambda trial: trial.number,
            )

    def calls(self, *, outcome: str = "accepted") -> Counter[str]:
        """Count the calls of each API in the call log."""
        return Counter(entry["action"] for entry in self.emulator.ledger.read() if entry["outcome"] == outcome)

    def created(self) -> Counter[str]:
        """Count the accepted CreateTrainingJob calls by job."""
        entries = self.emulator.ledger.read()
        return Counter(
            entry["subject"]
            for entry in entries
            if entry["action"] == "CreateTrainingJob" and entry["outcome"] == "accepted"
        )

    def objects(self) -> dict[str, bytes]:
        found = self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return {
            item["Key"]: self.s3.get_object(Bucket=self.bucket, Key=item["Key"])["Body"].read() for item in found
        }


@pytest.fixture
def account(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """An account. param: the backend of the emulator (default: process)."""
    backend = getattr(request, "param", "process")
    if backend == "docker":
        request.getfixturevalue("docker_engine")
    for name in list(os.environ):
        if name.startswith(("AWS_", "SMSWEEP_", "WANDB_")):
            monkeypatch.delenv(name)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with emulator.run_emulator(
        backend=backend,
        folder=tmp_path / "emulator",
        environ={"PATH": os.environ["PATH"], "SMSWEEP_DIR": str(tmp_path / "e")},
    ) as opened:
        environ = {
            **opened.environ,
            "AWS_CONFIG_FILE": str(tmp_path / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "HOME": str(tmp_path),
            **FAST,
        }
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        created = Account(opened, folder)
        if backend == "docker":
            created.job["image_uri"] = IMAGE
        yield created
