"""AWS client on a machine with incomplete settings: each error names the missing setting and the fix."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from botocore.exceptions import UnauthorizedSSOTokenError

from smsweep.aws.client import Aws
from smsweep.aws.errors import translate
from smsweep.errors import BackendUnavailable, BadCredentials, UsageError


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)


def test_region_is_none_when_not_configured() -> None:
    assert Aws({}).region == ""


def test_missing_profile_is_named() -> None:
    with pytest.raises(BadCredentials, match=r"profile \(nope\) could not be found; refresh them"):
        _ = Aws({"AWS_PROFILE": "nope"}).region


def test_missing_credentials_are_reported_with_fix() -> None:
    with pytest.raises(BadCredentials, match="Unable to locate credentials; refresh them"):
        Aws({"AWS_REGION": "eu-west-1"}).translated("sagemaker", "list_training_jobs")


def test_invalid_endpoint_url_is_reported() -> None:
    environ = {"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "localhost:8471"}
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL: Invalid endpoint: localhost:8471; expected a URL"):
        Aws(environ).translated("sagemaker", "list_training_jobs")


def test_expired_single_sign_on_is_credentials_error() -> None:
    assert isinstance(translate(UnauthorizedSSOTokenError(), "sagemaker:CreateTrainingJob"), BadCredentials)


@pytest.mark.parametrize(
    ("minutes", "expected"), [(-30, "is 30 minutes ahead of AWS's"), (90, "is 90 minutes behind AWS's")]
)
def test_wrong_clock_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, minutes: int, expected: str
) -> None:
    date = format_datetime(datetime.now(timezone.utc) + timedelta(minutes=minutes))
    answer = {"TrainingJobSummaries": [], "ResponseMetadata": {"HTTPHeaders": {"date": date}}}
    client = SimpleNamespace(list_training_jobs=lambda: answer)
    monkeypatch.setattr(Aws, "_client", lambda self, service: client)
    aws = Aws({})
    for _ in range(2):
        aws.call("sagemaker", "list_training_jobs")
    (message,) = caplog.messages
    assert expected in message


@contextmanager
def answering(status: int, kind: str, body: bytes, **headers: str) -> Iterator[Aws]:
    """Replace AWS, and answer every call."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            self.send_response_only(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        aws = Aws({"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": url, **keys})
        try:
            yield aws
        finally:
            aws.close()
            server.shutdown()
            thread.join()


PAGE = b"<html>Log in to go on</html>"


@pytest.mark.parametrize(
    ("service", "operation", "arguments", "status"),
    [
        ("sagemaker", "list_training_jobs", {}, 200),
        ("sagemaker", "list_training_jobs", {}, 403),
        ("sagemaker", "stop_training_job", {"TrainingJobName": "a"}, 200),
        ("sagemaker", "stop_training_job", {"TrainingJobName": "a"}, 400),
        ("logs", "filter_log_events", {"logGroupName": "a"}, 200),
        ("logs", "filter_log_events", {"logGroupName": "a"}, 407),
        ("s3", "list_objects_v2", {"Bucket": "abc"}, 403),
    ],
)
def test_html_page_of_proxy_is_not_job_status(
    service: str, operation: str, arguments: dict[str, str], status: int
) -> None:
    with answering(status, "text/html", PAGE) as aws, pytest.raises(BackendUnavailable, match="not from AWS"):
        aws.translated(service, operation, **arguments)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"TrainingJobSummar'])
def test_truncated_response_is_ignored(body: bytes) -> None:
    with answering(200, "application/x-amz-json-1.1", body) as aws, pytest.raises(BackendUnavailable):
        aws.translated("sagemaker", "list_training_jobs")


@pytest.mark.parametrize("date", ["Thu, 26 Nov ", "soon", "Thu, 26 Nov 2026 09:00:00 -0000"])
def test_invalid_date_header_is_ignored(date: str) -> None:
    body = b'{"TrainingJobSummaries": []}'
    with answering(200, "application/x-amz-json-1.1", body, Date=date) as aws:
        assert aws.call("sagemaker", "list_training_jobs")["TrainingJobSummaries"] == []
    assert aws.skew == timedelta(0)
