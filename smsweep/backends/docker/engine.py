"""The connection to the Docker Engine, its properties, and the settings of the Docker backend."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
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
from smsweep.secrets.redact import check_local_secrets

DEFAULT_URL = "unix:///var/run/docker.sock"
START = "`sudo systemctl start docker`, or Docker Desktop"
GREETING_S = 8  # timeout of the first request, so that an engine that hangs is reported soon
TIMEOUT_S = 120  # of each other request; the removal of a large container can take long
BUILT_IN = "default"  # the context of the engine at DEFAULT_URL
FIX = "choose one with `docker context use`, or set DOCKER_HOST"
HOSTNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")
CERTIFICATES = ("ca.pem", "cert.pem", "key.pem")
# The image of jobs without one: the Python that runs smsweep.
DEFAULT_IMAGE = f"python:{sys.version_info.major}.{sys.version_info.minor}-slim"


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineFacts:
    """Properties of the engine and its machine.

    Attributes:
        memory_bytes: The memory of the machine, or of the engine's virtual machine.
        architecture: The architecture as images name it: `amd64`, `arm64`.
        maps_root_to_caller: The engine is rootless. Files that root in a container writes belong to the caller.
        remaps_users: The engine has `userns-remap`. Root in a container is an unprivileged user of this machine,
            unless the container uses the host's user namespace.
    """

    memory_bytes: int
    architecture: str
    maps_root_to_caller: bool
    remaps_users: bool


class Engine:
    """Opens clients of the Docker Engine. Each thread needs its own client.

    Args:
        environ: The user's environment variables: DOCKER_HOST, DOCKER_CONTEXT and others.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    @contextmanager
    def client(self) -> Iterator[APIClient]:
        """Open a client, and close it at the end of the block.

        Raises:
            BackendUnavailable: If the engine cannot be reached, or an error of the engine leaves the block.
        """
        try:
            if problem := self._socket_problem():
                raise BackendUnavailable(f"the Docker Engine: {problem}")
            client = self._open(self._version, TIMEOUT_S)
            try:
                yield client
            finally:
                client.close()
        except APIError as err:
            raise BackendUnavailable(f"the Docker Engine: {engine_message(err)}") from err
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
        """The API version of the engine. It is requested once, not by each client."""
        client = self._open(DEFAULT_DOCKER_API_VERSION, GREETING_S)
        try:
            return str(client.version(api_version=False)["ApiVersion"])
        except APIError as err:
            raise BackendUnavailable(
                f"the Docker Engine: {client.base_url} answers with HTTP status {err.status_code}; "
                "correct DOCKER_HOST or the Docker context"
            ) from err
        finally:
            client.close()

    def _open(self, version: str, timeout_s: int) -> APIClient:
        client = APIClient(version=version, timeout=timeout_s, **self._address)
        # Proxy settings do not apply to the engine, and REQUESTS_CA_BUNDLE would override its own CA.
        client.trust_env = False
        return client

    def _no_answer(self, err: Exception) -> str:
        """Return why the engine did not answer, and how to fix that."""
        if isinstance(err, TLSParameterError):
            return "no certificates for DOCKER_TLS_VERIFY; set DOCKER_CERT_PATH to their folder, or unset both"
        if isinstance(err, ContextException):
            return str(err)
        url = self._address.get("base_url") or DEFAULT_URL
        fix = "start Docker there, or correct DOCKER_HOST or the Docker context"
        return self._socket_problem() or f"no answer from {url} ({_cause(err)}); {fix}"

    def _socket_problem(self) -> str:
        """Return the problem of the engine's socket and its fix; "" if the socket works or the engine has none."""
        url = str(self._address.get("base_url") or DEFAULT_URL)
        if "unix" not in url:
            return ""
        socket = Path(url.partition("://")[2].replace("//", "/"))
        if not socket.exists():
            return f"no socket at {socket}; start Docker ({START}), install it, or set DOCKER_HOST"
        if not os.access(socket, os.W_OK):
            return f"no permission for {socket}; `sudo usermod -aG docker $USER`, then log in again"
        return ""


