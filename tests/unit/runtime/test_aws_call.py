"""Signed calls without boto3: the signature is the one that botocore makes."""

from __future__ import annotations

from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from smsweep.runtime.aws_call import aws_call, credentials, signature

DATE = "20260102T030405Z"
HEADERS = {
    "content-type": "application/x-amz-json-1.1",
    "host": "secretsmanager.eu-west-1.amazonaws.com",
    "x-amz-date": DATE,
    "x-amz-target": "secretsmanager.GetSecretValue",
}


@pytest.mark.parametrize("token", ["", "a-session-token"])
def test_a_signature_is_botocores_own(token: str) -> None:
    headers = {**HEADERS, "x-amz-security-token": token} if token else HEADERS
    body = b'{"SecretId": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:x"}'
    ours = signature(headers, body, "secretsmanager", "eu-west-1", ("AKIDEXAMPLE", "a/secret+key", token))

    theirs = SigV4Auth(Credentials("AKIDEXAMPLE", "a/secret+key"), "secretsmanager", "eu-west-1")
    request = AWSRequest("POST", f"https://{HEADERS['host']}/", headers=dict(headers), data=body)
    request.context["timestamp"] = DATE
    to_sign = theirs.string_to_sign(request, theirs.canonical_request(request))
    assert ours.endswith(f"Signature={theirs.signature(to_sign, request)}")


@pytest.mark.parametrize("scheme", ["file", "ftp", "data"])
def test_only_a_web_server_is_asked(scheme: str, tmp_path: Path) -> None:
    """urllib would return the file, and the job would take it for its secret or its keys."""
    (tmp_path / "answer").write_text('{"AccessKeyId": "a", "SecretAccessKey": "b", "SecretString": "planted"}')
    url = f"{scheme}://localhost{tmp_path / 'answer'}" if scheme != "data" else "data:application/json,{}"
    with pytest.raises(ValueError, match=f"{scheme}: is not a scheme that AWS answers"):
        credentials({"AWS_CONTAINER_CREDENTIALS_FULL_URI": url})
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": url}
    with pytest.raises(ValueError, match=f"{scheme}: is not a scheme that AWS answers"):
        aws_call("secretsmanager", "eu-west-1", "aws", "secretsmanager.GetSecretValue", {}, keys)
