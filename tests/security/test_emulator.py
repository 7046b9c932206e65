"""Attacks on the emulator by other users of this machine, and by web pages in the user's browser.

The attackers are real: unsigned and wrongly signed requests over HTTP, boto3 under a second user id, and pages in
Chromium. No attacker reads or changes data.
"""

# One file, because all of these tests share one emulator.
from __future__ import annotations

import json
import os
import pwd
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit
from xml.etree import ElementTree

import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.sts.models import sts_backends
from playwright.sync_api import Browser

from smsweep.emulator.api_error import ACCOUNT
from smsweep.emulator.jobs.runner import NAMES, PREFIXES
from smsweep.errors import UsageError
from smsweep.services import emulator
from tests.security.attacker import READABLE, rebound_browser, rebound_page, site
from tests.support.account import BUCKET, ROLE, Account, client_of, error_of, open_account, wait_until
from tools.environments import ROOT

SECRET = "the-value-of-a-secret"  # in the account; no attacker may read it
OWNER = {  # in the environment of the emulator's owner; no job may read it
    "AWS_PROFILE": "production",
    "AWS_SESSION_TOKEN": "session-of-the-owner",
    "DOCKER_AUTH_CONFIG": "registry-password-of-the-owner",
    "GITHUB_TOKEN": "token-of-the-owner",
    "PGPASSWORD": "database-password-of-the-owner",
    "SMSWEEP_STORE": "postgresql://owner:password-of-the-owner@127.0.0.1/sweeps",
    "SSH_AUTH_SOCK": "/run/agent-of-the-owner",
    "WANDB_API_KEY": "key-of-the-owner",
}
NO_RETRIES = Config(retries={"total_max_attempts": 1})
OTHER_KEY = "AKIA" + "X" * 16  # in the form of AWS
# Key ids that were valid earlier, or that are public defaults.
OTHER_KEYS = (
    "any",
    "test",
    "SMSWEEPENDPOINT",
    "SMSWEEPJOB",
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    "x" * 999,
)


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account with a secret, a bucket with an object, and a job that has ended."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SMSWEEP_"))}
    with open_account(tmp_path_factory.mktemp("emulator"), {**inherited, **OWNER}) as opened:
        opened.client("secretsmanager").create_secret(Name="key", SecretString=SECRET)
        opened.s3.put_object(Bucket=BUCKET, Key="a b/secret.txt", Body=SECRET.encode(), ContentType="text/plain")
        opened.run("existing", "print('ran')")
        yield opened


@pytest.fixture
def unchanged(account: Account) -> Iterator[None]:
    """The account is the same at the end of the test."""
    before = state(account)
    yield
    assert state(account) == before


def state(account: Account) -> object:
    """Return what an attacker could have changed."""
    s3, iam = account.s3, account.client("iam")
    buckets = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    jobs = account.sagemaker.list_training_jobs()["TrainingJobSummaries"]
    return {
        "objects": [(name, item["Key"], item["ETag"]) for name in buckets for item in objects(s3, name)],
        "jobs": [(job["TrainingJobName"], job["TrainingJobStatus"]) for job in jobs],
        "users": [user["UserName"] for user in iam.list_users()["Users"]],
        "roles": [role["RoleName"] for role in iam.list_roles()["Roles"]],
        "sessions": len(sts_backends[ACCOUNT]["aws"].assumed_roles),
        "faults": account.emulator.faults.now,
        "recorded": Path("moto_recording").exists(),  # by moto's control API, in the working directory
    }


def objects(s3: Any, bucket: str) -> list[dict[str, Any]]:
    """Return the objects of a bucket, without sources, because one test uploads a source."""
    listed = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    return [item for item in listed if not item["Key"].startswith("source/")]


# Wrong keys with boto3: the client gets AWS's own error.


def other_client(account: Account, service: str, key: str = OTHER_KEY, secret: str = "secret") -> Any:
    return client_of(
        account.emulator, service, aws_access_key_id=key, aws_secret_access_key=secret, config=NO_RETRIES
    )


