"""All jobs, in memory and, each in a file, on disk."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from smsweep.emulator.jobs.job import Job
from smsweep.util.atomic_file import write_text


class JobTable:
    """Hold `lock` while changing a job, then `save` it; the files are there for the endpoint's next start."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.lock = threading.RLock()
        self._jobs = {job.name: job for job in map(_read, folder.glob("*.json"))}

    def get(self, name: str) -> Job | None:
        return self._jobs.get(name)

    def all(self) -> list[Job]:
        with self.lock:
            return list(self._jobs.values())

    def live(self) -> list[Job]:
        return [job for job in self.all() if not job.is_terminal]

    def add(self, job: Job) -> None:
        self._jobs[job.name] = job
        self.save(job)

    def save(self, job: Job) -> None:
        write_text(self._path(job.name), json.dumps(job.to_json()))

    def remove(self, name: str) -> None:
        del self._jobs[name]
        self._path(name).unlink()

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def _read(path: Path) -> Job:
    job = Job(**json.loads(path.read_text(encoding="utf-8")))
    job.log_cursor = ""  # CloudWatch's copy of the log was in memory: make it again
    return job
