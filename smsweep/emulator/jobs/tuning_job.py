"""A tuning job, the training jobs that it has launched, and the table of all tuning jobs with one file per job."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from smsweep.config_files.tuning_job import Definition, TuningJob, read_tuning_job
from smsweep.util.atomic_file import write_text

TERMINAL = frozenset({"Completed", "Failed", "Stopped"})


@dataclass(kw_only=True, slots=True)
class Launch:
    """A training job of a tuning job."""

    job_name: str  # stored before the job is created
    definition: int  # index in the definitions of the tuning job
    params: dict[str, Any]  # tuned hyperparameters with their types
    is_created: bool = False  # True: the table of jobs has the job, or had it until the user deleted the job
    is_stopped_early: bool = False  # True: the tuning job stopped it


@dataclass(kw_only=True, slots=True)
class TuningRecord:
    """A tuning job. Times are seconds since the epoch, as in the API."""

    name: str
    arn: str
    region: str
    request: dict[str, Any]  # CreateHyperParameterTuningJob request without Tags
    tags: dict[str, str]
    created_at: float
    modified_at: float
    seed: int
    status: str = "InProgress"
    failure_reason: str = ""
    ended_at: float | None = None
    launches: list[Launch] = field(default_factory=list)  # oldest first
    is_complete: bool = False  # True: a completion criterion is met; running training jobs are stopped
    converged_at: float | None = None

    @property
    def is_terminal(self) -> bool:
        """True if the tuning job has ended."""
        return self.status in TERMINAL

    def parsed(self) -> TuningJob:
        """Return the request as values."""
        return read_tuning_job(self.request)

    def to_json(self) -> dict[str, Any]:
        """Return all fields as a JSON document."""
        document = {item.name: getattr(self, item.name) for item in fields(self)}
        return {**document, "launches": [asdict(launch) for launch in self.launches]}


class TuningTable:
    """All tuning jobs. Hold `lock` while you change one, then `save` it. The next start reads the files.

    Names are not case sensitive, as on AWS. `on_status` is called with the lock when a saved status is new.

    Args:
        folder: Folder for the files.
        lock: The lock of the table of training jobs.
    """

    def __init__(self, folder: Path, lock: threading.RLock) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.lock = lock
        self.on_status: Callable[[TuningRecord], None] = lambda record: None
        self._records = {record.name.lower(): record for record in map(_read, folder.glob("*.json"))}
        self._statuses = {name: record.status for name, record in self._records.items()}  # as saved

    def get(self, name: str) -> TuningRecord | None:
        """Return a tuning job, or None."""
        return self._records.get(name.lower())

    def all(self) -> list[TuningRecord]:
        """Return all tuning jobs."""
        return list(self._records.values())

    def live(self) -> list[TuningRecord]:
        """Return the tuning jobs that have not ended."""
        return [record for record in self.all() if not record.is_terminal]

    def add(self, record: TuningRecord) -> None:
        """Add a tuning job, and write its file."""
        self._records[record.name.lower()] = record
        self.save(record)

    def save(self, record: TuningRecord) -> None:
        """Write the file of a tuning job."""
        write_text(self._path(record.name), json.dumps(record.to_json()))
        before = self._statuses.get(record.name.lower())
        self._statuses[record.name.lower()] = record.status
        if record.status != before:
            self.on_status(record)

    def remove(self, name: str) -> None:
        """Remove a tuning job and its file. Its training jobs stay."""
        record = self._records.pop(name.lower())
        del self._statuses[name.lower()]
        self._path(record.name).unlink()

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def _read(path: Path) -> TuningRecord:
    document: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    launches = [Launch(**launch) for launch in document["launches"]]
    return TuningRecord(**{**document, "launches": launches})


def training_job_request(
    record: TuningRecord, definition: Definition, launch: Launch, texts: Mapping[str, str]
) -> dict[str, Any]:
    """Return the CreateTrainingJob request of a launch.

    Args:
        record: The tuning job.
        definition: The definition of the launch.
        launch: The launch.
        texts: The tuned hyperparameters as texts.
    """
    request = dict(definition.request)
    request["TrainingJobName"] = launch.job_name
    request["HyperParameters"] = {**request["HyperParameters"], **texts}
    request["Tags"] = [{"Key": key, "Value": value} for key, value in record.tags.items()]
    return request
