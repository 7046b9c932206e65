"""Table of all jobs, in memory and in one file per job."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from smsweep.emulator.jobs.job import Job
from smsweep.util.atomic_file import write_text


class JobTable:
    """All jobs. Hold `lock` while you change a job, then `save` it.

    The next start of the emulator reads the files.

    Args:
        folder: Folder for the files.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.lock = threading.RLock()
        self._jobs = {job.name: job for job in map(_read, folder.glob("*.json"))}

    def get(self, name: str) -> Job | None:
        """Return a job, or None."""
        return self._jobs.get(name)

    def all(self) -> list[Job]:
        """Return all jobs."""
        with self.lock:
            return list(self._jobs.values())

    def live(self) -> list[Job]:
        """Return the jobs that have not ended."""
        return [job for job in self.all() if not job.is_terminal]

    def add(self, job: Job) -> None:
        """Add a job, and write its file."""
        self._jobs[job.name] = job
        self.save(job)

    def save(self, job: Job) -> None:
        """Write a job's file."""
        write_text(self._path(job.name), json.dumps(job.to_json()))

    def remove(self, name: str) -> None:
        """Remove a job and its file."""
        del self._jobs[name]
        self._path(name).unlink()

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def _read(path: Path) -> Job:
    job = Job(**json.loads(path.read_text(encoding="utf-8")))
    job.log_cursor = ""  # the log in CloudWatch was in memory: write it again
    return job