CALLS: dict[
    str, tuple[Callable[[Any], object], str, str]
] = {  # service -> (call, code of a wrong key, of a wrong secret)
    "sagemaker": (lambda c: c.list_training_jobs(), "UnrecognizedClientException", "InvalidSignatureException"),
    "secretsmanager": (
        lambda c: c.get_secret_value(SecretId="key"),
        "UnrecognizedClientException",
        "InvalidSignatureException",
    ),
    "logs": (lambda c: c.describe_log_groups(), "UnrecognizedClientException", "InvalidSignatureException"),
    "batch": (
        lambda c: c.list_service_jobs(jobQueue="queue"),
        "UnrecognizedClientException",
        "InvalidSignatureException",
    ),
    "sqs": (lambda c: c.list_queues(), "InvalidClientTokenId", "SignatureDoesNotMatch"),
    "cloudwatch": (lambda c: c.list_metrics(), "InvalidClientTokenId", "SignatureDoesNotMatch"),
    "sts": (lambda c: c.get_caller_identity(), "InvalidClientTokenId", "SignatureDoesNotMatch"),
    "iam": (lambda c: c.list_users(), "InvalidClientTokenId", "SignatureDoesNotMatch"),
    "ec2": (lambda c: c.describe_vpcs(), "AuthFailure", "AuthFailure"),
    "route53": (lambda c: c.list_hosted_zones(), "InvalidClientTokenId", "SignatureDoesNotMatch"),
    "s3": (lambda c: c.list_buckets(), "InvalidAccessKeyId", "SignatureDoesNotMatch"),
}


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("service", CALLS)
def test_wrong_key_is_refused_with_the_error_of_aws(account: Account, service: str) -> None:
    call, of_key, of_secret = CALLS[service]
    assert error_of(call, c=other_client(account, service))[0] == of_key
    known = other_client(account, service, account.emulator.access_key_id, "not the secret")
    assert error_of(call, c=known)[0] == of_secret


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("key", OTHER_KEYS)
def test_unknown_key_is_refused(account: Account, key: str) -> None:
    call, code, _ = CALLS["sagemaker"]
    assert error_of(call, c=other_client(account, "sagemaker", key, account.emulator.secret_access_key))[0] == code


@pytest.mark.usefixtures("unchanged")
def test_key_in_another_form_is_refused(account: Account) -> None:
    right, secret = account.emulator.access_key_id, account.emulator.secret_access_key
    call, code, _ = CALLS["sagemaker"]
    for key in (right.lower(), right + "0", right[:-1], f"{right},{right}", " " + right):
        with pytest.raises(ClientError) as refused:
            call(other_client(account, "sagemaker", key, secret))
        assert refused.value.response["Error"]["Code"] in (code, "MissingAuthenticationTokenException")


@pytest.mark.usefixtures("unchanged")
def test_wrong_key_creates_no_job(account: Account) -> None:
    request = account.request("foreign", "print('ran')")
    call = partial(other_client(account, "sagemaker").create_training_job, **request)
    assert error_of(call)[0] == "UnrecognizedClientException"
    put = partial(other_client(account, "s3").put_object, Bucket=BUCKET, Key="foreign", Body=b"x")
    assert error_of(put)[0] == "InvalidAccessKeyId"
    assert error_of(other_client(account, "s3").head_object, Bucket=BUCKET, Key="a b/secret.txt")[0] == "403"


def test_keys_are_new_at_each_start(account: Account, tmp_path: Path) -> None:
    with emulator.run_emulator(folder=tmp_path / "emulator", environ={"SMSWEEP_DIR": str(tmp_path)}) as other:
        first, second = account.emulator, other
        assert first.access_key_id != second.access_key_id
        assert first.secret_access_key != second.secret_access_key
        assert first.token != second.token
        call, code, _ = CALLS["sagemaker"]
        client = client_of(other, "sagemaker", aws_access_key_id=first.access_key_id)
        assert error_of(call, c=client)[0] == code


# Requests that no SDK sends.

LIST_JOBS = {"X-Amz-Target": "SageMaker.ListTrainingJobs", "Content-Type": "application/x-amz-json-1.1"}
SCOPE = "20260101/us-east-1/sagemaker/aws4_request"
AUTHORIZATIONS = {  # KEY stands for the id of the valid key
    "none": None,
    "empty": "",
    "algorithm alone": "AWS4-HMAC-SHA256",
    "a credential alone": f"AWS4-HMAC-SHA256 Credential=KEY/{SCOPE}",
    "no signature": f"AWS4-HMAC-SHA256 Credential=KEY/{SCOPE}, SignedHeaders=host;x-amz-date",
    "an empty signature": f"AWS4-HMAC-SHA256 Credential=KEY/{SCOPE}, SignedHeaders=host;x-amz-date, Signature=",
    "zeros": f"AWS4-HMAC-SHA256 Credential=KEY/{SCOPE}, SignedHeaders=host;x-amz-date, Signature={'0' * 64}",
    "no signed headers": f"AWS4-HMAC-SHA256 Credential=KEY/{SCOPE}, SignedHeaders=, Signature={'0' * 64}",
    "no scope": f"AWS4-HMAC-SHA256 Credential=KEY, SignedHeaders=host, Signature={'0' * 64}",
    "a long scope": f"AWS4-HMAC-SHA256 Credential=KEY/{SCOPE}/more, SignedHeaders=host, Signature={'0' * 64}",
    "two credentials": f"AWS4-HMAC-SHA256 Credential=KEY/{SCOPE}, Credential=x/{SCOPE}, SignedHeaders=host",
    "asymmetric": f"AWS4-ECDSA-P256-SHA256 Credential=KEY/{SCOPE}, SignedHeaders=host, Signature=0",
    "version 2": "AWS KEY:AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "version 2, empty": "AWS KEY:",
    "version 3": "AWS3-HTTPS AWSAccessKeyId=KEY,Algorithm=HmacSHA256,Signature=AAAA",
    "basic": "Basic S0VZOng=",
    "bearer": "Bearer KEY",
    "not ASCII": "AWS4-HMAC-SHA256 Credential=\xe9/\xe9, SignedHeaders=\xe9, Signature=\xe9",
    "long": "AWS4-HMAC-SHA256 " + "Credential=KEY/" * 1000,
}


