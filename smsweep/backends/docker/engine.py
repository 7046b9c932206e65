"""The way to the Docker Engine, and what it says of itself."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import requests
from docker import APIClient
from docker.context import ContextAPI
from docker.errors import APIError, DockerException, ImageNotFound
from docker.utils import kwargs_from_env

from smsweep.errors import BackendUnavailable

TIMEOUT_S = 120  # of one answer; removing a large container may take its time


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineFacts:
    memory_bytes: int  # of the machine or virtual machine it runs on
    architecture: str  # as images name it: amd64, arm64
    maps_root_to_caller: bool  # rootless: what a container's root writes is the caller's
    remaps_users: bool  # userns-remap: a container's root is nobody here unless it asks for the host's users


class Engine:
    """Makes clients; one for each thread, because a client's connections are not to be shared."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    @contextmanager
    def client(self) -> Iterator[APIClient]:
        """Open a client and close it afterwards; trouble with the engine itself becomes BackendUnavailable."""
        with self.translated():
            client = APIClient(version=self._version, timeout=TIMEOUT_S, **self._address)
        try:
            with self.translated():
                yield client
        finally:
            client.close()

    @contextmanager
    def translated(self) -> Iterator[None]:
        try:
            yield
        except (DockerException, requests.RequestException) as err:
            raise BackendUnavailable(f"the Docker Engine: {explain(err, self._socket)}") from err

    @cached_property
    def facts(self) -> EngineFacts:
        with self.client() as client:
            info = client.info()
        security = " ".join(info.get("SecurityOptions") or ())
        machine = info["Architecture"]
        return EngineFacts(
            memory_bytes=info["MemTotal"],
            architecture={"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine),
            maps_root_to_caller="name=rootless" in security,
            remaps_users="name=userns" in security,
        )

    @cached_property
    def _address(self) -> dict[str, Any]:
        address: dict[str, Any] = dict(kwargs_from_env(environment=dict(self._environ)))
        if "base_url" not in address:
            # Docker Desktop, colima and rootless engines are found through the CLI's current context.
            context = ContextAPI.get_current_context()
            if context.Host:
                address["base_url"] = context.Host
        return address

    @cached_property
    def _version(self) -> str:
        """Ask once what API the engine speaks: each further client is spared the question."""
        client = APIClient(version="auto", timeout=TIMEOUT_S, **self._address)
        try:
            return client.api_version
        finally:
            client.close()

    @property
    def _socket(self) -> Path:
        url = str(self._address.get("base_url") or "unix:///var/run/docker.sock")
        return Path(url.partition("://")[2].replace("//", "/")) if "unix" in url else Path()


def explain(err: Exception, socket: Path) -> str:
    """Return one line that says what is wrong with the engine and how to cure it."""
    if isinstance(err, APIError):
        return said(err)
    start = "`sudo systemctl start docker`, or Docker Desktop"
    if socket != Path() and not socket.exists():
        return f"no socket at {socket}; start Docker ({start}), or set DOCKER_HOST"
    if socket != Path() and stat.S_ISSOCK(socket.stat().st_mode) and not os.access(socket, os.W_OK):
        return (
            f"no permission for {socket}; add yourself to its group (`sudo usermod -aG docker $USER`, log in anew)"
        )
    return f"does not answer; start it, or set DOCKER_HOST to where it is ({type(err).__name__}: {err})"


def said(err: APIError) -> str:
    """Return the engine's own words."""
    return str(err.explanation or err)


def is_missing(err: APIError) -> bool:
    return isinstance(err, ImageNotFound) or err.status_code == requests.codes.not_found
