"""The jobs of this machine that wait for devices, in the order of their arrival.

Each of them has a file in the ledger's folder. The agent that wants to start the job holds a shared lock on the
file, and writes to it at every try. A job that waits too long gets the next devices that become free: otherwise a
job that needs several devices could wait forever behind smaller ones.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from smsweep.backends.local.devices import Pool
from smsweep.core.resources import Resources
from smsweep.runtime.system import open_plain

SUFFIX = ".wait"
MAX_BYTES = 1 << 20
PATIENCE_S = 60.0  # after this time, jobs that arrived later leave devices to a waiting job
FORGOTTEN_S = 60.0  # since the last try of a job that no longer waits: it runs at another place, or was killed


@dataclass(frozen=True, kw_only=True, slots=True)
class WaitingJob:
    """What a waiting job needs, and where it can find it."""

    job: str
    since_s: float  # uptime of the machine at the first try
    seen_s: float  # uptime of the machine at the last try
    n_gpus: int  # of all hosts of the job
    share: float  # of each GPU
    n_cpus: int
    memory_bytes: int
    gpus: tuple[str, ...]  # keys of the pool's devices
    cpus: tuple[int, ...]  # of the pool
    group: str  # of the pool

    @classmethod
    def read(cls, text: str) -> WaitingJob:
        """Read the content of a file. Raises ValueError."""
        try:
            values = json.loads(text)
            return cls(
                job=str(values["job"]),
                since_s=float(values["since_s"]),
                seen_s=float(values["seen_s"]),
                n_gpus=int(values["n_gpus"]),
                share=float(values["share"]),
                n_cpus=int(values["n_cpus"]),
                memory_bytes=int(values["memory_bytes"]),
                gpus=tuple(str(key) for key in values["gpus"]),
                cpus=tuple(int(cpu) for cpu in values["cpus"]),
                group=str(values["group"]),
            )
        except (KeyError, TypeError) as err:
            raise ValueError(f"not a waiting job: {err!r}") from err


class WaitingJobs:
    """The waiting jobs of a ledger. The caller holds the lock of the ledger.

    Args:
        uptime: The seconds since the machine was started.
    """

    def __init__(self, uptime: Callable[[], float]) -> None:
        self._uptime = uptime
        self._held: dict[Path, tuple[int, float]] = {}  # file -> locked file descriptor, time of the first try

    def add(self, path: Path, job: str, needs: Resources, n_hosts: int, pool: Pool) -> None:
        """Add a job at the end, or note that it still waits.

        Args:
            path: The file of the job.
            job: The job's name.
            needs: The resources of each host.
            n_hosts: The number of hosts on this machine.
            pool: What the job's agent may use.
        """
        now_s = self._uptime()
        if path not in self._held:
            self._held[path] = _create(path), now_s
        lock, since_s = self._held[path]
        waiting = WaitingJob(
            job=job,
            since_s=since_s,
            seen_s=now_s,
            n_gpus=needs.n_devices * n_hosts,
            share=min(1.0, needs.gpus or 0),
            n_cpus=(needs.cpus or 0) * n_hosts,
            memory_bytes=(needs.memory_bytes or 0) * n_hosts,
            gpus=tuple(gpu.key for gpu in pool.gpus),
            cpus=pool.cpus,
            group=pool.group,
        )
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps(asdict(waiting)).encode(), 0)

    @property
    def is_empty(self) -> bool:
        """True if no job of this process waits."""
        return not self._held

    def remove(self, path: Path) -> None:
        """Remove a job of this process; another job is not changed."""
        if path in self._held:
            path.unlink(missing_ok=True)
            os.close(self._held.pop(path)[0])

    def clear(self) -> None:
        """Remove all jobs of this process."""
        for path in list(self._held):
            self.remove(path)

    def before(self, path: Path) -> list[WaitingJob]:
        """Return the jobs that have waited too long and arrived before a job, the oldest first.

        Args:
            path: The file of the job, which need not wait.
        """
        found = dict(self._find(path.parent))
        own = found.get(path)
        now_s = self._uptime()
        order = {file: (waiting.since_s, file.name) for file, waiting in found.items()}
        return [
            found[file]
            for file in sorted(found, key=order.__getitem__)
            if file != path
            and now_s - found[file].since_s >= PATIENCE_S
            and (own is None or order[file] < order[path])
        ]

    def _find(self, folder: Path) -> Iterator[tuple[Path, WaitingJob]]:
        """Yield the jobs that wait now, and remove those of killed agents."""
        for path in folder.glob(f"*{SUFFIX}"):
            try:
                lock = open_plain(str(path))
            except OSError:  # removed, or not a file
                continue
            try:
                if not _is_locked(lock):
                    with suppress(OSError):  # only its user can remove it
                        path.unlink()
                    continue
                waiting = WaitingJob.read(os.pread(lock, MAX_BYTES, 0).decode("utf-8", "replace"))
                if self._uptime() - waiting.seen_s <= FORGOTTEN_S:
                    yield path, waiting
            except ValueError:  # another program wrote it
                continue
            finally:
                os.close(lock)


def _is_locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _create(path: Path) -> int:
    """Create the locked file of a waiting job, and return its descriptor."""
    path.unlink(missing_ok=True)  # of a killed agent
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    fcntl.flock(lock, fcntl.LOCK_SH)
    return lock
