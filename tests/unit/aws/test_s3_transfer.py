"""Uploads when the response of S3 has no reason."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from smsweep.aws.client import Aws
from smsweep.aws.s3_transfer import check_bucket, upload_once
from smsweep.errors import BadCredentials

EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"


class _Expired(BaseHTTPRequestHandler):
    """Responds to a HEAD request like S3 with expired credentials: without an error code."""

    def do_HEAD(self) -> None:
        self._refuse(b"")

    def do_GET(self) -> None:
        self._refuse(EXPIRED)

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._refuse(EXPIRED)

    def log_message(self, *args: object) -> None:
        pass

    def _refuse(self, body: bytes) -> None:
        self.send_response(400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def expired() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Expired) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def aws(expired: str) -> Iterator[Aws]:
    environ = {
        "AWS_ENDPOINT_URL": expired,
        "AWS_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "user",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    opened = Aws(environ)
    yield opened
    opened.close()


def test_expired_credentials_are_reported_although_head_response_has_no_code(aws: Aws, tmp_path: Path) -> None:
    (tmp_path / "runtime.zip").write_bytes(b"zip")
    with pytest.raises(BadCredentials, match="The provided token has expired; refresh them"):
        upload_once(aws, tmp_path, "bucket", "prefix")


def test_bucket_without_readable_status_is_checked_by_upload(aws: Aws) -> None:
    check_bucket(aws, "bucket", "prefix")