REFUSED = ("MissingAuthenticationTokenException", "InvalidSignatureException", "UnrecognizedClientException")


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("form", AUTHORIZATIONS)
def test_authorization_header_without_a_valid_signature_is_refused(account: Account, form: str) -> None:
    given = AUTHORIZATIONS[form]
    headers = {**LIST_JOBS, "X-Amz-Date": "20260101T000000Z"}
    if given is not None:
        headers["Authorization"] = given.replace("KEY", account.emulator.access_key_id)
    status, body = account.send("POST", "/", headers, b"{}")
    assert status in (400, 403)
    assert json.loads(body)["__type"] in REFUSED
    status, body = account.send(
        "GET", f"/{BUCKET}/a%20b/secret.txt", {k: v for k, v in headers.items() if k not in LIST_JOBS}
    )
    assert (status, SECRET in body) == (403, False)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "change", ["body", "path", "method", "query", "target", "host", "date", "service", "unsigned host"]
)
def test_signature_is_valid_for_its_own_request_only(account: Account, change: str) -> None:
    body = b'{"MaxResults": 1}'
    headers = account.signed("sagemaker", "POST", "/", LIST_JOBS, body)
    method, target = "POST", "/"
    if change == "body":
        body = b'{"MaxResults": 2}'
    elif change == "path":
        target = "/other"
    elif change == "method":
        method = "PUT"
    elif change == "query":
        target = "/?Action=other"
    elif change == "target":
        headers["X-Amz-Target"] = "SageMaker.DeleteTrainingJob"
    elif change == "host":
        headers["Host"] = "127.0.0.1:1"
    elif change == "date":
        headers["X-Amz-Date"] = "20300101T000000Z"
    elif change == "service":
        headers["Authorization"] = headers["Authorization"].replace("/sagemaker/", "/logs/")
    elif change == "unsigned host":
        headers["Authorization"] = headers["Authorization"].replace(";host", "")
    status, text = account.send(method, target, headers, body)
    assert status in (400, 403)
    assert "TrainingJobSummaries" not in text


def test_unchanged_request_is_served(account: Account) -> None:
    body = b'{"MaxResults": 1}'
    headers = account.signed("sagemaker", "POST", "/", LIST_JOBS, body)
    status, text = account.send("POST", "/", headers, body)
    assert (status, "TrainingJobSummaries" in text) == (200, True)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_presigned_url_gives_access_to_its_object_only(account: Account, version: str) -> None:
    s3 = account.client("s3", config=Config(signature_version=version))
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "a b/secret.txt"})
    target = url.removeprefix(account.emulator.url)
    copied = {"x-amz-copy-source": f"{BUCKET}/a b/secret.txt"}
    expired = re.sub(r"(X-Amz-Expires|Expires)=\d+", lambda found: f"{found[1]}=1", target)
    attempts: dict[str, tuple[str, str, dict[str, str]]] = {
        "another object": ("GET", target.replace("secret.txt", "other.txt"), {}),
        "the bucket": ("GET", target.replace("/a%20b/secret.txt", ""), {}),
        "a subresource": ("GET", target + "&acl", {}),
        "deletion": ("DELETE", target, {}),
        "an upload": ("PUT", target, {}),
        "a copy": ("PUT", target, copied),
        "a copy by a signed read": ("GET", target, copied),
        "a longer life": ("GET", expired, {}),
        "another key": ("GET", target.replace(account.emulator.access_key_id, OTHER_KEY), {}),
        "no signature": ("GET", re.sub(r"&(X-Amz-)?Signature=[^&]+", "", target), {}),
        "an empty signature": ("GET", re.sub(r"((?:X-Amz-)?Signature)=[^&]+", r"\1=", target), {}),
        "moto's control API": ("GET", f"/moto-api/data.json?{urlsplit(target).query}", {}),
        "the ledger": ("GET", f"/_smsweep/ledger?{urlsplit(target).query}", {}),
    }
    for name, (method, changed, headers) in attempts.items():
        status, body = account.send(method, changed, headers)
        assert status == 403, (name, body)
        assert SECRET not in body
        assert name == "the ledger" or ElementTree.fromstring(body).findtext("Code"), name


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_presigned_url_expires(account: Account, version: str) -> None:
    s3 = account.client("s3", config=Config(signature_version=version))
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "a b/secret.txt"}, ExpiresIn=1)
    target = url.removeprefix(account.emulator.url)
    wait_until(lambda: account.send("GET", target, {})[0] == 403)
    status, body = account.send("GET", target, {})
    assert (status, ElementTree.fromstring(body).findtext("Message")) == (403, "Request has expired")


