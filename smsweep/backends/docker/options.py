"""What a person may set about containers on this machine; a training job's request has no words for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from docker.errors import DockerException
from docker.utils import parse_bytes

from smsweep.errors import UsageError

DEFAULT_IMAGE = "smsweep-job"


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
