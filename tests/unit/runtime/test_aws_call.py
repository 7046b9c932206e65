"""Signed calls without boto3: the signature is the one that botocore makes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.error import HTTPError

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from smsweep.runtime.aws_call import aws_call, signature

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


class Service(BaseHTTPRequestHandler):
    """Answers with what a test has in store, the last of it for ever."""

    answers: ClassVar[list[tuple[int, str]]] = []
    n_requests = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        status, code = self.answers[min(type(self).n_requests, len(self.answers) - 1)]
        type(self).n_requests += 1
        body = json.dumps({"__type": code, "SecretString": "s"}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Service, "n_requests", 0)
    monkeypatch.setattr("smsweep.runtime.aws_call.time.sleep", lambda seconds: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def ask(url: str) -> str:
    environ = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    answer = aws_call("secretsmanager", "eu-west-1", "aws", "secretsmanager.GetSecretValue", {}, environ)
    return str(answer["SecretString"])


@pytest.mark.parametrize(
    "answers",
    [
        [(400, "ThrottlingException")] * 4,  # SSM, when a hundred trials start at once
        [(400, "com.amazonaws.ssm#ThrottlingException")] * 2,
        [(400, "RequestTimeoutException"), (503, "")],
        [(429, "")] * 2,
    ],
    ids=str,
)
def test_a_call_that_was_throttled_is_made_again(
    monkeypatch: pytest.MonkeyPatch, service: str, answers: list[tuple[int, str]]
) -> None:
    monkeypatch.setattr(Service, "answers", [*answers, (200, "")])
    assert ask(service) == "s"
    assert Service.n_requests == len(answers) + 1


def test_a_refusal_is_not_asked_for_again_and_says_why(monkeypatch: pytest.MonkeyPatch, service: str) -> None:
    monkeypatch.setattr(Service, "answers", [(400, "AccessDeniedException")])
    with pytest.raises(HTTPError) as refused:
        ask(service)
    assert Service.n_requests == 1
    assert b"AccessDeniedException" in refused.value.read(2000)
