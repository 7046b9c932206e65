"""A client of the emulator: boto3 clients, and requests for small jobs."""

from __future__ import annotations

import http.client
import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import boto3
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from smsweep.services.emulator import run_emulator

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient

    from smsweep.emulator.server import Emulator

ROLE = "arn:aws:iam::123456789012:role/trainer"
BUCKET = "bucket"
LOG_GROUP = "/aws/sagemaker/TrainingJobs"
ENDED = ("Completed", "Failed", "Stopped")
PATIENT = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("told", flush=True), sys.exit(0)))
print("ready", flush=True)
time.sleep(60)
"""


# Part of a job's script: opens an S3 object with the job's keys and the standard library only.
# The signature has version 2, as in presigned URLs of boto3.
OPEN_S3 = """
import base64, hashlib, hmac, os, time, urllib.parse, urllib.request
def open_s3(path):
    expires = str(int(time.time()) + 60)
    signed = f"GET\\n\\n\\n{expires}\\n/{path}".encode()
    digest = hmac.new(os.environ["AWS_SECRET_ACCESS_KEY"].encode(), signed, hashlib.sha1).digest()
    query = {"AWSAccessKeyId": os.environ["AWS_ACCESS_KEY_ID"], "Expires": expires}
    query["Signature"] = base64.b64encode(digest)
    return urllib.request.urlopen(f"{os.environ['AWS_ENDPOINT_URL']}/{path}?{urllib.parse.urlencode(query)}")
