"""Remove trials and sweeps with their files, on this machine and in S3."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from smsweep.backends.local.job_files import DamagedFile
from smsweep.backends.local.job_folder import JobFolder
from smsweep.core.sweep import Sweep
from smsweep.core.trial import Trial
from smsweep.errors import NotInStore, UsageError
from smsweep.remote.record import read_records, record_path
from smsweep.services.labels import parse_label
from smsweep.services.sweeps.control import closed_to_agents
from smsweep.services.workspace import Workspace, find_trial, read_stored
from smsweep.source.bundle import bundle_path
from smsweep.store.base import Store
from smsweep.util.terminal_text import counted

if TYPE_CHECKING:
    from smsweep.aws.client import Aws
    from smsweep.aws.sweep_objects import Locations, Sources, SweepObject
    from smsweep.remote.s3_store.remote_sweeps import RemoteSweeps

log = logging.getLogger(__name__)

# In a job's folder. `wandb sync` adds `run-ID.wandb.synced` to a run that it uploaded.
OFFLINE_RUNS = "ml*/output/data/wandb/offline-run-*"
AWS_BACKENDS = ("sagemaker", "batch")

OnProgress = Callable[[int], None]  # gets the number of objects that were deleted since the last call


@dataclass(frozen=True, kw_only=True, slots=True)
class Removal:
    """What the removal of a trial or a sweep deletes."""

    sweep_id: str
    number: int | None  # trial; None for the whole sweep
    name: str  # of the sweep
    states: Mapping[str, int]  # state -> number of trials
    job_folders: int
    local_bytes: int  # of job folders, checkpoints and bundle
    bundle: Path | None = None  # source snapshot that no other sweep uses
    objects: tuple[SweepObject, ...] = ()  # in S3
    source_users: tuple[str, ...] = ()  # ids of other sweeps that use the same source
    kept_uris: tuple[str, ...] = ()  # where the sweep can have objects that are kept
    versioned: tuple[str, ...] = ()  # buckets that keep deleted objects as old versions
    sources: Sources | None = None

    @property
    def label(self) -> str:
        """`SWEEP` or `SWEEP/NUMBER`."""
        return self.sweep_id if self.number is None else f"{self.sweep_id}/{self.number}"


def remove(labels: Iterable[str], *, s3: bool = False) -> list[str]:
    """Remove trials or whole sweeps, with the files of their jobs. See `plan_removal` and `carry_out_removal`."""
    return carry_out_removal(plan_removal(labels, s3=s3))


def plan_removal(labels: Iterable[str], *, s3: bool = False) -> list[Removal]:
    """Return what the removal of trials or whole sweeps deletes. This changes nothing.

    Args:
        labels: Trials ("ID/N") or sweeps ("ID").
        s3: Also delete their objects in S3. Without it, only the store of a detached sweep is deleted in S3.

    Raises:
        NotFound: If there is no such sweep or trial.
        UsageError: If a trial or a job is still running, or a detached agent is.
        JobError: If S3 cannot be listed.
    """
    targets = list(dict.fromkeys(parse_label(label) for label in labels))
    whole = [sweep_id for sweep_id, number in targets if number is None]
    workspace = Workspace()
    removals = []
    with Scope(workspace) as scope:
        for sweep_id, number in targets:
            if number is None:
                gone = whole[: whole.index(sweep_id) + 1]
                removals.append(scope.plan_sweep(sweep_id, gone, s3=s3))
            elif sweep_id not in whole:
                removals.append(scope.plan_trial(sweep_id, number, s3=s3))
    return removals


def carry_out_removal(removals: Sequence[Removal], on_progress: OnProgress = lambda n: None) -> list[str]:
    """Delete what `plan_removal` returned.

    The search can propose the params of a removed grid cell again. If a call is interrupted, plan and call again.
    The store forgets a sweep last, so that a repeated call finds the rest.

    Returns:
        The labels that were removed.

    Raises:
        UsageError: If a trial or a job has started.
        JobError: If some objects in S3 cannot be deleted. The sweep then stays in the store.
    """
    with Scope(Workspace()) as scope:
        gone: list[str] = []
        for removal in removals:
            if removal.number is None:
                gone.append(removal.sweep_id)
                scope.remove_sweep(removal, gone, on_progress)
            else:
                scope.remove_trial(removal, removal.number, on_progress)
    return [removal.label for removal in removals]


class Scope:
    """The store, and the connections to AWS that a removal needs. Use it as a context manager."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.records = read_records(workspace.dir)
        self._on_exit = ExitStack()
        self._aws: Aws | None = None
        self._remote: RemoteSweeps | None = None
        self._versioned: dict[str, bool] = {}

    def __enter__(self) -> Scope:
        self.store: Store = self._on_exit.enter_context(self.workspace.store())
        return self

    def __exit__(self, *raised: object) -> None:
        self._on_exit.close()

    def aws(self) -> Aws:
        from smsweep.aws.client import Aws  # boto3 is slow to import

        if self._aws is None:
            self._aws = self._on_exit.enter_context(closing(Aws(self.workspace.environ)))
        return self._aws

    def remote(self) -> RemoteSweeps:
        from smsweep.remote.s3_store.remote_sweeps import RemoteSweeps  # boto3 is slow to import

        if self._remote is None:
            opened = RemoteSweeps(self.workspace.dir, self.workspace.environ, read_stored)
            self._remote = self._on_exit.enter_context(closing(opened))
        return self._remote

    def is_remote(self, sweep_id: str) -> bool:
        """Return True if the store of the sweep is in S3."""
        record = self.records.get(sweep_id)
        return record is not None and bool(record.uri)

    def has_live_agent(self, sweep_id: str) -> bool:
        """Return True if a detached agent writes the store of the sweep in S3."""
        return self.is_remote(sweep_id) and self.remote().has_live_agent(sweep_id)

    def plan_sweep(self, sweep_id: str, gone: Sequence[str], *, s3: bool) -> Removal:
        """Plan the removal of a sweep. gone: ids of sweeps that are removed before, and this one."""
        sweep = self.store.get_sweep(sweep_id)
        self._refuse_active(sweep)
        if self.has_live_agent(sweep_id):
            raise UsageError(
                f"sweep {sweep_id}: its agent is running; run `smsweep sweep --cancel {sweep_id}`, and wait until "
                "the agent has exited"
            )
        leftovers = Leftovers(self.workspace, sweep_id, None)
        leftovers.refuse_alive()
        job_folders, local_bytes = leftovers.size()
        bundle = self._unused_bundle(sweep, gone)
        local_bytes += bundle.stat().st_size if bundle else 0
        objects, kept, sources, users = self._objects(sweep, None, gone, s3=s3)
        return Removal(
            sweep_id=sweep_id,
            number=None,
            name=sweep.name,
            states={state.value: n for state, n in self.store.count_trials(sweep_id).items()},
            job_folders=job_folders,
            local_bytes=local_bytes,
            bundle=bundle,
            objects=objects,
            source_users=tuple(sorted(users)),
            kept_uris=kept,
            versioned=self.versioned_of(objects),
            sources=sources,
        )

    def plan_trial(self, sweep_id: str, number: int, *, s3: bool) -> Removal:
        sweep = self.store.get_sweep(sweep_id)
        leftovers = Leftovers(self.workspace, sweep_id, number)
        leftovers.refuse_alive()
        objects, kept, _, _ = self._objects(sweep, number, (), s3=s3)
        try:
            trial = find_trial(self.store, sweep_id, number)
        except NotInStore:
            # An interrupted call may have removed the trial but not its files.
            if not (leftovers.exist or objects) or not self.store.get_trial(sweep_id, number).is_removed:
                raise
            states = {}
        else:
            if trial.state.is_active:
                raise UsageError(f"trial {sweep_id}/{number} is running; stop its sweep first")
            states = {trial.state.value: 1}
        job_folders, local_bytes = leftovers.size()
        return Removal(
            sweep_id=sweep_id,
            number=number,
            name=sweep.name,
            states=states,
            job_folders=job_folders,
            local_bytes=local_bytes,
            objects=objects,
            kept_uris=kept,
            versioned=self.versioned_of(objects),
        )

    def remove_sweep(self, removal: Removal, gone: Sequence[str], on_progress: OnProgress) -> None:
        sweep = self.store.get_sweep(removal.sweep_id)
        with ExitStack() as closed:
            if not self.is_remote(sweep.id):  # no agent runs on a detached sweep; see `plan_sweep`
                closed.enter_context(closed_to_agents(self.store, sweep))
                self._refuse_active(sweep)
            # The store is last, so that an interrupted call can be repeated.
            objects = [each for each in removal.objects if each.kind != "source"]
            if removal.sources is not None:
                objects += self._unused_source(sweep, removal.sources, gone)
            if errors := self.delete(objects, on_progress):
                self.fail(errors, objects)
            leftovers = Leftovers(self.workspace, sweep.id, None)
            leftovers.refuse_alive()
            leftovers.delete()
            self.store.remove_sweep(sweep.id)
        record_path(self.workspace.dir, sweep.id).unlink(missing_ok=True)
        if bundle := self._unused_bundle(sweep, gone):
            bundle.unlink(missing_ok=True)
            for assets in self.workspace.dir.glob(f"assets/*-{sweep.source_hash[:16]}"):
                shutil.rmtree(assets, ignore_errors=True)

    def remove_trial(self, removal: Removal, number: int, on_progress: OnProgress) -> None:
        if removal.states:
            self.store.remove_trial(removal.sweep_id, number)  # first, so that no agent claims it
        Leftovers(self.workspace, removal.sweep_id, number).delete()
        if errors := self.delete(removal.objects, on_progress):
            self.fail(errors, removal.objects)

    def delete(self, objects: Sequence[SweepObject], on_progress: OnProgress) -> dict[str, str]:
        """Delete objects. Return URI -> error for each object that S3 did not delete."""
        if not objects:
            return {}
        from smsweep.aws.sweep_objects import delete_objects

        return delete_objects(self.aws(), objects, on_progress)

    def fail(self, errors: Mapping[str, str], objects: Collection[SweepObject]) -> NoReturn:
        from smsweep.aws.sweep_objects import failure

        raise failure(errors, len(objects))

    def _objects(
        self, sweep: Sweep, number: int | None, gone: Sequence[str], *, s3: bool
    ) -> tuple[tuple[SweepObject, ...], tuple[str, ...], Sources | None, set[str]]:
        """Return the objects to delete, the URIs that are kept, the sources, and the other users of the source."""
        trials = self.store.list_trials(sweep.id, since=0)  # including removed ones
        record = self.records.get(sweep.id)
        if not may_have_objects(sweep, trials, record.uri if record else ""):
            return (), (), None, set()
        from smsweep.aws.sweep_objects import find_objects, find_sources
        from smsweep.remote.s3_store.s3_object import HEARTBEAT, STORE

        locations = self.locations(sweep, trials)
        kept: tuple[str, ...] = ()
        if not s3:
            kept = tuple(each.uri for each in (*locations.outputs, *locations.checkpoints))
            locations = replace(locations, outputs=(), checkpoints=(), sources=())
        # `Store.remove_sweep` deletes the store of a detached sweep.
        last = tuple(f"/{name}" for name in (HEARTBEAT, STORE))
        objects = [
            each
            for each in find_objects(self.aws(), locations, sweep.id, number)
            if each.kind != "agent" or not each.key.endswith(last)
        ]
        if number is not None or not s3:
            return tuple(objects), kept, None, set()
        sources = find_sources(self.aws(), locations, sweep.source_hash)
        objects += self._unused_source(sweep, sources, gone)
        return tuple(objects), kept, sources, self._other_users(sweep, sources, gone)

    def locations(self, sweep: Sweep, trials: Iterable[Trial]) -> Locations:
        from smsweep.aws.sweep_objects import locate

        record = self.records.get(sweep.id)
        return locate(sweep, trials, record.uri if record else "", self.aws().region)

    def _other_users(self, sweep: Sweep, sources: Sources, gone: Collection[str]) -> set[str]:
        """Return the ids of the other sweeps, of this store or of others, that use the source of a sweep."""
        same = {each.id for each in self.store.list_sweeps() if each.source_hash == sweep.source_hash}
        return (same | sources.users) - set(gone)

    def _unused_source(self, sweep: Sweep, sources: Sources, gone: Collection[str]) -> Iterator[SweepObject]:
        """Yield the objects of a source that no other sweep uses, and the markers of removed sweeps."""
        if not self._other_users(sweep, sources, gone):
            yield from sources.objects
        yield from (each for each in sources.markers if each.key.rpartition("/")[2] in gone)

    def _unused_bundle(self, sweep: Sweep, gone: Collection[str]) -> Path | None:
        """Return the source snapshot of a sweep if no other sweep of the store uses it."""
        if not sweep.source_hash:
            return None
        path = bundle_path(self.workspace.bundles_dir, sweep.source_hash)
        used = any(
            each.source_hash == sweep.source_hash and each.id not in gone for each in self.store.list_sweeps()
        )
        return path if path.is_file() and not used else None

    def _refuse_active(self, sweep: Sweep) -> None:
        active = sum(n for state, n in self.store.count_trials(sweep.id).items() if state.is_active)
        if active:
            raise UsageError(
                f"sweep {sweep.id} has {counted(active, 'running trial')}; cancel it first: "
                f"smsweep sweep --cancel {sweep.id}"
            )

    def versioned_of(self, objects: Iterable[SweepObject]) -> tuple[str, ...]:
        buckets = sorted({each.bucket for each in objects})
        for bucket in buckets:
            if bucket not in self._versioned:
                from smsweep.aws.sweep_objects import is_versioned

                self._versioned[bucket] = is_versioned(self.aws(), bucket) is True
        return tuple(bucket for bucket in buckets if self._versioned[bucket])


