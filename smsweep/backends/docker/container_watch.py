"""Running containers seen to their end, their output copied meanwhile."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, as_completed

from docker import APIClient
from docker.errors import APIError
from docker.types import CancellableStream

from smsweep.backends.docker.containers import container_name, send
from smsweep.backends.docker.engine import Engine, is_missing
from smsweep.backends.docker.job_outcome import HostEnd, host_end
from smsweep.backends.docker.logs import LogCopy, open_log, tail
from smsweep.backends.local.job_folder import JobFolder
from smsweep.backends.local.opt_ml import failure_reason


class Closed(Exception):
    """We stop looking; the job goes on."""


class Vanished(Exception):
    """A container is gone, and how it ended nobody knows."""


class ContainerWatch:
    """One job's containers, a thread each where there are several."""

    def __init__(self, folder: JobFolder, engine: Engine) -> None:
        self._folder = folder
        self._engine = engine
        self._closing = threading.Event()
        self._streams: list[CancellableStream[bytes]] = []

    def close(self) -> None:
        """Make a `run` in another thread raise Closed soon."""
        self._closing.set()
        for stream in list(self._streams):
            stream.close()

    def run(self, client: APIClient, hosts: list[str]) -> list[HostEnd]:
        """Return how each host ended, in the order they did; one that fails takes the others with it."""
        if len(hosts) == 1:
            return [self._see_out(client, hosts[0])]
        ends = []
        with ThreadPoolExecutor(len(hosts), thread_name_prefix=self._folder.name) as pool:
            for future in as_completed([pool.submit(self._see_out_alone, host) for host in hosts]):
                if isinstance(future.exception(), Vanished) or future.result().exit_code:
                    for host in hosts:
                        send(client, container_name(self._folder.name, host), "SIGKILL")
                ends.append(future.result())
        return ends

    def _see_out_alone(self, host: str) -> HostEnd:
        with self._engine.client() as client:
            return self._see_out(client, host)

    def _see_out(self, client: APIClient, host: str) -> HostEnd:
        container = container_name(self._folder.name, host)
        try:
            return self._see_container_out(client, container, host)
        except APIError as err:
            if is_missing(err) or err.status_code == 409:  # 409: it is just being removed
                raise Vanished(f"container {container} was removed by somebody else") from err
            raise

    def _see_container_out(self, client: APIClient, container: str, host: str) -> HostEnd:
        self._copy_log(client, container, host, follow=True)
        client.wait(container)
        # Engines before 23 may end a log that is followed before its last lines are out.
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
            self._check_open()  # a close that came too early to see this stream
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
            raise Closed
