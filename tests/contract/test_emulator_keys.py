"""Signatures that the emulator accepts: all forms that AWS SDKs use, and all keys that the account has issued.

tests/security/test_emulator.py tests the signatures that the emulator refuses.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from botocore.config import Config
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from smsweep.emulator.api_error import ACCOUNT
from tests.support.account import BUCKET, ROLE, Account, error_of, open_account

TEXT = "text"


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with open_account(tmp_path_factory.mktemp("endpoint"), os.environ) as opened:
        opened.s3.put_object(Bucket=BUCKET, Key="a b/file.txt", Body=TEXT.encode())
        yield opened


def test_signature_is_accepted_in_each_form(account: Account) -> None:
    options = {"Bucket": BUCKET, "Key": "a b/file.txt"}
    for version in ("s3", "s3v4"):
        s3 = account.client("s3", config=Config(signature_version=version))
        assert s3.get_object(**options)["Body"].read() == TEXT.encode()
        url = s3.generate_presigned_url("get_object", Params=options)
        assert account.send("GET", url.removeprefix(account.emulator.url), {}) == (200, TEXT)
        put = s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": f"put {version}"})
        assert account.send("PUT", put.removeprefix(account.emulator.url), {}, b"data")[0] == 200
        assert s3.get_object(Bucket=BUCKET, Key=f"put {version}")["Body"].read() == b"data"


@pytest.mark.parametrize(
    ("service", "operation"),
    [  # of each protocol
        *(("sagemaker", "list_training_jobs"), ("logs", "describe_log_groups"), ("sqs", "list_queues")),
        *(("cloudwatch", "list_metrics"), ("sts", "get_caller_identity"), ("iam", "list_users")),
        *(("ec2", "describe_vpcs"), ("route53", "list_hosted_zones"), ("lambda", "list_functions")),
    ],
)
def test_key_is_accepted_by_each_protocol(account: Account, service: str, operation: str) -> None:
    answer = getattr(account.client(service), operation)()
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize("key", ["plain", "a b", "a+b&c=d?e#f", "ü/€/~-_.*'()!", "a//b/./c", "a%20b", "x" * 800])
def test_signature_is_accepted_for_any_object_name(account: Account, key: str) -> None:
    for version in ("s3", "s3v4"):
        s3 = account.client("s3", config=Config(signature_version=version))
        s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode(), Metadata={"x": "a  b", "under_score": "1"})
        assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == key.encode()
        url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key})
        assert account.send("GET", url.removeprefix(account.emulator.url), {}) == (200, key)
        listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=key, Delimiter="/", StartAfter="a b+c")
        assert listed["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_large_and_chunked_uploads_are_accepted(account: Account, tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(os.urandom(9 << 20))
    account.s3.upload_file(str(file), BUCKET, "large")  # in parts
    assert account.s3.head_object(Bucket=BUCKET, Key="large")["ContentLength"] == 9 << 20
    with file.open("rb") as stream:
        account.s3.put_object(Bucket=BUCKET, Key="streamed", Body=stream, ChecksumAlgorithm="CRC32")
    assert account.s3.head_object(Bucket=BUCKET, Key="streamed")["ContentLength"] == 9 << 20


def test_bucket_in_the_host_name_is_accepted(account: Account) -> None:
    """boto3 puts the bucket into the host name if the URL has a name; connections use the address."""
    port = urlsplit(account.emulator.url).port
    s3 = account.client("s3", endpoint_url=f"http://localhost:{port}", config=Config(signature_version="s3v4"))
    for client in (
        s3,
        account.client("s3", endpoint_url=f"http://localhost:{port}", config=Config(signature_version="s3")),
    ):
        url = client.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "a b/file.txt"})
        where = urlsplit(url)
        assert where.hostname in (f"{BUCKET}.localhost", "localhost")
        assert account.send("GET", f"{where.path}?{where.query}", {"Host": where.netloc}) == (200, TEXT)


def test_session_of_an_assumed_role_works_until_it_expires(account: Account) -> None:
    issued = account.client("sts").assume_role(RoleArn=ROLE, RoleSessionName="session")["Credentials"]
    keys = {
        "aws_access_key_id": issued["AccessKeyId"],
        "aws_secret_access_key": issued["SecretAccessKey"],
        "aws_session_token": issued["SessionToken"],
    }
    identity = account.client("sts", **keys).get_caller_identity()
    assert identity["Arn"].endswith("assumed-role/trainer/session")
    assert account.client("sagemaker", **keys).list_training_jobs()["TrainingJobSummaries"] == []
    role = sts_backends[ACCOUNT]["aws"].get_assumed_role_from_access_key(issued["AccessKeyId"])
    assert role is not None
    role.expiration = role.expiration.replace(year=2000)
    assert error_of(account.client("sagemaker", **keys).list_training_jobs)[0] == "ExpiredTokenException"
    assert error_of(account.client("s3", **keys).list_buckets)[0] == "ExpiredToken"


def test_key_of_an_iam_user_works_while_it_is_active(account: Account) -> None:
    iam = account.client("iam")
    iam.create_user(UserName="colleague")
    created = iam.create_access_key(UserName="colleague")["AccessKey"]
    keys = {"aws_access_key_id": created["AccessKeyId"], "aws_secret_access_key": created["SecretAccessKey"]}
    sts = account.client("sts", **keys)
    assert sts.get_caller_identity()["Arn"].endswith("user/colleague")
    iam.update_access_key(UserName="colleague", AccessKeyId=created["AccessKeyId"], Status="Inactive")
    assert error_of(sts.get_caller_identity)[0] == "InvalidClientTokenId"
    iam.delete_access_key(UserName="colleague", AccessKeyId=created["AccessKeyId"])
    assert error_of(sts.get_caller_identity)[0] == "InvalidClientTokenId"
    assert created["AccessKeyId"] not in iam_backends[ACCOUNT]["aws"].access_keys