@pytest.mark.usefixtures("unchanged")
def test_presigned_upload_cannot_be_turned_into_a_copy(account: Account) -> None:
    """The URL allows writing the key "mine". It must not allow reading another object."""
    s3 = account.client("s3", config=Config(signature_version="s3v4"))
    url = s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "mine"})
    copied = {"x-amz-copy-source": f"/{BUCKET}/a%20b/secret.txt"}
    assert account.send("PUT", url.removeprefix(account.emulator.url), copied, b"")[0] == 403
    assert account.keys("mine") == []


SPELLINGS = (  # keys whose presigned URL an attacker writes so that another parser reads "a b/secret.txt"
    *("a b/secret.txt#1", "a b/secret.txt?1", "a b/secret.txt;1", "a b/secret.txt&1", "a b/secret.txt 1"),
    *("x/../a b/secret.txt", "./a b/secret.txt", "a b//secret.txt", "a%20b/secret.txt", "a+b/secret.txt"),
    *("/a b/secret.txt", "a b/secret.txt/", "a b\\secret.txt", "A B/SECRET.TXT", "a b/secret.txt\t"),
)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("version", ["s3", "s3v4"])
@pytest.mark.parametrize("key", SPELLINGS)
def test_presigned_url_rejects_another_spelling_of_its_path(account: Account, version: str, key: str) -> None:
    s3 = account.client("s3", config=Config(signature_version=version))
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key})
    path, _, query = url.removeprefix(account.emulator.url).partition("?")
    decoded = unquote(path).replace(" ", "%20").replace("\t", "%09")
    for spelled in (path, decoded, decoded.replace("/../", "/%2e%2e/"), path.replace("/", "//", 1)):
        assert SECRET not in account.send("GET", f"{spelled}?{query}", {})[1]


@pytest.mark.usefixtures("unchanged")
def test_form_upload_is_refused(account: Account) -> None:
    """S3 forms have their signature in the body. On AWS, they need no Origin header."""
    form = account.s3.generate_presigned_post(BUCKET, "form")
    parts = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in {**form["fields"], "file": "data"}.items()
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert account.send("POST", f"/{BUCKET}", headers, f"{parts}--x--\r\n".encode())[0] == 403
    assert account.keys("form") == []


UNSIGNED_CALLS = {
    "a bucket": ("GET", f"/{BUCKET}", ""),
    "an object": ("GET", f"/{BUCKET}/a%20b/secret.txt", ""),
    "all buckets": ("GET", "/", ""),
    "a new bucket": ("PUT", "/new-bucket", ""),
    "deletion": ("DELETE", f"/{BUCKET}/a%20b/secret.txt", ""),
    "an identity": ("POST", "/", "Action=GetCallerIdentity&Version=2011-06-15"),
    "a web identity": (
        "POST",
        "/",
        urlencode(
            {
                "Action": "AssumeRoleWithWebIdentity",
                "RoleArn": ROLE,
                "RoleSessionName": "x",
                "WebIdentityToken": "x" * 20,
            }
        ),
    ),
    "a SAML identity": (
        "POST",
        "/",
        urlencode({"Action": "AssumeRoleWithSAML", "RoleArn": ROLE, "SAMLAssertion": "eA=="}),
    ),
    "keys of a machine": ("GET", "/latest/meta-data/iam/security-credentials/default-role", ""),
    "a token of a machine": ("PUT", "/latest/api/token", ""),
    "the key set of a user pool": ("GET", "/us-east-1_x/.well-known/jwks.json", ""),
    "a service in the path": ("GET", "/secretsmanager_us-east-1/", ""),
    "an icon": ("GET", "/favicon.ico", ""),
    "options": ("OPTIONS", "/", ""),
    "a service job": ("POST", "/v1/submitservicejob", ""),
}


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("wanted", UNSIGNED_CALLS)
def test_unsigned_request_is_refused(account: Account, wanted: str) -> None:
    method, target, form = UNSIGNED_CALLS[wanted]
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
    status, body = account.send(method, target, headers, form.encode() if form else None)
    assert (status, SECRET in body, "<SecretAccessKey>" in body) == (403, False, False)
    assert ElementTree.fromstring(body).find(".//Code") is not None


