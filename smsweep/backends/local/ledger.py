"""The ledger of this machine: which job uses which devices, across agents, sweeps and backends.

The ledger is a folder with one file per job. The processes that run the job hold a shared lock on its file, so the
operating system ends the claim when they die, however they die. Nothing has to be released. A claim whose lock is
free is removed by the next agent that reads the ledger, after it has killed processes that the job left behind.
Jobs that wait for devices have files, too (`waiting_jobs.py`), so that the agents start them in a fair order.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from smsweep.backends.local.devices import EPSILON, Device, Pool, check_fits, find_pool
from smsweep.backends.local.job_files import DamagedFile
from smsweep.backends.local.job_folder import JobFolder, kill_processes
from smsweep.backends.local.waiting_jobs import SUFFIX as WAITING_SUFFIX
from smsweep.backends.local.waiting_jobs import WaitingJob, WaitingJobs
from smsweep.core.resources import Resources
from smsweep.errors import BackendUnavailable, DevicesInUse, UsageError
from smsweep.runtime.system import open_plain, uptime_s

VARIABLE = "SMSWEEP_LEDGER"  # the folder of the ledger
LOCK = "lock"
SUFFIX = ".json"
MAX_BYTES = 1 << 20  # of a claim
# Kinds of jobs. The name decides what can outlive the processes that hold the lock.
PROCESS, DOCKER, FUNCTION = "process", "docker", "function"
WAITING = "waiting"  # the kind of a claim that is reserved for a waiting job; it is in no file
ENGINE_VARIABLES = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
SHOWN = 3  # jobs in a message
LOCK_S = 15.0  # how long another process may hold the lock of the ledger; it needs milliseconds
POLL_S = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """The devices of one job.

    Attributes:
        job: The job's name.
        folder: The job's folder.
        kind: The kind of the job.
        gpus: The devices of each host; None if the job did not ask for GPUs.
        share: The part of each device that the job uses: 1 for the whole device.
        cpus: The numbers of the job's cores; empty if it did not ask for cores.
        memory_bytes: The job's memory; 0 if it did not ask for memory.
        group: The group of the agent's pool.
        engine: The variables that select the Docker Engine.
    """

    job: str
    folder: str
    kind: str
    gpus: tuple[tuple[Device, ...], ...] | None = None
    share: float = 1.0
    cpus: tuple[int, ...] = ()
    memory_bytes: int = 0
    group: str = ""
    engine: Mapping[str, str] = field(default_factory=dict)

    def host_gpus(self, number: int = 0) -> tuple[Device, ...] | None:
        """Return the devices of a host; None if the job did not ask for GPUs."""
        return None if self.gpus is None else self.gpus[number]

    def host_cpus(self, number: int = 0, n_hosts: int = 1) -> tuple[int, ...]:
        """Return the cores of a host."""
        size = len(self.cpus) // n_hosts
        return self.cpus[number * size :][:size]

    def text(self) -> str:
        """Return the content of the claim's file."""
        gpus = self.gpus and [[[d.key, d.number, d.vendor, list(d.files)] for d in host] for host in self.gpus]
        values = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps({**values, "gpus": gpus})

    @classmethod
    def read(cls, text: str) -> Claim:
        """Read the content of a claim's file. Raises ValueError."""
        try:
            values = json.loads(text)
            gpus = values["gpus"] and [
                tuple(
                    Device(key=str(k), number=str(n), vendor=str(v), files=tuple(files)) for k, n, v, files in host
                )
                for host in values["gpus"]
            ]
            return cls(
                job=str(values["job"]),
                folder=str(values["folder"]),
                kind=str(values["kind"]),
                gpus=None if gpus is None else tuple(gpus),
                share=float(values["share"]),
                cpus=tuple(int(cpu) for cpu in values["cpus"]),
                memory_bytes=int(values["memory_bytes"]),
                group=str(values["group"]),
                engine={str(name): str(value) for name, value in dict(values["engine"]).items()},
            )
        except (AttributeError, KeyError, TypeError) as err:
            raise ValueError(f"not a claim: {err!r}") from err

    @property
    def devices(self) -> Iterator[Device]:
        """The devices of all hosts."""
        return (device for host in self.gpus or () for device in host)


