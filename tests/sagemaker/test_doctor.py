"""`smsweep doctor --backend sagemaker` checks the AWS account and what job.yaml names."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from smsweep.aws.client import Aws
from smsweep.backends.base import Check
from smsweep.backends.sagemaker.doctor import check_lifecycle
from smsweep.cli.main import main
from smsweep.services.doctor import examine
from tests.sagemaker.conftest import Account

EXPIRES = {"NoncurrentDays": 1}
MANIFEST = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
    "config": {},
    "layers": [],
}
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


def found_in(job: dict[str, Any]) -> dict[str, Check]:
    return {each.what: each for each in examine(backend="sagemaker", job=job)}


def push(account: Account) -> None:
    """Create the image of the job."""
    ecr = account.client("ecr")
    ecr.create_repository(repositoryName="train")
    ecr.put_image(repositoryName="train", imageTag="1", imageManifest=json.dumps(MANIFEST))


def test_complete_account_has_no_problems(account: Account) -> None:
    push(account)
    account.emulator.faults.set({"quota": 2})
    found = found_in(account.job)
    assert [each for each in found.values() if not each.is_ok] == []
    assert found["AWS region"].result.startswith("us-east-1 of the emulator at http://127.0.0.1:")
    assert found["AWS credentials"].result.startswith("arn:aws:sts::123456789012:")
    assert found["quota ml.m5.large for training job usage"].result == "2 instances"
    assert found["job.yaml"].result == "sagemaker can run its jobs"
    assert not [what for what in found if "Docker" in what or "python" in what]
    assert account.objects() == {}  # the checks change nothing
    assert list(account.folder.iterdir()) == [account.folder / "train.py"]


def test_missing_resources_fail_with_a_fix(account: Account) -> None:
    account.emulator.faults.set({"quota": 1})
    role, image = "arn:aws:iam::999999999999:role/other", "123456789012.dkr.ecr.us-east-1.amazonaws.com/other:1"
    job = {"role": role, "image_uri": image, "output_path": "s3://no-such-bucket/out", "instance_count": 2}
    found = {what: each for what, each in found_in({**account.job, **job}).items() if not each.is_ok}
    assert all(each.is_required and each.is_known for each in found.values())
    assert {what: (each.result, each.fix.partition(",")[0]) for what, each in found.items()} == {
        f"execution role {role}": (
            "the role is in account 999999999999, but your credentials are for 123456789012",
            "use a role of your account",
        ),
        "bucket no-such-bucket": ("does not exist", "create it with `aws s3 mb s3://no-such-bucket`"),
        f"image {image}": ("ECR has no such repository", "push the image"),
        "quota ml.m5.large for training job usage": (
            "1 instance, but a job needs 2",
            "request 2 or more in AWS Service Quotas",
        ),
    }


def test_unsuitable_resources_fail_with_a_fix(account: Account) -> None:
    push(account)
    account.emulator.faults.set({"quota": 1})
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    account.client("iam").create_role(RoleName="own", Path="/service-role/", AssumeRolePolicyDocument=policy)
    bucket = f"{account.bucket}-eu"
    account.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    role, image = "arn:aws:iam::123456789012:role/service-role/own", f"{account.job['image_uri']}0"
    changes = {"role": role, "image_uri": image, "output_path": f"s3://{bucket}/out"}
    found = found_in({**account.job, **changes, "use_spot_instances": True, "max_wait": 900})
    assert {what: each.result for what, each in found.items() if not each.is_ok} == {
        f"execution role {role}": "its trust policy does not allow sagemaker.amazonaws.com to assume it",
        f"bucket {bucket}": "is in eu-west-1, but the jobs run in us-east-1",
        f"image {image}": "ECR has no such image",
    }
    assert '"Principal": {"Service": "sagemaker.amazonaws.com"}' in found[f"execution role {role}"].fix
    assert found[f"bucket {bucket}"].fix.startswith("set AWS_REGION=eu-west-1, or output_path")
    assert "quota ml.m5.large for spot training job usage" in found


def test_denied_calls_fail_only_if_jobs_need_them(
    account: Account, read_only_s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", read_only_s3)
    account.emulator.faults.set({"deny": ["DescribeImages", "ListServiceQuotas", "FilterLogEvents"]})
    found = {what: each for what, each in found_in(account.job).items() if not each.is_ok}
    assert all("`smsweep iam` prints all required permissions" in each.fix for each in found.values())
    assert {what.partition(" ")[0]: (each.is_required, each.is_known) for what, each in found.items()} == {
        "CloudWatch": (True, True),
        "bucket": (True, True),
        "lifecycle": (False, False),
        "image": (False, False),
        "instance": (False, False),
    }
    assert found[f"bucket {account.bucket}"].result.startswith("AWS: access denied to s3:PutObject")


def test_missing_region_and_credentials_fail(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.argv", ["smsweep", "doctor", "--backend", "sagemaker"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("ok ")]
    assert lines[0] == "MISSING  AWS region: none; set AWS_REGION, or region in your AWS profile"
    assert lines[1].startswith("MISSING  AWS credentials: there are none; refresh them (aws sso login")
    assert len(lines) == 2


def test_refused_credentials_fail(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    (found,) = [each for each in found_in(account.job).values() if not each.is_ok]
    assert (found.what, found.is_required) == ("AWS credentials", True)


def test_doctor_without_a_complete_job(account: Account) -> None:
    found = {each.what: each for each in examine(backend="sagemaker")}
    assert (found["job.yaml"].is_required, found["job.yaml"].is_known) == (False, False)
    assert found["job.yaml"].fix == "add --job job.yaml"
    found = found_in({"max_run": 60})
    assert (found["execution role"].is_required, found["execution role"].result) == (True, "job.yaml has no role")
    push(account)
    found = found_in({**account.job, "secrets": {"TOKEN": "env:TOKEN"}})
    assert found["job.yaml"].result.startswith(
        "SageMaker would refuse it: secret TOKEN: TOKEN is a variable of this"
    )


class ReadOnlyS3(BaseHTTPRequestHandler):
    """Responds like S3 to a user who can read a bucket, but not write to it."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("x-amz-bucket-region", "us-east-1")
        self.end_headers()

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(403)
        self.send_header("Content-Length", str(len(DENIED)))
        self.end_headers()
        self.wfile.write(DENIED)

    do_GET = do_PUT

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def read_only_s3() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), ReadOnlyS3) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_versioned_bucket_is_warned_about_until_it_expires_old_versions(account: Account) -> None:
    aws = Aws(os.environ)

    def check(**rule: Any) -> Check:
        rules = {"Rules": [{"ID": "one", "Status": "Enabled", "Filter": {"Prefix": ""}, **rule}]}
        account.s3.put_bucket_lifecycle_configuration(Bucket=account.bucket, LifecycleConfiguration=rules)
        return check_lifecycle(aws, account.bucket)

    assert check_lifecycle(aws, account.bucket).is_ok
    account.s3.put_bucket_versioning(Bucket=account.bucket, VersioningConfiguration={"Status": "Enabled"})
    found = check_lifecycle(aws, account.bucket)
    assert (found.is_ok, found.is_required) == (False, False)
    assert found.what == f"lifecycle rule of bucket {account.bucket}"
    assert "keeps each version of a detached sweep's store" in found.result
    assert "expires noncurrent versions below smsweep/agents/" in found.fix
    assert check(NoncurrentVersionExpiration=EXPIRES).is_ok
    assert not check(Expiration={"Days": 1}).is_ok
    assert not check(NoncurrentVersionExpiration=EXPIRES, Status="Disabled").is_ok
    assert not check(NoncurrentVersionExpiration=EXPIRES, Filter={"Prefix": "smsweep/assets/"}).is_ok
    assert not check(NoncurrentVersionExpiration=EXPIRES, Filter={"Tag": {"Key": "a", "Value": "b"}}).is_ok
