"""The end of a job: watch its containers, copy their logs, and derive the job's status."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from docker import APIClient
from docker.errors import APIError
from docker.types import CancellableStream

from smsweep.backends.docker.containers import container_name, send
from smsweep.backends.docker.engine import Engine, engine_time, is_missing
from smsweep.backends.docker.logs import LogCopy, open_log, tail
from smsweep.backends.local.job_folder import SECONDARY_BY_STOP, JobFolder
from smsweep.backends.local.opt_ml import failure_reason, tells_of_stop
from smsweep.core.failure_kind import KILLED, OOM
from smsweep.core.job import JobResults

TERMINATED = 143  # 128 + SIGTERM: after `docker stop`, or a restart of the engine
GONE = 255  # the engine's code for a container that ended while the engine was down


@dataclass(frozen=True, kw_only=True, slots=True)
class HostEnd:
    """How one host's container ended."""

    host: str
    exit_code: int
    is_out_of_memory: bool
    reason: str  # content of /opt/ml/output/failure; "" without that file
    last_output: str = ""  # the end of its log
    engine_error: str = ""  # the engine's message if it could not run the container
    ended_at: datetime | None = None  # None if the engine did not see it


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """How a job ended, before its containers are removed. The fields are those of JobStatus."""

    status: str
    secondary_status: str
    exit_code: int | None = None
    failure_reason: str = ""
    is_lost: bool = False
    failure_class: str = ""
    results: JobResults | None = None
    ended_at: datetime | None = None  # None means now

    @classmethod
    def failed(cls, reason: str) -> Verdict:
        return cls(status="Failed", secondary_status="Failed", failure_reason=reason)

    @classmethod
    def lost(cls, reason: str) -> Verdict:
        return replace(cls.failed(reason), is_lost=True)


def judge(
    ends: Sequence[HostEnd], stopped_by: str, memory_bytes: int, mismatch: str = "", *, was_watched: bool = False
) -> Verdict:
    """Return how the job ended.

    Args:
        ends: The ends of the containers, in the order of time.
        stopped_by: A key of SECONDARY_BY_STOP; "" without an order to stop.
        memory_bytes: The memory limit of each container; 0 for no limit.
        mismatch: Why the image may not run on this machine; "" if it fits.
        was_watched: smsweep watched the containers until they ended, so the engine was up and saw the end.
    """
    first = next((end for end in ends if end.exit_code), ends[0])
    if stopped_by:
        secondary = SECONDARY_BY_STOP[stopped_by]
        return Verdict(status="Stopped", secondary_status=secondary, exit_code=first.exit_code)
    is_lost = _is_lost(first, was_watched=was_watched)
    if first.exit_code == 0 and not is_lost:
        return Verdict(status="Completed", secondary_status="Completed", exit_code=0)
    if mismatch and not first.reason:
        return replace(Verdict.failed(f"{mismatch} (exit code {first.exit_code})"), exit_code=first.exit_code)
    return Verdict(
        status="Failed",
        secondary_status="Failed",
        exit_code=first.exit_code,
        failure_reason=_reason(first, len(ends), memory_bytes, is_lost=is_lost),
        is_lost=is_lost,
        failure_class=OOM if first.is_out_of_memory else "",
    )


def _is_lost(end: HostEnd, *, was_watched: bool) -> bool:
    """Return True if the container was killed outside smsweep, or if its end is unknown."""
    if end.is_out_of_memory:
        return False
    if end.reason:
        return tells_of_stop(end.reason)
    return end.exit_code in (KILLED, TERMINATED) or (end.exit_code == GONE and not was_watched)


def host_end(host: str, state: Mapping[str, Any], reason: str, last_output: str = "") -> HostEnd:
    """Return how a container ended, from the engine's `State` of it."""
    return HostEnd(
        host=host,
        exit_code=int(state["ExitCode"]),
        is_out_of_memory=bool(state.get("OOMKilled")),
        reason=reason,
        last_output=last_output,
        engine_error=str(state.get("Error") or ""),
        ended_at=engine_time(str(state.get("FinishedAt") or "")),
    )


