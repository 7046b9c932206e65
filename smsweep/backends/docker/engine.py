"""The way to the Docker Engine, and what it says of itself."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import requests
from docker import APIClient
from docker.constants import DEFAULT_DOCKER_API_VERSION
from docker.errors import APIError, ContextException, DockerException, ImageNotFound, TLSParameterError
from docker.tls import TLSConfig
from docker.utils import kwargs_from_env, parse_bytes, parse_host

from smsweep.core.job import JobTemplate
from smsweep.errors import BackendUnavailable, UsageError
from smsweep.secrets.references import check_local_secrets

DEFAULT_URL = "unix:///var/run/docker.sock"
START = "`sudo systemctl start docker`, or Docker Desktop"
GREETING_S = 15  # of the first answer: an engine that hangs is told soon
TIMEOUT_S = 120  # of one answer; removing a large container may take its time
BUILT_IN = "default"  # the engine of this machine, at its usual place
CURE = "choose one with `docker context use`, or set DOCKER_HOST"
CERTIFICATES = ("ca.pem", "cert.pem", "key.pem")
DEFAULT_IMAGE = "smsweep-job"


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
        try:
            if trouble := self._socket_trouble():
                raise BackendUnavailable(f"the Docker Engine: {trouble}")
            client = self._open(self._version, TIMEOUT_S)
            try:
                yield client
            finally:
                client.close()
        except APIError as err:
            raise BackendUnavailable(f"the Docker Engine: {said(err)}") from err
        except (DockerException, requests.RequestException) as err:
            raise BackendUnavailable(f"the Docker Engine: {self._no_answer(err)}") from err

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
        if "base_url" in address:
            return address
        return address | context_address(self._environ)  # Docker Desktop, colima, rootless engines

    @cached_property
    def _version(self) -> str:
        """Ask once what API the engine speaks: each further client is spared the question."""
        client = self._open(DEFAULT_DOCKER_API_VERSION, GREETING_S)
        try:
            return str(client.version(api_version=False)["ApiVersion"])
        finally:
            client.close()

    def _open(self, version: str, timeout_s: int) -> APIClient:
        client = APIClient(version=version, timeout=timeout_s, **self._address)
        # No proxy stands before an engine of this machine, and REQUESTS_CA_BUNDLE would go before its own CA.
        client.trust_env = False
        return client

    def _no_answer(self, err: Exception) -> str:
        """Say why nothing came back, and what to do."""
        if isinstance(err, TLSParameterError):
            return "no certificates for DOCKER_TLS_VERIFY; set DOCKER_CERT_PATH to their folder, or unset both"
        if isinstance(err, ContextException):
            return str(err)
        trouble = self._socket_trouble()
        return trouble or f"no answer ({type(err).__name__}: {err}); start it, or set DOCKER_HOST"

    def _socket_trouble(self) -> str:
        """Return what is wrong with the engine's socket and how to cure it; "" when nothing is, or it has none."""
        url = str(self._address.get("base_url") or DEFAULT_URL)
        if "unix" not in url:
            return ""
        socket = Path(url.partition("://")[2].replace("//", "/"))
        if not socket.exists():
            return f"no socket at {socket}; start Docker ({START}), install it, or set DOCKER_HOST"
        if not os.access(socket, os.W_OK):
            return f"no permission for {socket}; `sudo usermod -aG docker $USER`, then log in anew"
        return ""


def said(err: APIError) -> str:
    """Return the engine's own words."""
    return str(err.explanation or err)


def engine_time(text: str) -> datetime | None:
    """Read a time as the engine writes it, with nanoseconds; None for none, which it writes as the year 1."""
    if not text or text.startswith("0001-"):
        return None
    whole, _, rest = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{rest[:6]:0<6}+00:00")


def is_missing(err: APIError) -> bool:
    return isinstance(err, ImageNotFound) or err.status_code == requests.codes.not_found