class DeviceLedger:
    """The ledger, and the claims that this process holds.

    Args:
        environ: The user's environment variables, which select the folder and the pool.
        kind: The kind of the jobs of this process.
        uptime: The seconds since the machine was started.
    """

    def __init__(self, environ: Mapping[str, str], kind: str, uptime: Callable[[], float] = uptime_s) -> None:
        self._environ = environ
        self._kind = kind
        self._waiting = WaitingJobs(uptime)
        self._held: dict[Path, int] = {}  # file of a claim -> locked file descriptor
        self._guard = threading.RLock()  # supervisors of containers are threads

    @cached_property
    def pool(self) -> Pool:
        """What this process may use."""
        return find_pool(self._environ)

    @cached_property
    def folder(self) -> Path:
        """The folder of the ledger. It is created.

        Raises:
            UsageError: If another user can change the claims of this user.
        """
        path = self._location
        if self._environ.get(VARIABLE):
            path.mkdir(parents=True, exist_ok=True)
            return path
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise UsageError(
                f"{path}: another user can change this folder; remove it, or set {VARIABLE} to your own folder"
            )
        return path

    @property
    def _location(self) -> Path:
        if text := self._environ.get(VARIABLE):
            return Path(text).absolute()
        # Not below TMPDIR, which differs between the agents of a machine.
        return Path(f"/tmp/smsweep-devices-{os.getuid()}")  # noqa: S108 # owner and mode are checked # nosec B108

    def path(self, folder: JobFolder) -> Path:
        """Return the file of a job's claim."""
        digest = hashlib.sha256(os.fsencode(folder.path)).hexdigest()[:12]
        return self.folder / f"{folder.name}.{digest}{SUFFIX}"

    def claim(self, folder: JobFolder, needs: Resources, n_hosts: int = 1) -> tuple[Claim, bool]:
        """Claim devices for a job, and hold the claim until `release`.

        A job that has a claim keeps it. A job that gets none waits: call again at least once a minute, so that it
        keeps its place in the order of the waiting jobs.

        Args:
            folder: The job's folder, which need not exist.
            needs: The resources of each host.
            n_hosts: The number of hosts on this machine.

        Returns:
            The claim, and True if it is new.

        Raises:
            DevicesInUse: If too few devices are free, or if they are reserved for jobs that wait longer.
            JobRejected: If the pool is too small.
            BackendUnavailable: If the ledger cannot be written now, or another process keeps it locked.
        """
        check_fits(needs.times(n_hosts), self.pool)
        try:
            with self._guard, self._exclusive():
                path = self.path(folder)
                if (known := self._resume(path)) is not None:
                    return known, False
                waits_at = path.with_suffix(WAITING_SUFFIX)
                claims = list(self._live_claims())
                for waiting in self._waiting.before(waits_at):
                    claims.append(self._reserve(waiting, claims))
                try:
                    claim = self._choose(folder, needs, n_hosts, claims)
                except DevicesInUse:
                    self._waiting.add(waits_at, folder.name, needs, n_hosts, self.pool)
                    raise
                self._write(path, claim)
                self._waiting.remove(waits_at)
                return claim, True
        except OSError as err:
            raise BackendUnavailable(f"{err.filename or self.folder}: {err.strerror or err}") from err

    def resume(self, folder: JobFolder) -> Claim | None:
        """Hold the existing claim of a job, which another agent started. None if there is none."""
        with self._guard, self._exclusive():
            return self._resume(self.path(folder))

    def release(self, folder: JobFolder) -> None:
        """Stop holding a claim, which lasts while another process of the job holds it, or stop waiting for one."""
        with self._guard:
            if not self._held and self._waiting.is_empty:
                return  # without creating the ledger's folder
            path = self.path(folder)
            self._waiting.remove(path.with_suffix(WAITING_SUFFIX))
            lock = self._held.pop(path, None)
            if lock is not None:
                os.close(lock)

    def close(self) -> None:
        """Stop holding all claims, and stop waiting."""
        with self._guard:
            self._waiting.clear()
            while self._held:
                os.close(self._held.popitem()[1])

    def claims(self) -> list[Claim]:
        """Return the claims of the jobs that run now."""
        if not self._location.exists():
            return []
        with self._guard, self._exclusive():
            return list(self._live_claims())

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        path = self.folder / LOCK
        try:
            lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
            lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            self._wait_for(lock, path)
            yield
        finally:
            os.close(lock)

    def _wait_for(self, lock: int, path: Path) -> None:
        """Lock the ledger. Raises BackendUnavailable if a process that hangs, or another user, keeps it locked."""
        deadline = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BackendUnavailable(
                        f"{path}: another process has kept the ledger of devices locked for {LOCK_S:.0f} s; "
                        f"find it with `fuser {path}`, and continue or end it"
                    ) from None
                time.sleep(POLL_S)

    def _resume(self, path: Path) -> Claim | None:
        try:
            lock = open_plain(str(path))
        except OSError:
            return None
        try:
            claim = _read_claim(lock)
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (OSError, ValueError):
            os.close(lock)
            return None
        if path in self._held:
            os.close(lock)
        else:
            self._held[path] = lock
        return claim

    def _write(self, path: Path, claim: Claim) -> None:
        draft = path.with_suffix(".part")
        draft.unlink(missing_ok=True)
        lock = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)  # before the claim is visible, so that it is never without an owner
            os.write(lock, claim.text().encode())
            draft.rename(path)
        except BaseException:
            os.close(lock)
            raise
        self._held[path] = lock

    def _live_claims(self) -> Iterator[Claim]:
        """Yield the claims of running jobs, and remove the others."""
        for draft in self.folder.glob("*.part"):  # an agent was killed in `_write`
            with suppress(OSError):
                draft.unlink()
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            try:
                lock = open_plain(str(path))
            except OSError:  # removed, or not a claim
                continue
            try:
                claim = _read_claim(lock)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    yield claim
                    continue
                is_own = os.fstat(lock).st_uid == os.getuid()
                if _may_run(claim, is_own=is_own):
                    yield claim
                else:
                    with suppress(OSError):  # only its user can remove it
                        path.unlink()
            except ValueError:  # another program wrote it
                continue
            finally:
                os.close(lock)

    def _reserve(self, waiting: WaitingJob, claims: Sequence[Claim]) -> Claim:
        """Return a claim of the free devices that a waiting job needs, although they may be too few."""
        used = _used_shares(claims)
        free = [key for key in waiting.gpus if used[key] + waiting.share <= 1 + EPSILON]
        gpus = sorted(free, key=used.__getitem__)[: waiting.n_gpus]
        used_cpus = {cpu for claim in claims for cpu in claim.cpus}
        free_bytes = self.pool.memory_bytes - sum(claim.memory_bytes for claim in self._in_group(claims))
        return Claim(
            job=waiting.job,
            folder="",
            kind=WAITING,
            gpus=(tuple(Device(key=key, number=key) for key in gpus),),
            share=waiting.share,
            cpus=tuple(cpu for cpu in waiting.cpus if cpu not in used_cpus)[: waiting.n_cpus],
            memory_bytes=max(0, min(waiting.memory_bytes, free_bytes)),
            group=waiting.group,
        )

    def _choose(self, folder: JobFolder, needs: Resources, n_hosts: int, claims: Sequence[Claim]) -> Claim:
        gpus = None if needs.gpus is None else self._choose_gpus(needs, n_hosts, claims)
        cpus = self._choose_cpus(needs, n_hosts, claims)
        memory_bytes = (needs.memory_bytes or 0) * n_hosts
        free = self.pool.memory_bytes - sum(claim.memory_bytes for claim in self._in_group(claims))
        if memory_bytes > free:
            raise _no_capacity(
                needs, "little memory of this machine is", [claim for claim in claims if claim.memory_bytes]
            )
        return Claim(
            job=folder.name,
            folder=str(folder.path),
            kind=self._kind,
            gpus=gpus,
            share=1.0 if needs.gpus is None or needs.gpus >= 1 else needs.gpus,
            cpus=cpus,
            memory_bytes=memory_bytes,
            group=self.pool.group,
            engine={name: self._environ[name] for name in ENGINE_VARIABLES if name in self._environ},
        )

    def _in_group(self, claims: Sequence[Claim]) -> list[Claim]:
        return [claim for claim in claims if not self.pool.group or claim.group == self.pool.group]

    def _choose_gpus(
        self, needs: Resources, n_hosts: int, claims: Sequence[Claim]
    ) -> tuple[tuple[Device, ...], ...]:
        used = _used_shares(claims)
        share = min(1.0, needs.gpus or 0)
        hosts = []
        for _ in range(n_hosts):
            # The least used devices, so that trials with fractions use all GPUs. The sort keeps the pool's order.
            free = [gpu for gpu in self.pool.gpus if used[gpu.key] + share <= 1 + EPSILON]
            chosen = sorted(free, key=lambda gpu: used[gpu.key])[: needs.n_devices]
            if len(chosen) < needs.n_devices:
                keys = {gpu.key for gpu in self.pool.gpus}
                owners = [claim for claim in claims if any(device.key in keys for device in claim.devices)]
                raise _no_capacity(needs, "few GPUs of this machine are", owners)
            for gpu in chosen:
                used[gpu.key] += share
            hosts.append(tuple(sorted(chosen, key=self.pool.gpus.index)))
        return tuple(hosts)

    def _choose_cpus(self, needs: Resources, n_hosts: int, claims: Sequence[Claim]) -> tuple[int, ...]:
        n_cpus = (needs.cpus or 0) * n_hosts
        used = {cpu for claim in claims for cpu in claim.cpus}
        free = [cpu for cpu in self.pool.cpus if cpu not in used]
        n_used = sum(cpu in self.pool.cpus for claim in self._in_group(claims) for cpu in claim.cpus)
        if n_cpus > min(len(free), self.pool.n_cpus - n_used):
            raise _no_capacity(needs, "few CPUs of this machine are", [claim for claim in claims if claim.cpus])
        return tuple(free[:n_cpus])


