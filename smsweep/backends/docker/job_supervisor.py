"""The supervisor of a job: a thread that starts it, watches it, collects its results and removes its containers.

Each step checks the current state before it acts, so that another process can repeat all steps: after a SIGKILL, a
restart of the machine, or an interruption of the engine.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from docker import APIClient
from docker.errors import APIError

from smsweep.backends.docker import containers
from smsweep.backends.docker.channels import Checkpoints
from smsweep.backends.docker.containers import LABEL_FOLDER, Bind, mount, remove, remove_network
from smsweep.backends.docker.engine import EngineFacts, engine_message, is_missing
from smsweep.backends.docker.images import NOT_FOUND, identify, image_name, platform_mismatch
from smsweep.backends.docker.job_outcome import (
    ContainerRemoved,
    ContainerWatch,
    HostEnd,
    Verdict,
    WatchClosed,
    judge,
)
from smsweep.backends.docker.job_start import DockerContext, JobStart, needs_of
from smsweep.backends.local.job_files import DamagedFile
from smsweep.backends.local.job_folder import JobFolder
from smsweep.backends.local.opt_ml import keep_artifacts
from smsweep.backends.local.request_fields import host_names
from smsweep.core.failure_kind import NAME
from smsweep.core.job import MAX_FAILURE_REASON, JobResults, JobStatus
from smsweep.errors import BackendUnavailable, CapacityError, JobRejected, NameTaken

log = logging.getLogger(__name__)

RETRY_S = 1.0  # between two attempts to reach the engine
SLACK = timedelta(seconds=2)  # tolerated difference between the engine's clock and the machine's
CHOWN = """
import os, sys
uid, gid = int(sys.argv[1]), int(sys.argv[2])
for root in sys.argv[3:]:
    os.lchown(root, uid, gid)
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            os.lchown(os.path.join(folder, name), uid, gid)
"""


class _StoppedBeforeStart(Exception):
    """The job was stopped before it started."""


class JobSupervisor(threading.Thread):
    """Runs one job.

    Args:
        folder: The job's folder.
        lock: The descriptor of the folder's lock. The thread closes it at its end.
        context: What all jobs of the backend share.
        on_end: Called when the thread ends.

    Attributes:
        status: The current status of the job.
        engine_error: Why the engine cannot be reached now; "" if it can.
        broken: Why the supervisor gave up: the job's folder is damaged. None if it is not.
    """

    def __init__(self, folder: JobFolder, lock: int, context: DockerContext, on_end: Callable[[], None]) -> None:
        super().__init__(name=f"keep-{folder.name}", daemon=True)
        self._folder = folder
        self._lock = lock
        self._docker = context
        self._on_end = on_end
        self._request = folder.request()
        self._hosts = list(host_names(self._request))
        self._watch = ContainerWatch(folder, context.engine)
        self._closing = threading.Event()
        self.status = folder.status()
        self.engine_error = ""
        self.broken: DamagedFile | None = None

    def run(self) -> None:
        try:
            while not self._closing.is_set() and self._folder.exists():
                try:
                    self._supervise()
                    return
                except WatchClosed:
                    return
                except DamagedFile as err:
                    self.broken = err
                    return
                except (BackendUnavailable, OSError) as err:  # the engine is not reachable, or the disk is full
                    self.engine_error = str(err)
                except CapacityError as err:
                    log.debug("%s waits: %s", self._folder.name, err)
                except Exception as err:  # the job must end, or its agent waits forever
                    log.exception("%s: the supervisor of the job failed", self._folder.name)
                    try:
                        self._decide(Verdict.lost(f"smsweep itself failed: {err!r}"))
                    except DamagedFile as broken:
                        self.broken = broken
                        return
                self._closing.wait(RETRY_S)
        finally:
            self._docker.ledger.release(self._folder)
            os.close(self._lock)
            self._on_end()

    def close(self) -> None:
        """End the thread. The job continues."""
        self._closing.set()
        self._watch.close()

    def _supervise(self) -> None:
        with self._docker.engine.client() as client:
            if self._folder.verdict() is None:
                self._decide(self._verdict(client))
            for container in containers.find(
                client, self._folder.path
            ):  # by label, because another container may have the name
                containers.remove(client, container["Id"])
            if len(self._hosts) > 1:
                remove_network(client, self._folder.name)
            self._docker.ledger.release(self._folder)  # before the end is visible: its agent starts the next job
            self._folder.publish_verdict()

    def _verdict(self, client: APIClient) -> Verdict:
        try:
            if self.status.started_at is None:
                self._set_status("Downloading")
                before = JobStart(self._folder, self._docker).run(client, self._check_stop)
                now = self._docker.now()
                since_s = max(0.0, (now - before).total_seconds()) if before else 0.0
                self._folder.write_uptime(self._docker.uptime() - since_s)
                self._set_status("Training", started_at=before or now)
                was_running = before is None
            else:
                existing = containers.find(client, self._folder.path)
                if not needs_of(self._request, self._docker.ledger).is_empty:
                    self._docker.ledger.resume(self._folder)
                if not existing:
                    return Verdict.lost("its container was removed outside smsweep")
                was_running = all(each["State"] == "running" for each in existing)
            self.engine_error = ""
            ends = self._watch.run(client, self._hosts)  # raises if the engine stops meanwhile
            return self._settle(client, ends, was_watched=was_running)
        except ContainerRemoved as err:
            return Verdict.lost(str(err))
        except _StoppedBeforeStart:
            return Verdict(status="Stopped", secondary_status="Stopped")
        except NameTaken as err:
            return replace(Verdict.failed(str(err)), failure_class=NAME)
        except JobRejected as err:
            return Verdict.failed(str(err))

    def _check_stop(self) -> None:
        if self._closing.is_set():
            raise WatchClosed
        if self._folder.stop_order() is not None:
            raise _StoppedBeforeStart

    def _settle(self, client: APIClient, ends: list[HostEnd], *, was_watched: bool) -> Verdict:
        """Collect the results of the containers, and return how the job ended."""
        self._set_status("Uploading")
        order = self._folder.stop_order()
        image, facts = image_name(self._request, self._docker.options.image), self._docker.engine.facts
        image_id = identify(client, containers.container_name(self._folder.name, self._hosts[0]))
        has_no_reason = any(end.exit_code and not end.reason for end in ends)
        mismatch = platform_mismatch(client, image, facts) if has_no_reason else ""
        memory_bytes = containers.memory_bytes(self._request, self._docker.options)
        verdict = judge(ends, order.by if order else "", memory_bytes, mismatch, was_watched=was_watched)
        trees = [self._folder.ml(host) for host in self._hosts]
        checkpoints = Checkpoints(self._request, trees[0], self._docker.place)
        uid, gid = self._docker.owner
        folders = [*trees, checkpoints.folder]
        restore_owner(client, self._folder.path, image, folders, facts, uid=uid, gid=gid)
        try:
            artifacts = keep_artifacts(self._request, trees, self._folder.path / "parts", self._upload)
            checkpoints.keep()
        except (OSError, JobRejected) as err:
            problem = f"the results of the job cannot be stored: {err}"
            reason = f"{verdict.failure_reason}\n{problem}" if verdict.failure_reason else problem
            return replace(verdict, status="Failed", secondary_status="Failed", failure_reason=reason)
        results = self._results(artifacts, image_id)
        return replace(verdict, results=results, ended_at=self._ended_at(ends))

    def _ended_at(self, ends: list[HostEnd]) -> datetime | None:
        """Return when the last container ended, which may be long before this call."""
        times = [end.ended_at for end in ends if end.ended_at]
        started_at, seen_at = self.status.started_at, self._seen_at()
        if started_at is None or not times:
            return None
        ended_at = max(times)
        if seen_at and not started_at - SLACK <= ended_at <= seen_at + SLACK:
            return seen_at  # the clock was changed meanwhile
        return max(ended_at, started_at)

    def _seen_at(self) -> datetime | None:
        """Return the current time: the job's start plus the uptime since then. None if unknown."""
        uptimes_s, started_at = self._folder.uptimes_s(), self.status.started_at
        if not uptimes_s or started_at is None:
            return None
        return started_at + timedelta(seconds=max(0.0, self._docker.uptime() - uptimes_s[0]))

    def _results(self, artifacts: Mapping[str, str], image: str) -> JobResults:
        return JobResults(
            instance_type=self._request.get("ResourceConfig", {}).get("InstanceType", ""),
            instance_count=len(self._hosts),
            image=image,
            model_uri=artifacts.get("model", ""),
            output_uri=artifacts.get("output", ""),
            log_url=self._folder.log().as_uri(),
        )

    def _upload(self, path: Path, uri: str) -> None:
        self._docker.place(uri).upload(path, uri)

    def _set_status(self, secondary_status: str, *, started_at: datetime | None = None) -> None:
        """Set the status, here and in the job's folder."""
        started_at = started_at or self.status.started_at
        status = replace(self.status, secondary_status=secondary_status, started_at=started_at)
        self._folder.write_status(status)  # first, so that a crash does not lose a reported status
        self.status = status

    def _decide(self, verdict: Verdict) -> None:
        self._folder.write_verdict(
            JobStatus(
                name=self._folder.name,
                status=verdict.status,
                secondary_status=verdict.secondary_status,
                failure_reason=verdict.failure_reason[:MAX_FAILURE_REASON],
                exit_code=verdict.exit_code,
                is_lost=verdict.is_lost,
                failure_class=verdict.failure_class,
                results=verdict.results,
                started_at=self.status.started_at,
                ended_at=verdict.ended_at or self._seen_at() or self._docker.now(),
            )
        )