@pytest.mark.usefixtures("unchanged")
def test_public_object_is_private_in_the_emulator(account: Account) -> None:
    account.s3.put_object_acl(Bucket=BUCKET, Key="a b/secret.txt", ACL="public-read")
    assert account.send("GET", f"/{BUCKET}/a%20b/secret.txt", {})[0] == 403
    anonymous = account.client("s3", config=Config(signature_version=UNSIGNED))
    assert error_of(anonymous.get_object, Bucket=BUCKET, Key="a b/secret.txt")[0] == "AccessDenied"


CONTROL = (
    "data.json",
    "reset",
    "reset-auth",
    "seed?a=1",
    "config",
    "proxy/passthrough",
    "recorder/start-recording",
)
CONTROL_PATHS = (
    *(f"/moto-api/{name}" for name in CONTROL),
    *("/moto-api", "/moto-api/", "/%6doto-api/data.json", "//moto-api/data.json", "/moto-api%2fdata.json"),
    *("/x/../moto-api/data.json", "/moto-api;x/data.json", "/moto-api/./data.json", "/MOTO-API/data.json"),
)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("path", CONTROL_PATHS)
def test_control_api_of_moto_is_closed(account: Account, path: str) -> None:
    for method in ("GET", "POST"):
        for headers in (
            {},
            {"X-Smsweep-Token": account.emulator.token},
            account.signed("s3", method, path, {}),
        ):
            status, body = account.send(method, path, headers)
            assert status >= 403, (method, headers)  # some of these paths are objects, which do not exist
            assert SECRET not in body


TOKENS = ("", "x", "token", "0" * 22, "null", "\xe9", "x" * 10_000)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("route", ["ledger", "faults", "../_smsweep/ledger", "nothing", ""])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_admin_routes_need_the_token(account: Account, method: str, route: str) -> None:
    for token in TOKENS:
        status, body = account.send(method, f"/_smsweep/{route}", {"X-Smsweep-Token": token}, b'{"quota": 0}')
        assert (status, "ListTrainingJobs" in body) == (403, False)


@pytest.mark.usefixtures("unchanged")
def test_fixed_session_tokens_are_not_issued(account: Account) -> None:
    sts = account.client("sts")
    assert error_of(sts.get_session_token)[0] == "NotImplemented"
    assert error_of(sts.get_federation_token, Name="name")[0] == "NotImplemented"


# Data that the owner's jobs see, and that other users see of the owner.

RUNTIME = {"PWD", "SHLVL", "_", "PYTHONUNBUFFERED"}  # each job sets these; they can be the same here
SHOW = """
import json, os, urllib.request
import boto3
names = sorted(os.environ)
boto3.client("sagemaker").list_training_jobs()
print(json.dumps({"environ": dict(os.environ), "who": boto3.client("sts").get_caller_identity()["Account"]}))
"""


def test_jobs_inherit_a_short_list_and_no_secret(account: Account) -> None:
    assert account.run("shows", SHOW)["TrainingJobStatus"] == "Completed", account.lines("shows")
    found = json.loads(account.lines("shows")[-1])
    assert found["who"] == ACCOUNT
    seen = found["environ"]
    text = json.dumps(seen)
    assert [value for value in OWNER.values() if value in text] == []
    inherited = {name for name, value in os.environ.items() if seen.get(name) == value}
    assert {name for name in inherited if name.upper() not in NAMES and not name.startswith(PREFIXES)} <= RUNTIME
    assert seen["HOME"] == os.environ["HOME"]
    assert seen["AWS_ACCESS_KEY_ID"] != account.emulator.access_key_id
    assert seen["AWS_CONFIG_FILE"] == "/dev/null"


@pytest.mark.parametrize("name", OWNER)
def test_request_cannot_read_a_variable_of_the_user(account: Account, name: str) -> None:
    job = f"names-{name.lower().replace('_', '-')}"
    found = account.run(job, SHOW, Environment={"SMSWEEP_SECRET_STOLEN": f"env:{name}"})
    assert f"{name} is not set on this machine" in found["FailureReason"]
    assert OWNER[name] not in json.dumps([account.lines(job), found], default=str)