def _cause(err: BaseException) -> str:
    """Return the error of the operating system below an error of the HTTP client."""
    if isinstance(err, requests.Timeout):
        return "timed out"
    causes = [err]
    for each in causes:
        if isinstance(each, OSError) and each.strerror:
            return each.strerror
        nested = [*each.args, getattr(each, "reason", None), each.__cause__, each.__context__]
        causes += [inner for inner in nested if isinstance(inner, BaseException) and inner not in causes]
    return f"{type(err).__name__}: {err}"


def engine_message(err: APIError) -> str:
    """Return the engine's message."""
    return str(err.explanation or err)


def engine_time(text: str) -> datetime | None:
    """Read a time of the engine, with nanoseconds. Return None for no time, which is the year 1."""
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
    """Return the `base_url` of the current Docker context and, if it has certificates, `tls`.

    Returns:
        Arguments of `docker.APIClient`. Empty for the default context.

    Raises:
        ContextException: If the context does not exist or cannot be read. The message says how to fix that.
    """
    folder = Path(environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker"))  # noqa: PTH111 - see home_expanded
    name = environ.get("DOCKER_CONTEXT") or _current(folder / "config.json")
    if name == BUILT_IN:
        return {}
    key = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "contexts" / "meta" / key / "meta.json"
    if not meta.exists():
        raise ContextException(f"Docker context {name} does not exist; {FIX}")
    try:
        endpoint = json.loads(meta.read_text(encoding="utf-8"))["Endpoints"]["docker"]
        host, is_verified = endpoint.get("Host"), not endpoint.get("SkipTLSVerify")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as err:
        raise ContextException(f"Docker context {name}: {meta} cannot be read: {err!r}; {FIX}") from err
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
    """The settings of the Docker backend, from environment variables.

    Attributes:
        image: SMSWEEP_DOCKER_IMAGE: the image of jobs whose request has none.
        cpus: SMSWEEP_DOCKER_CPUS: the CPU limit of each container; 0 means no limit.
        memory_bytes: SMSWEEP_DOCKER_MEMORY, such as `4g`: the memory limit of each container, including swap; 0
            means no limit.
        shm_bytes: SMSWEEP_DOCKER_SHM_SIZE: the size of /dev/shm; 0 means half of the memory.
        passes_pip_settings: False with SMSWEEP_DOCKER_HOST_PIP=0: the installation of requirements does not use
            the host's pip, proxy and CA settings.
        hostname: SMSWEEP_DOCKER_HOSTNAME: one hostname of all containers, as on SageMaker; "" for the
            names algo-1, algo-2, ...
        copies_channels: True with SMSWEEP_DOCKER_COPY_CHANNELS=1: a job can write to its channels in File mode.
    """

    image: str = DEFAULT_IMAGE
    cpus: float = 0.0
    memory_bytes: int = 0
    shm_bytes: int = 0
    passes_pip_settings: bool = True
    hostname: str = ""
    copies_channels: bool = False

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> DockerOptions:
        """Read the settings.

        Raises:
            UsageError: If a value is invalid. The message names the variable.
        """
        return cls(
            image=environ.get("SMSWEEP_DOCKER_IMAGE") or DEFAULT_IMAGE,
            cpus=_number(environ, "SMSWEEP_DOCKER_CPUS"),
            memory_bytes=_bytes(environ, "SMSWEEP_DOCKER_MEMORY"),
            shm_bytes=_bytes(environ, "SMSWEEP_DOCKER_SHM_SIZE"),
            passes_pip_settings=environ.get("SMSWEEP_DOCKER_HOST_PIP", "1") not in ("0", "false", "no"),
            hostname=_hostname(environ),
            copies_channels=environ.get("SMSWEEP_DOCKER_COPY_CHANNELS", "0") not in ("0", "false", "no"),
        )


def _hostname(environ: Mapping[str, str]) -> str:
    name = environ.get("SMSWEEP_DOCKER_HOSTNAME", "")
    if name and not HOSTNAME.fullmatch(name):
        raise UsageError(f"SMSWEEP_DOCKER_HOSTNAME: expected a host name such as aws, got {name!r}")
    return name


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
