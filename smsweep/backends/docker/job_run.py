"""One job from its folder to its end, told as one story.

Each step looks at what is there before it acts, so that the story can be begun again by whoever takes the job
over: after a kill -9, after the engine went away, after a restart.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from docker import APIClient
from docker.errors import APIError
from docker.types import CancellableStream

from smsweep.backends.docker import containers
from smsweep.backends.docker.artifacts import keep_artifacts
from smsweep.backends.docker.channels import channel_binds, fetch_channels
from smsweep.backends.docker.checkpoints import Checkpoints
from smsweep.backends.docker.engine import Engine, said
from smsweep.backends.docker.folder import JobFolder, host_names
from smsweep.backends.docker.gpus import choose_gpu
from smsweep.backends.docker.images import ensure_image, image_name
from smsweep.backends.docker.locks import exclusive
from smsweep.backends.docker.logs import LogCopy, open_log
from smsweep.backends.docker.network import remove_network
from smsweep.backends.docker.options import DockerOptions
from smsweep.backends.docker.ownership import give_back
from smsweep.backends.docker.places import place_of
from smsweep.backends.docker.requirements_layer import RequirementsLayers, read_requirements
from smsweep.backends.docker.verdict import HostEnd, Verdict, host_end, judge
from smsweep.backends.ml_tree import failure_reason
from smsweep.errors import JobRejected
from smsweep.jobs import MAX_FAILURE_REASON, RUNTIME_CHANNEL, SOURCE_TAR, JobStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What all jobs of one backend share."""

    engine: Engine
    options: DockerOptions
    layers: RequirementsLayers
    environ: Mapping[str, str]  # the caller's
    clock: Callable[[], float]  # seconds since the epoch
    cache: Path  # folder for what is worth keeping between jobs
    gpus: tuple[str, ...]  # devices of this machine
    owner: tuple[int, int]  # user and group whose files a job's are


class Closed(Exception):
    """We stop looking; the job goes on."""


class JobRun:
    def __init__(self, folder: JobFolder, around: Surroundings) -> None:
        self._folder = folder
        self._around = around
        self._request = folder.request()
        self._hosts = host_names(self._request)
        self._checkpoints = Checkpoints(self._request, self._place)
        self._closing = threading.Event()
        self._streams: list[CancellableStream[bytes]] = []
        self.status: JobStatus = folder.status()

    def run(self) -> None:
        """See the job to its end. Raises BackendUnavailable when the engine goes away: run again; Closed."""
        with self._around.engine.client() as client:
            if self._folder.verdict() is None:
                try:
                    ends = self._run_containers(client)
                    self._settle(client, ends)
                except JobRejected as err:
                    self._conclude(Verdict(status="Failed", secondary_status="Failed", failure_reason=str(err)))
            for host in self._hosts:
                containers.remove(client, containers.container_name(self._folder.name, host))
            if len(self._hosts) > 1:
                remove_network(client, self._folder.name)
            self._folder.publish_verdict()

    def close(self) -> None:
        """Make a `run` in another thread raise Closed soon."""
        self._closing.set()
        for stream in self._streams:
            stream.close()

    def fail(self, reason: str) -> None:
        """End the job for a reason that is not its own."""
        self._conclude(Verdict(status="Failed", secondary_status="Failed", failure_reason=reason, is_lost=True))
        self._folder.publish_verdict()

    def _run_containers(self, client: APIClient) -> list[HostEnd]:
        """Return how each host ended, in that order; none when the job was told to end before it began."""
        states = {found["Labels"][containers.LABEL_HOST]: found["State"] for found in self._find(client)}
        if self.status.started_at is not None and not states:
            raise JobRejected("its container was removed by somebody else")
        if self.status.started_at is None:
            if self._folder.stop_order() is not None:
                return []
            image, sources = self._prepare(client)
            if self._folder.stop_order() is not None:
                return []
            self._check_open()
            self._create(client, image, sources)
            for host in self._hosts:
                if states.get(host, "created") == "created":
                    self._start(client, host)
            self._tell("Training", started_at=self._now())
        return self._watch_all(client)