def test_data_folder_is_closed_to_other_users(account: Account, tmp_path: Path) -> None:
    folder = account.emulator.ledger.path.parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for created in (tmp_path / "new", tmp_path / "deep" / "new"):
        with emulator.run_emulator(folder=created, environ={"SMSWEEP_DIR": str(tmp_path / "s")}):
            assert stat.S_IMODE(created.stat().st_mode) == 0o700
    created.chmod(0o755)  # like earlier versions
    with emulator.run_emulator(folder=created, environ={"SMSWEEP_DIR": str(tmp_path / "s")}):
        assert stat.S_IMODE(created.stat().st_mode) == 0o700


def test_folder_that_other_users_can_read_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    (shared / "thesis.tex").touch()
    with (
        pytest.raises(UsageError, match="other users can read"),
        emulator.run_emulator(folder=shared, environ={"SMSWEEP_DIR": str(tmp_path / "s")}),
    ):
        pass
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755
    assert [path.name for path in shared.iterdir()] == ["thesis.tex"]


def test_keys_are_in_no_file_and_on_no_command_line(account: Account) -> None:
    secrets = [
        account.emulator.access_key_id,
        account.emulator.secret_access_key,
        account.emulator.token,
    ]
    account.run("leaves-nothing", "print('ran')")
    files = [path for path in account.emulator.ledger.path.parent.parent.rglob("*") if path.is_file()]
    assert len(files) > 10
    found = [path for path in files for secret in secrets if secret.encode() in path.read_bytes()]
    assert found == []
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(secret.encode() in line for line in lines for secret in secrets)


