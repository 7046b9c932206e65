"""Small jobs on the SageMaker backend, for the contract tests of all backends."""

from __future__ import annotations

import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from smsweep.emulator.server import Emulator
from tests.support.account import client_of
from tests.support.jobs import Jobs

ROLE = "arn:aws:iam::123456789012:role/smsweep-test"


@dataclass(kw_only=True)
class CloudJobs(Jobs):
    """Uploads the local files of a request to S3 first, as the user does."""

    endpoint: Emulator

    def __post_init__(self) -> None:
        self._bucket = f"test-{secrets.token_hex(6)}"
        self._s3 = client_of(self.endpoint, "s3")
        self._s3.create_bucket(Bucket=self._bucket)
        super().__post_init__()

    def ml(self, label: str) -> Path:
        return self.folder / "emulator" / "runs" / self.name(label) / "ml"

    def request(self, label: str, script: str = "", **options: Any) -> dict[str, Any]:
        request = super().request(label, script, **options)
        for channel in request["InputDataConfig"]:
            source = channel["DataSource"]["S3DataSource"]
            source["S3Uri"] = self._put(source["S3Uri"])
        return {
            **request,
            "AlgorithmSpecification": {
                **request["AlgorithmSpecification"],
                "TrainingImage": "123456789012.dkr.ecr.us-east-1.amazonaws.com/train:1",
                "ContainerArguments": ["--say-end"],
            },
            "RoleArn": ROLE,
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
            "OutputDataConfig": {"S3OutputPath": f"s3://{self._bucket}/results"},
            "CheckpointConfig": {"S3Uri": f"s3://{self._bucket}/checkpoints/{label}"},
        }

    def _put(self, uri: str) -> str:
        folder = Path(unquote(urlsplit(uri).path))
        if not folder.exists():
            return uri
        prefix = secrets.token_hex(4)
        for file in folder.rglob("*"):
            if file.is_file():
                key = f"{prefix}/{file.relative_to(folder).as_posix()}"
                self._s3.put_object(Bucket=self._bucket, Key=key, Body=file.read_bytes())
        return f"s3://{self._bucket}/{prefix}/"


def cloud_jobs(endpoint: Emulator, folder: Path) -> CloudJobs:
    environ = {
        **endpoint.environ,
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "SMSWEEP_SAGEMAKER_POLL_S": "0.05",
        "SMSWEEP_SAGEMAKER_LOG_LAG_S": "2",
        "SMSWEEP_SAGEMAKER_RATES": "create=1000,list=1000,describe=1000,stop=1000,logs=1000",
    }
    return CloudJobs(folder=folder, kind="sagemaker", environ=environ, endpoint=endpoint)