def _used_shares(claims: Sequence[Claim]) -> dict[str, float]:
    """Return key of a device -> the part of it that jobs use; 0 for other keys."""
    used: dict[str, float] = defaultdict(float)
    for claim in claims:
        for device in claim.devices:
            used[device.key] += claim.share
    return used


def _no_capacity(needs: Resources, what: str, claims: Sequence[Claim]) -> DevicesInUse:
    in_use = _names([claim.job for claim in claims if claim.kind != WAITING])
    reserved = _names([claim.job for claim in claims if claim.kind == WAITING])
    parts = [
        f"in use by {in_use}" if in_use else "",
        f"reserved for {reserved}, which waits longer" if reserved else "",
    ]
    return DevicesInUse(f"the trial needs {needs}, and too {what} free; {'; '.join(filter(None, parts))}")


def _names(jobs: Sequence[str]) -> str:
    return ", ".join(sorted(jobs)[:SHOWN]) + (f" and {len(jobs) - SHOWN} more" if len(jobs) > SHOWN else "")


def _read_claim(lock: int) -> Claim:
    """Read a claim from its file. Raises ValueError if another program wrote it."""
    return Claim.read(os.pread(lock, MAX_BYTES, 0).decode("utf-8", "replace"))


def _may_run(claim: Claim, *, is_own: bool) -> bool:
    """Return True if a part of the job can still run, although no process holds its claim.

    Containers outlive their agents. Processes of a script can outlive their entrypoint if it was killed: they are
    killed here, before another job gets their devices.
    """
    if claim.kind == DOCKER:
        return _has_containers(claim, claim.engine if is_own else {})  # connect to no address of another user
    if claim.kind == PROCESS and is_own:
        folder = JobFolder(Path(claim.folder))
        with suppress(DamagedFile):
            if folder.exit_code() is not None:
                return False  # the entrypoint has ended the job's processes
        kill_processes(folder)
    return False


def _has_containers(claim: Claim, engine: Mapping[str, str]) -> bool:
    """Return True if a container of the job runs, or if the engine cannot be asked."""
    from smsweep.backends.docker.containers import find  # the Docker SDK is slow to import
    from smsweep.backends.docker.engine import Engine

    try:
        with Engine(engine).client() as client:
            states = {container["State"] for container in find(client, Path(claim.folder))}
    except BackendUnavailable:
        return True
    return bool(states & {"running", "paused", "restarting", "removing"})