def restore_owner(
    client: APIClient, job: Path, image: str, folders: Sequence[Path], facts: EngineFacts, *, uid: int, gid: int
) -> None:
    """Change the owner of all files below the folders. The change needs a container, so skip it if possible.

    Root can read and delete all files, so the change is skipped for root. It is also skipped if the engine maps
    root to the caller, or if the owner of all files is correct.

    Args:
        client: A client of the engine.
        job: The job's folder.
        image: The job's image, which is used for the container.
        folders: The folders.
        facts: The properties of the engine.
        uid: The new user id.
        gid: The new group id.
    """
    if uid == 0 or facts.maps_root_to_caller or not any(_has_foreign(folder, uid) for folder in folders):
        return
    targets = [f"/mnt/{number}" for number in range(len(folders))]
    binds = [Bind(source=s, target=t, is_read_only=False) for s, t in zip(folders, targets, strict=True)]
    # An image without python3 has its own `train`, and usually chown.
    for command in (["chown", "-hR", f"{uid}:{gid}"], ["python3", "-c", CHOWN, str(uid), str(gid)]):
        try:
            _run(client, job, image, [*command, *targets], binds, facts)
            return
        except APIError as err:
            if not (is_missing(err) or NOT_FOUND.search(engine_message(err))):
                raise
    log.warning(
        "%s: files of its container still belong to another user: image %s has neither chown nor python3",
        job.name,
        image,
    )


def _run(
    client: APIClient, job: Path, image: str, command: list[str], binds: list[Bind], facts: EngineFacts
) -> None:
    created = client.create_container(
        image,
        entrypoint=command,
        user="0",
        labels={LABEL_FOLDER: str(job)},  # by which it is removed if this process is killed
        host_config=client.create_host_config(
            network_mode="none",
            mounts=[mount(bind) for bind in binds],
            userns_mode="host" if facts.remaps_users else None,
        ),
    )
    try:
        client.start(created["Id"])
        client.wait(created["Id"])
    finally:
        remove(client, created["Id"])


def _has_foreign(folder: Path, uid: int) -> bool:
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if os.lstat(os.path.join(parent, name)).st_uid != uid:  # noqa: PTH118 - once per file
                return True
    return False
