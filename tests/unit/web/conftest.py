"""Fixtures that serve the web page on loopback, and an HTTP client."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from smsweep.web.server import Served, serving
from tests.support.working_dir import use_own_workspace


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # names in lower case
    text: str

    @property
    def data(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Client:
    served: Served
    usual: dict[str, str] = field(default_factory=dict)  # headers of every request

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send one request. headers: names with underscores for hyphens; empty values are left out."""
        where = urlsplit(self.served.url)
        connection = HTTPConnection(where.hostname or "", where.port, timeout=30)
        given = {**self.usual, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if body is not None:
            given = {"Content-Type": "application/json", **given}
        text = body if isinstance(body, (str, type(None))) else json.dumps(body)
        try:
            connection.request(method, path, text, {name: value for name, value in given.items() if value})
            got = connection.getresponse()
            return Answer(
                status=got.status,
                headers={name.lower(): value for name, value in got.getheaders()},
                text=got.read().decode(),
            )
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.ask("POST", path, {} if body is None else body, **headers)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return use_own_workspace(tmp_path, monkeypatch)


@pytest.fixture
def stranger(folder: Path) -> Iterator[Client]:
    """A client without a token."""
    with serving() as served:
        yield Client(served=served)


@pytest.fixture
def client(stranger: Client) -> Client:
    """A client that sends the token, as a script does."""
    return Client(served=stranger.served, usual={"Authorization": f"Bearer {stranger.served.token}"})