NOBODY = pwd.getpwnam("nobody").pw_uid
# Runs boto3 without a key. The second user cannot read this Python's files, so all modules load before.
OTHER_USER = """
import json, os, pathlib, sys, urllib.error, urllib.request
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
url, uid, pid, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
config = Config(retries={"total_max_attempts": 1})
keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1", "config": config}
names = ("s3", "sagemaker", "secretsmanager", "iam", "sts")
clients = {name: boto3.client(name, endpoint_url=url, **keys) for name in names}
request = json.load(sys.stdin)

def attempts():
    yield "list jobs", clients["sagemaker"].list_training_jobs, {}
    yield "create a job", clients["sagemaker"].create_training_job, request
    yield "stop a job", clients["sagemaker"].stop_training_job, {"TrainingJobName": "existing"}
    yield "describe a job", clients["sagemaker"].describe_training_job, {"TrainingJobName": "existing"}
    yield "read a secret", clients["secretsmanager"].get_secret_value, {"SecretId": "key"}
    yield "create a bucket", clients["s3"].create_bucket, {"Bucket": "other"}
    yield "upload", clients["s3"].put_object, {"Bucket": "bucket", "Key": "x", "Body": b"x"}
    yield "get an object", clients["s3"].get_object, {"Bucket": "bucket", "Key": "a b/secret.txt"}
    yield "assume a role", clients["sts"].assume_role, {"RoleArn": request["RoleArn"], "RoleSessionName": "name"}
    yield "create a key", clients["iam"].create_access_key, {"UserName": "x"}

def outcomes():
    found = {}
    for name, call, arguments in attempts():
        try:
            found[name] = repr(call(**arguments))
        except ClientError as err:
            found[name] = err.response["Error"]["Code"]
    for path in ("/moto-api/data.json", "/_smsweep/ledger", "/"):
        try:
            found[path] = urllib.request.urlopen(url + path).read().decode()
        except urllib.error.HTTPError as err:
            found[path] = err.code
    for path in (folder, f"/proc/{pid}/environ", f"/proc/{pid}/mem", f"/proc/{pid}/fd"):
        try:
            os.listdir(path) if os.path.isdir(path) else open(path, "rb").close()
            found[path] = "read"
        except PermissionError:
            found[path] = "denied"
    return found

outcomes()  # loads the rest
os.setgroups([])
os.setgid(uid)
os.setuid(uid)
print(json.dumps({"uid": os.getuid(), "found": outcomes()}))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.usefixtures("unchanged")
def test_another_user_of_the_machine_has_no_access(account: Account) -> None:
    folder = account.emulator.ledger.path.parent
    done = subprocess.run(
        [sys.executable, "-c", OTHER_USER, account.emulator.url, str(NOBODY), str(os.getpid()), str(folder)],
        input=json.dumps(account.request("foreign", "import os; print(os.getuid())")),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["uid"] == NOBODY
    assert result["found"] == {
        **dict.fromkeys(
            ("list jobs", "create a job", "stop a job", "describe a job"), "UnrecognizedClientException"
        ),
        "read a secret": "UnrecognizedClientException",
        **dict.fromkeys(("create a bucket", "upload", "get an object"), "InvalidAccessKeyId"),
        **dict.fromkeys(("assume a role", "create a key"), "InvalidClientTokenId"),
        **dict.fromkeys(("/moto-api/data.json", "/_smsweep/ledger", "/"), 403),
        **dict.fromkeys(
            (str(folder), *(f"/proc/{os.getpid()}/{name}" for name in ("environ", "mem", "fd"))), "denied"
        ),
    }


# Web pages.

HOSTS = (
    *(
        "evil.example",
        "evil.example:PORT",
        "127.0.0.1.evil.example:PORT",
        "localhost.evil.example",
        "evil.example.:PORT",
    ),
    *(
        "notlocalhost:PORT",
        "0.0.0.0:PORT",
        "[::]:PORT",
        "127.0.0.1:PORT, evil.example",
        "[::1",
        "",
        "127.0.0.1@evil.example",
    ),
    *(
        "s3.amazonaws.com",
        "bucket.s3.us-east-1.amazonaws.com",
        "169.254.169.254.evil.example",
        "motoapi.amazonaws.com",
    ),
)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("host", HOSTS)
def test_foreign_host_is_refused_with_a_valid_key(account: Account, host: str) -> None:
    host = host.replace("PORT", str(urlsplit(account.emulator.url).port))
    target = f"/{BUCKET}/a%20b/secret.txt"
    for headers in (
        {"Host": host},
        account.signed("s3", "GET", target, {"Host": host}),
        {"Host": host, "X-Smsweep-Token": account.emulator.token},
    ):
        for path in (target, "/_smsweep/ledger", "/moto-api/data.json"):
            status, body = account.send("GET", path, headers)
            assert (status, SECRET in body, "ListTrainingJobs" in body) == (403, False, False)


PAGE_HEADERS = (
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-User": "?1"},
    {"Sec-Fetch-Site": ""},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://localhost"},
    {"Origin": "file://"},
    {"Origin": ""},
    {"Origin": "http://evil.example", "Access-Control-Request-Method": "PUT"},
)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("headers", PAGE_HEADERS, ids=json.dumps)
def test_request_of_a_web_page_is_refused_with_a_valid_key(account: Account, headers: dict[str, str]) -> None:
    target = f"/{BUCKET}/a%20b/secret.txt"
    for method in ("GET", "OPTIONS", "POST"):
        given = {**account.signed("s3", method, target, {}), **headers}
        status, body = account.send(method, target, given)
        assert (status, SECRET in body) == (403, False)
        given = {"X-Smsweep-Token": account.emulator.token, **headers}
        assert account.send(method, "/_smsweep/ledger", given)[0] == 403


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with rebound_browser() as opened:
        yield opened


# What a page can send to another origin. Each returns what the page learned.
ATTACK = """async (url) => {
  const learned = {};
  const tag = (name, path, attribute = "src") => new Promise((done) => {
    const element = document.createElement(name);
    element.onload = () => done("loaded");
    element.onerror = () => done("error");
    element[attribute] = url + path;
    document.body.append(element);
  });
  const read = async (path, options) => {
    try {
      const answer = await fetch(url + path, options);
      return answer.type === "opaque" ? "opaque" : `${answer.status} ${await answer.text()}`;
    } catch (err) {
      return "error";
    }
  };
  learned.image = await tag("img", "/moto-api/data.json");
  learned.script = await tag("script", "/moto-api/recorder/start-recording");
  learned.get = await read("/moto-api/data.json");
  learned.seed = await read("/moto-api/seed?a=1", { mode: "no-cors" });
  learned.object = await read("/bucket/a%20b/secret.txt", { mode: "no-cors" });
  learned.ledger = await read("/_smsweep/ledger", { mode: "no-cors" });
  const post = (body, more) => read("/", { method: "POST", body, ...more });
  learned.form = await post(new URLSearchParams({ Action: "CreateUser", UserName: "page" }), { mode: "no-cors" });
  learned.text = await post("{}", { mode: "no-cors", headers: { "Content-Type": "text/plain" } });
  learned.headers = await post("{}", { headers: { "X-Amz-Target": "SageMaker.ListTrainingJobs" } });
  learned.signed = await post("{}", { headers: { Authorization: "AWS4-HMAC-SHA256 Credential=x" } });
  learned.put = await read("/page-bucket", { method: "PUT" });
  learned.credentials = await read("/", { credentials: "include" });
  navigator.sendBeacon(url + "/", new URLSearchParams({ Action: "CreateUser", UserName: "page" }));
  learned.events = await new Promise((done) => {
    const events = new EventSource(url + "/moto-api/data.json");
    events.onerror = () => done("error");
    events.onmessage = () => done("message");
  });
  learned.socket = await new Promise((done) => {
    const socket = new WebSocket(url.replace("http", "ws") + "/");
    socket.onerror = () => done("error");
    socket.onopen = () => done("open");
  });
  return learned;
}"""


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("host", ["127.0.0.1", "evil.example"])  # another port of this machine, or another site
def test_page_on_another_origin_has_no_access(account: Account, browser: Browser, host: str) -> None:
    found: dict[str, int] = {}

    def on_response(response: Any) -> None:
        if response.url.startswith(account.emulator.url):
            found[f"{response.request.method} {response.url.removeprefix(account.emulator.url)}"] = response.status

    page = browser.new_context().new_page()
    page.on("response", on_response)
    with site() as evil, site() as victim:
        page.goto(evil.url.replace("127.0.0.1", host) + "/attack")
        unprotected = page.evaluate(ATTACK, victim.url)
        learned = page.evaluate(ATTACK, account.emulator.url)
    page.context.close()
    assert "opaque" in unprotected.values()  # a server without protection carries out the request
    assert {"GET /moto-api/recorder/start-recording", "POST /", "GET /bucket/a%20b/secret.txt"} <= set(
        victim.paths
    )
    assert set(learned.values()) <= {"error", "opaque"}, learned
    assert found
    assert set(found.values()) == {403}


REBOUND = """async () => {
  const ask = async (path, options) => {
    try {
      const answer = await fetch(path, options);
      return `${answer.status} ${await answer.text()}`;
    } catch (err) {
      return "error";
    }
  };
  const target = (name) => ({ "X-Amz-Target": name, "Content-Type": "application/x-amz-json-1.1" });
  const scope = (service) => `Credential=test/20260101/us-east-1/${service}/aws4_request`;
  const rest = "SignedHeaders=host, Signature=0";
  const as = (service) => ({ Authorization: `AWS4-HMAC-SHA256 ${scope(service)}, ${rest}` });
  const create = { ...target("SageMaker.CreateTrainingJob"), ...as("sagemaker") };
  return {
    data: await ask("/moto-api/data.json"),
    seed: await ask("/moto-api/seed?a=1"),
    record: await ask("/moto-api/recorder/start-recording"),
    buckets: await ask("/", { headers: as("s3") }),
    object: await ask("/bucket/a%20b/secret.txt", { headers: as("s3") }),
    jobs: await ask("/", { headers: { ...target("SageMaker.ListTrainingJobs"), ...as("sagemaker") } }),
    secrets: await ask("/", { headers: { ...target("secretsmanager.ListSecrets"), ...as("secretsmanager") } }),
    create: await ask("/", { method: "POST", body: "{}", headers: create }),
    put: await ask("/page-bucket", { method: "PUT", headers: as("s3") }),
    ledger: await ask("/_smsweep/ledger", { headers: { "X-Smsweep-Token": "guessed" } }),
    faults: await ask("/_smsweep/faults", { method: "POST", body: "{\\"quota\\": 0}" }),
  };
}"""


@pytest.mark.usefixtures("unchanged")
def test_page_has_no_access_after_dns_rebinding(account: Account, browser: Browser) -> None:
    learned = {}
    with site() as victim:
        for url in (victim.url, account.emulator.url):
            page = rebound_page(browser, url)
            learned[url] = page.evaluate(REBOUND)
            page.context.close()
    assert set(learned[victim.url].values()) == {f"200 {READABLE}"}  # a server without protection returns all data
    assert "PUT /page-bucket" in victim.paths
    answers = learned[account.emulator.url]
    assert {answer.partition(" ")[0] for answer in answers.values()} == {"403"}, answers
    assert not any(SECRET in answer or "existing" in answer for answer in answers.values())


@pytest.mark.usefixtures("unchanged")
def test_presigned_url_in_a_page_gives_no_access(account: Account, browser: Browser) -> None:
    url = account.s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "a b/secret.txt"})
    page = browser.new_context().new_page()
    with site() as evil:
        page.goto(f"{evil.url}/attack")
        page.set_content(f'<iframe src="{url}"></iframe>')
        page.wait_for_load_state("networkidle")
        assert len(page.frames) == 2
        assert all(SECRET not in frame.content() for frame in page.frames)
    page.context.close()


def test_client_with_a_wrong_host_name_gets_the_right_url(account: Account) -> None:
    headers = {**LIST_JOBS, "Host": "build7.example:8471"}
    status, body = account.send("POST", "/", headers, b"{}")
    assert (status, json.loads(body)["message"]) == (
        403,
        "The emulator does not accept the host name 'build7.example'; "
        f"set AWS_ENDPOINT_URL to {account.emulator.url}",
    )
