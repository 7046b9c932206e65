"""A thread that sees one job from its folder to its end.

Each step looks at what is there before it acts, so that the whole can be begun again by whoever takes the job
over: after a kill -9, after the engine went away, after a restart.
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
from smsweep.backends.docker.engine import EngineFacts, is_missing, said
from smsweep.backends.docker.images import NOT_FOUND, identify, image_name, misfit
from smsweep.backends.docker.job_outcome import Closed, ContainerWatch, HostEnd, Vanished, Verdict, judge
from smsweep.backends.docker.job_start import DockerContext, JobStart
from smsweep.backends.local.job_files import DamagedFile
from smsweep.backends.local.job_folder import JobFolder
from smsweep.backends.local.opt_ml import keep_artifacts
from smsweep.backends.local.request_fields import host_names
from smsweep.core.failure_kind import NAME
from smsweep.core.job import MAX_FAILURE_REASON, JobResults, JobStatus
from smsweep.errors import BackendUnavailable, JobRejected, NameTaken

log = logging.getLogger(__name__)

RETRY_S = 1.0  # between two attempts to reach an engine that is away
SLACK = timedelta(seconds=2)  # between the engine's clock and ours
CHOWN = """
import os, sys
uid, gid = int(sys.argv[1]), int(sys.argv[2])
for root in sys.argv[3:]:
    os.lchown(root, uid, gid)
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            os.lchown(os.path.join(folder, name), uid, gid)
"""


class _Unwanted(Exception):
    """The job was told to end before it began."""


class JobSupervisor(threading.Thread):
    """lock: held on the job's folder; closed at the end. on_end: called when the job has ended."""

    def __init__(self, folder: JobFolder, lock: int, around: DockerContext, on_end: Callable[[], None]) -> None:
        super().__init__(name=f"keep-{folder.name}", daemon=True)
        self._folder = folder
        self._lock = lock
        self._around = around
        self._on_end = on_end
        self._request = folder.request()
        self._hosts = list(host_names(self._request))
        self._watch = ContainerWatch(folder, around.engine)
        self._closing = threading.Event()
        self.status = folder.status()
        self.trouble = ""  # why the engine cannot be reached at the moment
        self.broken: DamagedFile | None = None  # why the job cannot be seen to its end

    def run(self) -> None:
        try:
            while not self._closing.is_set() and self._folder.exists():
                try:
                    self._keep()
                    return
                except Closed:
                    return
                except DamagedFile as err:
                    self.broken = err
                    return
                except (BackendUnavailable, OSError) as err:  # the engine is away, or the disk is full
                    self.trouble = str(err)
                except Exception as err:  # whatever it is, a job must end, or its agent waits for ever
                    log.exception("%s: cannot be seen to its end", self._folder.name)
                    try:
                        self._decide(Verdict.lost(f"smsweep itself failed: {err!r}"))
                    except DamagedFile as broken:
                        self.broken = broken
                        return
                self._closing.wait(RETRY_S)
        finally:
            os.close(self._lock)
            self._on_end()

    def close(self) -> None:
        """Stop looking; the job goes on."""
        self._closing.set()
        self._watch.close()

    def _keep(self) -> None:
        with self._around.engine.client() as client:
            if self._folder.verdict() is None:
                self._decide(self._verdict(client))
            for found in containers.find(client, self._folder.path):  # by label: the name may be somebody else's
                containers.remove(client, found["Id"])
            if len(self._hosts) > 1:
                remove_network(client, self._folder.name)
            self._folder.publish_verdict()

    def _verdict(self, client: APIClient) -> Verdict:
        try:
            if self.status.started_at is None:
                self._tell("Downloading")
                before = JobStart(self._folder, self._around).run(client, self._check_wanted)
                now = self._around.now()
                since_s = max(0.0, (now - before).total_seconds()) if before else 0.0
                self._folder.write_uptime(self._around.uptime() - since_s)
                self._tell("Training", started_at=before or now)
                was_running = before is None
            else:
                found = containers.find(client, self._folder.path)
                if not found:
                    return Verdict.lost("its container was removed by somebody else, or the engine forgot it")
                was_running = all(one["State"] == "running" for one in found)
            self.trouble = ""
            ends = self._watch.run(client, self._hosts)  # raises where the engine goes away meanwhile
            return self._settle(client, ends, was_watched=was_running)
        except Vanished as err:
            return Verdict.lost(str(err))
        except _Unwanted:
            return Verdict(status="Stopped", secondary_status="Stopped")
        except NameTaken as err:
            return replace(Verdict.failed(str(err)), failure_class=NAME)
        except JobRejected as err:
            return Verdict.failed(str(err))

    def _check_wanted(self) -> None:
        if self._closing.is_set():
            raise Closed
        if self._folder.stop_order() is not None:
            raise _Unwanted

    def _settle(self, client: APIClient, ends: list[HostEnd], *, was_watched: bool) -> Verdict:
        """Take home what the containers leave behind, and judge."""
        self._tell("Uploading")
        order = self._folder.stop_order()
        image, facts = image_name(self._request, self._around.options.image), self._around.engine.facts
        made_of = identify(client, containers.container_name(self._folder.name, self._hosts[0]))
        is_mute = any(end.exit_code and not end.reason for end in ends)
        trouble = misfit(client, image, facts) if is_mute else ""
        cap = self._around.options.memory_bytes
        verdict = judge(ends, order.by if order else "", cap, trouble, was_watched=was_watched)
        trees = [self._folder.ml(host) for host in self._hosts]
        checkpoints = Checkpoints(self._request, trees[0], self._around.place)
        uid, gid = self._around.owner
        folders = [*trees, checkpoints.folder]
        give_back(client, self._folder.path, image, folders, facts, uid=uid, gid=gid)
        try:
            kept = keep_artifacts(self._request, trees, self._folder.path / "parts", self._upload)
            checkpoints.keep()
        except (OSError, JobRejected) as err:
            lost = f"its results cannot be kept: {err}"
            said = f"{verdict.failure_reason}\n{lost}" if verdict.failure_reason else lost
            return replace(verdict, status="Failed", secondary_status="Failed", failure_reason=said)
        results = self._results(kept, made_of)
        return replace(verdict, results=results, ended_at=self._end_of(ends))

    def _end_of(self, ends: list[HostEnd]) -> datetime | None:
        """Return when the last container ended, which may have been long before anybody looked."""
        times = [end.ended_at for end in ends if end.ended_at]
        started_at, seen_at = self.status.started_at, self._seen_at()
        if started_at is None or not times:
            return None
        ended_at = max(times)
        if seen_at and not started_at - SLACK <= ended_at <= seen_at + SLACK:
            return seen_at  # the clock was set meanwhile
        return max(ended_at, started_at)

    def _seen_at(self) -> datetime | None:
        """Return the time now, so long after the job's start as the machine was up since; None if not known."""
        uptimes_s, started_at = self._folder.uptimes_s(), self.status.started_at
        if not uptimes_s or started_at is None:
            return None
        return started_at + timedelta(seconds=max(0.0, self._around.uptime() - uptimes_s[0]))

    def _results(self, kept: Mapping[str, str], image: str) -> JobResults:
        return JobResults(
            instance_type=self._request.get("ResourceConfig", {}).get("InstanceType", ""),
            instance_count=len(self._hosts),
            image=image,
            model_uri=kept.get("model", ""),
            output_uri=kept.get("output", ""),
            log_url=self._folder.log().as_uri(),
        )

    def _upload(self, path: Path, uri: str) -> None:
        self._around.place(uri).upload(path, uri)

    def _tell(self, secondary_status: str, *, started_at: datetime | None = None) -> None:
        """Make known how far the job is, here and in its folder."""
        started_at = started_at or self.status.started_at
        status = replace(self.status, secondary_status=secondary_status, started_at=started_at)
        self._folder.write_status(status)  # first: a crash must not lose what was told
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
                ended_at=verdict.ended_at or self._seen_at() or self._around.now(),
            )
        )


