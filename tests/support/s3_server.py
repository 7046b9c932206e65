"""The tests' own S3 server, whose requests can fail."""

from __future__ import annotations

import io
import json
import random
import re
import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import boto3
from botocore.config import Config
from moto.core.authorization import disable_iam_authentication, enable_iam_authentication
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from smsweep.emulator.jobs.moto_services import moto_lifetime
from smsweep.emulator.server import listening, serving

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from mypy_boto3_s3 import S3Client

ACCOUNT = "123456789012"
REGION = "us-east-1"
Act = Callable[["WSGIEnvironment", "StartResponse"], Iterable[bytes]]


@dataclass
class Fault:
    """A fault of the next requests that match. Patterns use shell syntax."""

    method: str
    path: str  # /BUCKET/KEY
    act: Act
    times: int = 1
    hits: int = field(default=0, init=False)


class FaultyS3:
    """WSGI application: moto's S3 with the faults of a test."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[str, str]] = []  # (method, path) in the order of arrival
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._late: list[threading.Thread] = []
        self._session = boto3.Session()  # shares the models of boto3 between clients
        self._clients: dict[tuple[Any, ...], Any] = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], unquote(environ.get("RAW_URI", "").partition("?")[0])
        with self._lock:
            self.requests.append((method, path))
            fault = self._next_fault(method, path)
        return (fault.act if fault else self._moto)(environ, start_response)

    def refuse(self, method: str, path: str, status: int, code: str, *, times: int = 1) -> Fault:
        """Respond with an error of S3, without effect."""
        return self._add(Fault(method, path, _refusing(status, code), times))

    def keep_keys(self, path: str, code: str, *, times: int = 1) -> Fault:
        """Respond to DeleteObjects with an error for each key, without effect."""

        def act(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            keys = re.findall("<Key>(.*?)</Key>", _body_of(environ).decode())
            errors = (
                f"<Error><Key>{key}</Key><Code>{code}</Code><Message>of a test</Message></Error>" for key in keys
            )
            start_response("200 OK", [("Content-Type", "application/xml")])
            return [f"<DeleteResult>{''.join(errors)}</DeleteResult>".encode()]

        return self._add(Fault("POST", path, act, times))

    def lose_answer(self, method: str, path: str, *, times: int = 1) -> Fault:
        """Carry out the request, and close the connection without a response."""
        return self._add(Fault(method, path, self._losing_answer, times))

    def lose_request(self, method: str, path: str, *, times: int = 1, late_s: float | None = None) -> Fault:
        """Close the connection. late_s: seconds after which the request is carried out; None for never."""
        return self._add(Fault(method, path, self._losing_request(late_s), times))

    def shake(self, method: str, path: str, *, seed: int, rate: float) -> Fault:
        """Make a share of the requests fail, each in one of the ways above. rate: from 0 to 1."""
        rng = random.Random(seed)
        ways = [
            _refusing(409, "ConditionalRequestConflict"),
            _refusing(503, "SlowDown"),
            self._losing_answer,
            self._losing_request(None),
            self._losing_request(0.3),
        ]

        def act(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            with self._lock:
                chosen = rng.choice(ways) if rng.random() < rate else self._moto
            return chosen(environ, start_response)

        return self._add(Fault(method, path, act, 1_000_000))

    def cut_answer(self, method: str, path: str, *, times: int = 1) -> Fault:
        """Respond with half of the body, and close the connection."""

        def act(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            body = b"".join(self._moto(environ, start_response))
            yield body[: len(body) // 2]
            yield from _hang_up(environ)

        return self._add(Fault(method, path, act, times))

    def settle(self) -> None:
        """Wait until all delayed requests are carried out."""
        while self._late:
            self._late.pop().join()

    def close(self) -> None:
        self.settle()
        for client in self._clients.values():
            client.close()

    def count(self, method: str, path: str) -> int:
        """Return the number of requests, including failed ones."""
        return sum(fnmatchcase(seen, path) for verb, seen in self.requests if verb == method)

    def environ(self, **more: str) -> dict[str, str]:
        """Return environment variables that make a client use this server as an administrator."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
            **more,
        }

    def client(self, service: str = "s3", **more: Any) -> Any:
        """Return a client that never retries. more: options of boto3.client."""
        key = (service, *more.items())
        if key not in self._clients:
            options = {
                "endpoint_url": self.url,
                "region_name": REGION,
                "aws_access_key_id": "test",
                "aws_secret_access_key": "test",
                "config": Config(retries={"total_max_attempts": 1}),
            }
            self._clients[key] = self._session.client(service, **{**options, **more})
        return self._clients[key]

    def new_bucket(self) -> str:
        name = f"test-{secrets.token_hex(6)}"
        client: S3Client = self.client()
        client.create_bucket(Bucket=name)
        return name

    def new_role(self, policy: Mapping[str, Any]) -> dict[str, str]:
        """Create a role with this policy, and return environment variables with its session keys."""
        name = f"role-{secrets.token_hex(6)}"
        trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
        iam = self.client("iam")
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=json.dumps(policy))
        keys = self.client("sts").assume_role(RoleArn=arn, RoleSessionName="SageMaker")["Credentials"]
        return self.environ(
            AWS_ACCESS_KEY_ID=keys["AccessKeyId"],
            AWS_SECRET_ACCESS_KEY=keys["SecretAccessKey"],
            AWS_SESSION_TOKEN=keys["SessionToken"],
        )

    @staticmethod
    @contextmanager
    def policies_enforced() -> Iterator[None]:
        """Check the signature of each request, and the policies of its caller."""
        with enable_iam_authentication():
            yield

    def _losing_answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        for _ in self._moto(environ, lambda *_: lambda data: None):
            pass
        return _hang_up(environ)

    def _losing_request(self, late_s: float | None) -> Act:
        def act(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            again = {**environ, "wsgi.input": io.BytesIO(_body_of(environ)), "wsgi.input_terminated": True}
            if late_s is not None:
                later = threading.Timer(late_s, lambda: list(self._moto(again, lambda *_: lambda data: None)))
                later.start()
                self._late.append(later)
            return _hang_up(environ)

        return act

    def _add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def _next_fault(self, method: str, path: str) -> Fault | None:
        for fault in self._faults:
            if fault.hits < fault.times and fault.method == method and fnmatchcase(path, fault.path):
                fault.hits += 1
                return fault
        return None


@contextmanager
def serve_s3() -> Iterator[FaultyS3]:
    """Serve on loopback. Other moto servers of this process have the same buckets."""
    app = FaultyS3()
    with moto_lifetime(), disable_iam_authentication(), listening("127.0.0.1", 0) as server:
        server.app = app
        app.url = f"http://127.0.0.1:{server.port}"
        with serving(server):
            yield app
            app.close()


def _refusing(status: int, code: str) -> Act:
    def act(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        _body_of(environ)
        body = f"<Error><Code>{code}</Code><Message>fault of a test</Message></Error>".encode()
        start_response(f"{status} {code}", [("Content-Type", "application/xml")])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    return act


def _body_of(environ: WSGIEnvironment) -> bytes:
    length = environ.get("CONTENT_LENGTH")
    read: bytes = environ["wsgi.input"].read(int(length)) if length else b""
    return read


def _hang_up(environ: WSGIEnvironment) -> Iterable[bytes]:
    connection: socket.socket = environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError("fault of a test: the response is lost")