def may_have_objects(sweep: Sweep, trials: Iterable[Trial], agent_uri: str) -> bool:
    """Return True if a sweep can have objects in S3. It is quick, and needs no boto3."""
    request = sweep.job.request
    uris = [request.get("OutputDataConfig", {}).get("S3OutputPath", "")]
    uris += [request.get("CheckpointConfig", {}).get("S3Uri", ""), agent_uri]
    return any(uri.startswith("s3://") for uri in uris) or any(
        trial.place.partition("@")[0] in AWS_BACKENDS or str(trial.usage.get("model_uri", "")).startswith("s3://")
        for trial in trials
    )


class Leftovers:
    """The job folders and checkpoints of a trial, or of all trials of a sweep (number: None), at creation time."""

    def __init__(
        self,
        workspace: Workspace,
        sweep_id: str,
        number: int | None,
        jobs: Mapping[int, Sequence[Path]] | None = None,
    ) -> None:
        """Find the files. jobs: the known job folders by trial; None to list them."""
        self._kept = workspace.dir / "wandb"
        checkpoints = workspace.dir / "checkpoints" / sweep_id
        self._checkpoints = checkpoints if number is None else checkpoints / str(number)
        jobs = _job_folders(workspace, sweep_id, number) if jobs is None else jobs
        self._jobs = sorted(job for folders in jobs.values() for job in folders)

    @classmethod
    def by_trial(cls, workspace: Workspace, sweep_id: str, numbers: Collection[int]) -> dict[int, Leftovers]:
        """Return the leftovers of the trials that have any. The folder of the jobs is listed once."""
        jobs = _job_folders(workspace, sweep_id, None)
        by_number = {n: cls(workspace, sweep_id, n, {n: jobs.get(n, ())}) for n in sorted(numbers)}
        return {n: leftovers for n, leftovers in by_number.items() if leftovers.exist}

    @property
    def exist(self) -> bool:
        return bool(self._jobs) or self._checkpoints.exists()

    def size(self) -> tuple[int, int]:
        """Return the number of job folders, and the bytes of these and of the checkpoints."""
        return len(self._jobs), sum(map(_bytes_in, (*self._jobs, self._checkpoints)))

    def prunable(self) -> tuple[int, int]:
        """Return the number of folders that `prune` deletes from, and their bytes."""
        trees = [tree for job in self._jobs for tree in job.glob("ml*")]
        trees += [self._checkpoints] if self._checkpoints.exists() else []
        return len({tree.parent for tree in trees}), sum(map(_bytes_in, trees))

    def is_alive(self) -> bool:
        """Return True if a job is still running."""
        try:
            self.refuse_alive()
        except UsageError:
            return True
        return False

    def refuse_alive(self) -> None:
        """Raise UsageError if a job is still running although its trial has ended in the store."""
        for job in self._jobs:
            with suppress(DamagedFile):  # without a usable lock, the job counts as ended
                if JobFolder(job).is_alive():
                    raise UsageError(f"{job}: the job still runs; wait until it ends or stop it, then try again")

    def delete(self) -> None:
        """Delete the files. Move W&B offline runs that were never synced to `wandb/` in the workspace folder.

        If a call is interrupted, call again.
        """
        for job in self._jobs:
            self._keep_unsynced(job)
            shutil.rmtree(job)
        if self._checkpoints.exists():
            shutil.rmtree(self._checkpoints)

    def prune(self) -> None:
        """Delete models, outputs and checkpoints. Keep logs and the files that record how the jobs ended."""
        for job in self._jobs:
            self._keep_unsynced(job)
            for tree in job.glob("ml*"):
                shutil.rmtree(tree)
        if self._checkpoints.exists():
            shutil.rmtree(self._checkpoints)

    def _keep_unsynced(self, job: Path) -> None:
        for run in _unsynced(job):
            home = self._kept / job.name
            self._kept.mkdir(mode=0o700, exist_ok=True)
            home.mkdir(exist_ok=True)
            shutil.move(run, home / run.name)
            log.warning("kept a W&B run that was never synced; upload it with: wandb sync %s", home / run.name)


def _job_folders(workspace: Workspace, sweep_id: str, number: int | None) -> dict[int, list[Path]]:
    """Return the folders of jobs by trial; only those of one trial if `number` is set."""
    # Not only a glob pattern: the id of another sweep can start with this id.
    attempt = re.compile(rf"smsweep-{re.escape(sweep_id)}-([0-9]+)-[0-9]+")
    folders: dict[int, list[Path]] = {}
    for job in workspace.jobs_dir.glob(f"smsweep-{sweep_id}-{'' if number is None else f'{number}-'}*"):
        if match := attempt.fullmatch(job.name):
            folders.setdefault(int(match[1]), []).append(job)
    return folders if number is None else {number: folders.get(number, [])}


def _unsynced(job: Path) -> Iterator[Path]:
    for run in sorted(job.glob(OFFLINE_RUNS)):
        if any(run.glob("run-*.wandb")) and not any(run.glob("run-*.wandb.synced")):
            yield run


def _bytes_in(folder: Path) -> int:
    """Return the bytes of all files below a folder; 0 for a missing folder."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += (Path(parent) / name).lstat().st_size
    return total
