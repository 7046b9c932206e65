"""Tests of signed calls without boto3. The signature is compared with botocore's."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from smsweep.core.failure_kind import INTERNAL, classify
from smsweep.runtime.job import aws_call
from smsweep.runtime.job.aws_call import credentials, signature
from smsweep.runtime.job.failure import JobFailure
from smsweep.runtime.job.secrets import with_secrets

DATE = "20260102T030405Z"
HEADERS = {
    "content-type": "application/x-amz-json-1.1",
    "host": "secretsmanager.eu-west-1.amazonaws.com",
    "x-amz-date": DATE,
    "x-amz-target": "secretsmanager.GetSecretValue",
}


@pytest.mark.parametrize("token", ["", "a-session-token"])
def test_signature_equals_botocore_signature(token: str) -> None:
    headers = {**HEADERS, "x-amz-security-token": token} if token else HEADERS
    body = b'{"SecretId": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:x"}'
    ours = signature(headers, body, "secretsmanager", "eu-west-1", ("AKIDEXAMPLE", "a/secret+key", token))

    theirs = SigV4Auth(Credentials("AKIDEXAMPLE", "a/secret+key"), "secretsmanager", "eu-west-1")
    request = AWSRequest("POST", f"https://{HEADERS['host']}/", headers=dict(headers), data=body)
    request.context["timestamp"] = DATE
    to_sign = theirs.string_to_sign(request, theirs.canonical_request(request))
    assert ours.endswith(f"Signature={theirs.signature(to_sign, request)}")


ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:token-AbCdEf"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
DROPPED = (0, "")  # the connection is closed without an answer
THROTTLED = (400, '{"__type": "ThrottlingException", "message": "Rate exceeded"}')


class Service:
    """An AWS JSON API on loopback that returns prepared answers first."""

    def __init__(self, answers: list[tuple[int, str]]) -> None:
        self.answers = answers
        self.n_requests = 0
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                service.n_requests += 1
                self.rfile.read(int(self.headers["content-length"]))
                status, text = service.answers.pop(0) if service.answers else (200, '{"SecretString": "s3cret"}')
                if not status:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *args: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.environ = {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server.server_port}"}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr(aws_call, "PAUSES_S", (0.01, 0.01, 0.01))
    service = Service([])
    thread = threading.Thread(target=service.server.serve_forever)
    thread.start()
    yield service
    service.server.shutdown()
    thread.join()
    service.server.server_close()


@pytest.mark.parametrize(
    "trouble",
    [
        DROPPED,
        THROTTLED,
        (400, '{"__type": "com.amazonaws.ssm#TooManyRequestsException"}'),
        (429, "slow down"),
        (500, '{"__type": "InternalServiceError"}'),
        (503, "<html>unavailable</html>"),
    ],
)
def test_secret_is_fetched_after_temporary_errors(service: Service, trouble: tuple[int, str]) -> None:
    service.answers = [trouble] * 3
    found = with_secrets({**service.environ, "SMSWEEP_SECRET_TOKEN": ARN}, "/nowhere")
    assert (found["TOKEN"], service.n_requests) == ("s3cret", 4)


def test_refusal_is_not_retried(service: Service) -> None:
    service.answers = [(400, '{"__type": "AccessDeniedException", "Message": "not authorized"}')]
    with pytest.raises(JobFailure, match=r"cannot be read: HTTP 400.*AccessDenied") as caught:
        with_secrets({**service.environ, "SMSWEEP_SECRET_TOKEN": ARN}, "/nowhere")
    assert service.n_requests == 1
    assert classify(str(caught.value), 1) != INTERNAL


@pytest.mark.parametrize("trouble", [DROPPED, THROTTLED, (500, "")])
def test_trial_whose_secret_is_unavailable_is_retried_as_an_internal_failure(
    service: Service, trouble: tuple[int, str]
) -> None:
    service.answers = [trouble] * 9
    with pytest.raises(JobFailure, match="cannot be read now: no answer in 4 tries") as caught:
        with_secrets({**service.environ, "SMSWEEP_SECRET_TOKEN": ARN}, "/nowhere")
    assert classify(str(caught.value), 1) == INTERNAL
    assert classify(f"AlgorithmError: {caught.value}", 1) == INTERNAL


@pytest.mark.parametrize("scheme", ["file", "ftp", "data"])
def test_only_http_urls_are_requested(scheme: str, tmp_path: Path) -> None:
    """With a file URL, urllib would return a local file as the secret or the keys."""
    (tmp_path / "answer").write_text('{"AccessKeyId": "a", "SecretAccessKey": "b", "SecretString": "planted"}')
    url = f"{scheme}://localhost{tmp_path / 'answer'}" if scheme != "data" else "data:application/json,{}"
    with pytest.raises(ValueError, match=f"{scheme}: is not a scheme that AWS supports"):
        credentials({"AWS_CONTAINER_CREDENTIALS_FULL_URI": url})
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": url}
    with pytest.raises(ValueError, match=f"{scheme}: is not a scheme that AWS supports"):
        aws_call.aws_call("secretsmanager", "eu-west-1", "aws", "secretsmanager.GetSecretValue", {}, keys)