"""


def client_of(opened: Emulator, service: str, **more: Any) -> Any:
    """Return a boto3 client of the emulator with its access key. more: options of boto3.client."""
    options = {
        "endpoint_url": opened.url,
        "region_name": opened.region,
        "aws_access_key_id": opened.access_key_id,
        "aws_secret_access_key": opened.secret_access_key,
    }
    return boto3.client(service, **{**options, **more})


def wait_until(is_true: Callable[[], object], timeout_s: float = 60) -> None:
    """Wait for a condition. Raises AssertionError after the timeout."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Account:
    """Clients of the emulator without retries, so that tests see each response."""

    def __init__(self, opened: Emulator) -> None:
        self.emulator = opened

    def client(self, service: str, **more: Any) -> Any:
        return client_of(self.emulator, service, **{"config": Config(retries={"total_max_attempts": 1}), **more})

    @cached_property
    def sagemaker(self) -> SageMakerClient:
        client: SageMakerClient = self.client("sagemaker")
        return client

    @cached_property
    def logs(self) -> CloudWatchLogsClient:
        client: CloudWatchLogsClient = self.client("logs")
        return client

    @cached_property
    def s3(self) -> S3Client:
        """A client of S3. The bucket exists."""
        client: S3Client = self.client("s3")
        client.create_bucket(Bucket=BUCKET)
        return client

    def upload_source(self, script: str) -> str:
        """Put a script as train.py into a source archive and return its URI."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            data = script.encode()
            member = tarfile.TarInfo("train.py")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        key = f"source/{hash(script):x}/sourcedir.tar.gz"
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=packed.getvalue())
        return f"s3://{BUCKET}/{key}"

    def request(self, name: str, script: str = "", **more: Any) -> dict[str, Any]:
        """Return a CreateTrainingJob request that runs a script in the SDK's script mode."""
        hyperparameters = {
            "sagemaker_program": json.dumps("train.py"),
            "sagemaker_submit_directory": json.dumps(self.upload_source(script)),
        }
        return {
            "TrainingJobName": name,
            "RoleArn": ROLE,
            "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
            "HyperParameters": {**hyperparameters, **more.pop("HyperParameters", {})},
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/output"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
            **more,
        }

    def create(self, name: str, script: str = "", **more: Any) -> str:
        """Start a job and return its ARN."""
        return self.sagemaker.create_training_job(**self.request(name, script, **more))["TrainingJobArn"]

    def run(self, name: str, script: str = "", **more: Any) -> dict[str, Any]:
        """Run a job, wait until it ends, and return its description."""
        self.create(name, script, **more)
        return self.wait(name)

    def describe(self, name: str) -> dict[str, Any]:
        return dict(self.sagemaker.describe_training_job(TrainingJobName=name))

    def wait(self, name: str, until: Callable[[dict[str, Any]], object] | None = None) -> dict[str, Any]:
        """Wait until the job has ended, or `until` returns True, and return its description."""
        is_so = until or (lambda job: job["TrainingJobStatus"] in ENDED)
        deadline = time.monotonic() + 60
        while True:
            description = self.describe(name)
            if is_so(description):
                return description
            assert time.monotonic() < deadline, description
            time.sleep(0.05)

    def wait_for_line(self, name: str, line: str) -> None:
        deadline = time.monotonic() + 30
        while line not in self.lines(name):
            assert time.monotonic() < deadline, f"{name} did not print {line!r}"
            time.sleep(0.05)

    def lines(self, name: str) -> list[str]:
        """Return the log of a job, including restarts."""
        try:
            response = self.logs.filter_log_events(logGroupName=LOG_GROUP, logStreamNamePrefix=f"{name}/")
        except ClientError:
            return []  # nothing has been logged yet
        return [event["message"] for event in response["events"]]

    def statuses(self, name: str) -> list[str]:
        return [step["Status"] for step in self.describe(name)["SecondaryStatusTransitions"]]

    def keys(self, prefix: str = "") -> list[str]:
        listed = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"] for item in listed.get("Contents", ())]

    def names(self, prefix: str) -> list[str]:
        """Return the file names in an archive in S3."""
        data = self.s3.get_object(Bucket=BUCKET, Key=prefix)["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            return tar.getnames()

    def admin(self, method: str, route: str, document: object = None, token: str | None = None) -> Any:
        """Call a route below /_smsweep/."""
        request = Request(
            f"{self.emulator.url}/_smsweep/{route}",
            method=method,
            data=None if document is None else json.dumps(document).encode(),
            headers={"X-Smsweep-Token": self.emulator.token if token is None else token},
        )
        with urlopen(request, timeout=10) as response:
            return json.load(response)

    def send(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> tuple[int, str]:
        """Send a request unchanged, and return its status and body."""
        where = urlsplit(self.emulator.url)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
        try:
            connection.putrequest(method, target, skip_host="Host" in headers, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def signed(
        self, service: str, method: str, target: str, headers: Mapping[str, str], body: bytes = b""
    ) -> dict[str, str]:
        """Return the headers of a request signed with the emulator's key. headers: further signed headers."""
        keys = Credentials(self.emulator.access_key_id, self.emulator.secret_access_key)
        unsigned = {"Host": urlsplit(self.emulator.url).netloc, **headers}
        request = AWSRequest(method, self.emulator.url + target, data=body, headers=unsigned)
        make = S3SigV4Auth if service == "s3" else SigV4Auth
        make(keys, service, self.emulator.region).add_auth(request)
        return dict(request.headers.items())

    def ledger(self, action: str) -> list[dict[str, Any]]:
        """Return the entries of the call log for an action."""
        return [entry for entry in self.emulator.ledger.read() if entry["action"] == action]


@contextmanager
def open_account(folder: Path, environ: Mapping[str, str], **options: Any) -> Iterator[Account]:
    """Run an emulator with its files in a folder. options: options of services.emulator.run_emulator."""
    with run_emulator(environ={**environ, "SMSWEEP_DIR": str(folder)}, **options) as opened:
        yield Account(opened)


def error_of(call: Callable[..., object], **arguments: Any) -> tuple[str, str]:
    """Make a call that fails, and return (error code, message)."""
    try:
        call(**arguments)
    except ClientError as err:
        return err.response["Error"]["Code"], err.response["Error"]["Message"]
    raise AssertionError("the call succeeded")
