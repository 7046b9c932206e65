"""What all jobs of one backend share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from smsweep.backends.docker.engine import Engine
from smsweep.backends.docker.options import DockerOptions
from smsweep.backends.docker.requirements_image import RequirementsLayers
from smsweep.backends.local.storage import Place, place_of


@dataclass(frozen=True, kw_only=True, slots=True)
class DockerContext:
    engine: Engine
    options: DockerOptions
    layers: RequirementsLayers
    environ: Mapping[str, str]  # the caller's
    clock: Callable[[], float]  # seconds since the epoch
    uptime: Callable[[], float]  # seconds since the machine was started
    cache: Path  # folder for what is worth keeping between jobs
    gpus: tuple[str, ...]  # devices of this machine
    owner: tuple[int, int]  # user and group that a job's files are to belong to

    def place(self, uri: str) -> Place:
        return place_of(uri, self.environ, self.cache)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), timezone.utc)