def give_back(
    client: APIClient, job: Path, image: str, folders: Sequence[Path], facts: EngineFacts, *, uid: int, gid: int
) -> None:
    """Make everything below the folders uid's own, where it is not. Costs a container only when something is not.

    job: its folder.
    Nothing to do for root, who may read and delete anything, nor where the engine maps its root to the caller.
    """
    if uid == 0 or facts.maps_root_to_caller or not any(_has_foreign(folder, uid) for folder in folders):
        return
    targets = [f"/mnt/{number}" for number in range(len(folders))]
    binds = [Bind(source=s, target=t, is_read_only=False) for s, t in zip(folders, targets, strict=True)]
    # A job's image has a python3, or a `train` of its own and then most often a shell's tools.
    for command in (["chown", "-hR", f"{uid}:{gid}"], ["python3", "-c", CHOWN, str(uid), str(gid)]):
        try:
            _run(client, job, image, [*command, *targets], binds, facts)
            return
        except APIError as err:
            if not (is_missing(err) or NOT_FOUND.search(said(err))):
                raise
    log.warning("%s: files that its container wrote stay another user's: image %s has no chown", job.name, image)


def _run(
    client: APIClient, job: Path, image: str, command: list[str], binds: list[Bind], facts: EngineFacts
) -> None:
    made = client.create_container(
        image,
        entrypoint=command,
        user="0",
        labels={LABEL_FOLDER: str(job)},  # by which it goes with the job's others, should we be killed
        host_config=client.create_host_config(
            network_mode="none",
            mounts=[mount(bind) for bind in binds],
            userns_mode="host" if facts.remaps_users else None,
        ),
    )
    try:
        client.start(made["Id"])
        client.wait(made["Id"])
    finally:
        remove(client, made["Id"])


def _has_foreign(folder: Path, uid: int) -> bool:
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if os.lstat(os.path.join(parent, name)).st_uid != uid:  # noqa: PTH118 - once per file
                return True
    return False