def check_settings(template: JobTemplate, environ: Mapping[str, str]) -> None:
    """Check the settings of the engine and the secrets of the job. An engine that is down is not an error.

    Raises:
        UsageError: If a setting is invalid.
        JobRejected: If a secret is missing.
    """
    url = environ.get("DOCKER_HOST")
    try:
        parse_host(url)
    except DockerException as err:
        raise UsageError(f"DOCKER_HOST: {err}; expected a URL such as {DEFAULT_URL}") from err
    try:
        if not url:
            context_address(environ)
    except ContextException as err:
        raise UsageError(f"the Docker Engine: {err}") from err
    DockerOptions.from_environ(environ)
    check_local_secrets(template, environ)


def context_address(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the chosen context's `base_url` and, where it has certificates, `tls`; {} for the built-in one.

    Raises ContextException, which says what is wrong and what to do.
    """
    folder = Path(environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker"))  # noqa: PTH111 - see home_expanded
    name = environ.get("DOCKER_CONTEXT") or _current(folder / "config.json")
    if name == BUILT_IN:
        return {}
    key = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "contexts" / "meta" / key / "meta.json"
    if not meta.exists():
        raise ContextException(f"there is no context {name}; {CURE}")
    try:
        endpoint = json.loads(meta.read_text(encoding="utf-8"))["Endpoints"]["docker"]
        host, is_verified = endpoint.get("Host"), not endpoint.get("SkipTLSVerify")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as err:
        raise ContextException(f"context {name}: {meta} cannot be read: {err!r}; {CURE}") from err
    address = {"base_url": host} if host else {}
    return address | _tls(folder / "contexts" / "tls" / key / "docker", is_verified=is_verified)


def _current(config: Path) -> str:
    try:
        return str(json.loads(config.read_text(encoding="utf-8")).get("currentContext") or BUILT_IN)
    except (OSError, ValueError, AttributeError):
        return BUILT_IN


def _tls(folder: Path, *, is_verified: bool) -> dict[str, TLSConfig]:
    if not folder.is_dir():
        return {}
    ca, cert, key = (str(path) if path.exists() else None for path in map(folder.joinpath, CERTIFICATES))
    client_cert = (cert, key) if cert and key else None
    return {"tls": TLSConfig(client_cert=client_cert, ca_cert=ca, verify=is_verified)}


@dataclass(frozen=True, kw_only=True, slots=True)
class DockerOptions:
    """Each comes from an environment variable, named beside it."""

    image: str = DEFAULT_IMAGE  # SMSWEEP_DOCKER_IMAGE: for jobs whose request names none
    cpus: float = 0.0  # SMSWEEP_DOCKER_CPUS: per container; 0 for no cap
    memory_bytes: int = 0  # SMSWEEP_DOCKER_MEMORY, such as 4g: per container, swap included; 0 for no cap
    shm_bytes: int = 0  # SMSWEEP_DOCKER_SHM_SIZE: of /dev/shm; 0 for half of what memory there is
    passes_pip_settings: bool = True  # SMSWEEP_DOCKER_HOST_PIP=0: the host's pip, proxy and CA settings stay out
    copies_channels: bool = False  # SMSWEEP_DOCKER_COPY_CHANNELS=1: a job may write to its channels in File mode

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> DockerOptions:
        """Raises UsageError, naming the variable, for a value that cannot be read."""
        return cls(
            image=environ.get("SMSWEEP_DOCKER_IMAGE") or DEFAULT_IMAGE,
            cpus=_number(environ, "SMSWEEP_DOCKER_CPUS"),
            memory_bytes=_bytes(environ, "SMSWEEP_DOCKER_MEMORY"),
            shm_bytes=_bytes(environ, "SMSWEEP_DOCKER_SHM_SIZE"),
            passes_pip_settings=environ.get("SMSWEEP_DOCKER_HOST_PIP", "1") not in ("0", "false", "no"),
            copies_channels=environ.get("SMSWEEP_DOCKER_COPY_CHANNELS", "0") not in ("0", "false", "no"),
        )


def _number(environ: Mapping[str, str], name: str) -> float:
    text = environ.get(name) or "0"
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise UsageError(f"{name}: expected a number such as 1.5, got {text!r}")
    return number


def _bytes(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name) or "0"
    try:
        size = int(parse_bytes(text))
    except DockerException:
        size = -1
    if size < 0:
        raise UsageError(f"{name}: expected a size such as 512m or 4g, got {text!r}")
    return size
