"""The choice of the Docker Engine: the contexts of the Docker CLI, and an engine on TCP."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from docker.errors import ContextException

from smsweep.backends.docker.engine import Engine, check_settings, context_address
from smsweep.core.job import JobTemplate
from smsweep.errors import BackendUnavailable, UsageError


def write_context(folder: Path, name: str, meta: object, certificates: tuple[str, ...] = ()) -> None:
    """Write the files of `docker context create`, which does not write config.json."""
    key = hashlib.sha256(name.encode()).hexdigest()
    for part in ("meta", "tls"):
        (folder / "contexts" / part / key / "docker").mkdir(parents=True)
    (folder / "contexts" / "meta" / key / "meta.json").write_text(json.dumps(meta))
    for certificate in certificates:
        (folder / "contexts" / "tls" / key / "docker" / certificate).touch()


def docker(**endpoint: object) -> dict[str, object]:
    return {"Name": "any", "Metadata": {}, "Endpoints": {"docker": endpoint}}


def test_context_is_found_without_config_json(tmp_path: Path) -> None:
    write_context(tmp_path, "far", docker(Host="unix:///far.sock"))
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    assert context_address(environ) == {}
    assert context_address({**environ, "DOCKER_CONTEXT": "far"})["base_url"] == "unix:///far.sock"
    (tmp_path / "config.json").write_text('{"currentContext": "far"}')
    assert context_address(environ)["base_url"] == "unix:///far.sock"
    assert context_address({**environ, "DOCKER_CONTEXT": "default"}) == {}


@pytest.mark.parametrize("skips", [False, True])
def test_certificates_of_the_context_are_used(tmp_path: Path, *, skips: bool) -> None:
    files = ("ca.pem", "cert.pem", "key.pem")
    write_context(tmp_path, "far", docker(Host="tcp://far:2376", SkipTLSVerify=skips), files)
    tls = context_address({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "far"})["tls"]
    assert [Path(path).name for path in (tls.ca_cert, *tls.cert)] == list(files)
    assert tls.verify is not skips


def test_missing_context_is_rejected_before_the_sweep_exists(tmp_path: Path) -> None:
    environ = {"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "far"}
    with pytest.raises(
        UsageError, match="Docker context far does not exist; choose one with `docker context use`"
    ):
        check_settings(JobTemplate(), environ)
    check_settings(JobTemplate(), {**environ, "DOCKER_HOST": "unix:///var/run/docker.sock"})
    write_context(tmp_path, "far", {"Endpoints": []})
    with pytest.raises(ContextException, match="cannot be read"):
        context_address(environ)


def test_proxy_is_not_used_for_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    class Greeting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"ApiVersion": "1.44"}')

        def log_message(self, *_: object) -> None:
            pass

    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with served(Greeting) as address, Engine({"DOCKER_HOST": address}).client() as client:
        assert client.version()["ApiVersion"] == "1.44"


def test_address_of_another_service_gets_an_error_with_a_fix() -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with (
        served(Other) as address,
        pytest.raises(BackendUnavailable, match="answers with HTTP status 404; correct DOCKER"),
    ):
        Engine({"DOCKER_HOST": address}).facts  # noqa: B018 - a property that connects


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Yield the address of a server on loopback."""
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.server_port}"
        server.shutdown()