def _reason(end: HostEnd, n_hosts: int, memory_bytes: int, *, is_lost: bool) -> str:
    where = f"{end.host}: " if n_hosts > 1 else ""
    if end.is_out_of_memory:
        limit = f"its limit of {memory_bytes // 2**20:,} MiB" if memory_bytes else "the memory of the machine"
        advice = "raise SMSWEEP_DOCKER_MEMORY" if memory_bytes else "run fewer jobs at once"
        details = f"\n{end.reason}" if end.reason else ""
        return (
            f"{where}OutOfMemory: the container needed more than {limit}; {advice}, or use small batches{details}"
        )
    if end.reason:
        return f"{where}stopped outside smsweep; {end.reason}" if is_lost else where + end.reason
    if end.engine_error:
        return f"{where}{end.engine_error} (exit code {end.exit_code})"
    if end.exit_code in (KILLED, TERMINATED):
        return f"{where}killed outside smsweep (exit code {end.exit_code})"
    if is_lost:
        return f"{where}lost: the Docker Engine was down when the container ended (exit code {GONE})"
    details = f"; its last output:\n{end.last_output}" if end.last_output else ""
    return f"{where}exit code {end.exit_code}, without /opt/ml/output/failure{details}"


class WatchClosed(Exception):
    """The watch was closed. The job continues."""


class ContainerRemoved(Exception):
    """A container was removed, so its end is unknown."""


class ContainerWatch:
    """Watches the containers of one job. Several containers have a thread each.

    Args:
        folder: The job's folder, which gets the logs.
        engine: Opens the clients of the threads.
    """

    def __init__(self, folder: JobFolder, engine: Engine) -> None:
        self._folder = folder
        self._engine = engine
        self._closing = threading.Event()
        self._streams: list[CancellableStream[bytes]] = []

    def close(self) -> None:
        """Make a `run` in another thread raise WatchClosed."""
        self._closing.set()
        for stream in list(self._streams):
            stream.close()

    def run(self, client: APIClient, hosts: list[str]) -> list[HostEnd]:
        """Wait until all containers have ended. If one fails, kill the others.

        Args:
            client: A client of the engine, for this thread.
            hosts: The hosts of the job.

        Returns:
            The ends of the containers, in the order of time.

        Raises:
            WatchClosed: If `close` was called.
            ContainerRemoved: If a container was removed before its end was seen.
            BackendUnavailable: If the engine cannot be reached.
        """
        if len(hosts) == 1:
            return [self._wait(client, hosts[0])]
        ends = []
        with ThreadPoolExecutor(len(hosts), thread_name_prefix=self._folder.name) as pool:
            for future in as_completed([pool.submit(self._wait_with_own_client, host) for host in hosts]):
                if isinstance(future.exception(), ContainerRemoved) or future.result().exit_code:
                    for host in hosts:
                        send(client, container_name(self._folder.name, host), "SIGKILL")
                ends.append(future.result())
        return ends

    def _wait_with_own_client(self, host: str) -> HostEnd:
        with self._engine.client() as client:
            return self._wait(client, host)

    def _wait(self, client: APIClient, host: str) -> HostEnd:
        container = container_name(self._folder.name, host)
        try:
            return self._wait_for_end(client, container, host)
        except APIError as err:
            if is_missing(err) or err.status_code == 409:  # 409: it is being removed
                raise ContainerRemoved(f"container {container} was removed outside smsweep") from err
            raise

    def _wait_for_end(self, client: APIClient, container: str, host: str) -> HostEnd:
        self._copy_log(client, container, host, follow=True)
        client.wait(container)
        # Engines before version 23 can end a followed log before its last lines.
        self._copy_log(client, container, host, follow=False)
        state = client.inspect_container(container)["State"]
        return host_end(host, state, failure_reason(self._folder.ml(host)), tail(self._folder.log(host)))

    def _copy_log(self, client: APIClient, container: str, host: str, *, follow: bool) -> None:
        copy = LogCopy(self._folder.log(host))
        try:
            stream = open_log(client, container, follow=follow)
        except BaseException:
            copy.close()
            raise
        self._streams.append(stream)
        try:
            self._check_open()  # `close` may have run before the stream was added
            for chunk in stream:
                copy.feed(chunk)
            self._check_open()
            if not follow:
                copy.finish()
        finally:
            copy.close()
            stream.close()
            self._streams.remove(stream)

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise WatchClosed
