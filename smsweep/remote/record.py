"""Records of detached sweeps in the workspace: where the store is, and which jobs are agents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smsweep.util.atomic_file import write_text

if TYPE_CHECKING:
    pass

FOLDER = "away"  # in the workspace
JOB = "SMSWEEP_AGENT_JOB"  # environment variable of an agent in a training job: name of the job
NAMES = "smsweep-{sweep_id}-agent-{number}"


@dataclass(frozen=True, kw_only=True, slots=True)
class DetachRecord:
    """DetachRecord of a detached sweep."""

    sweep_id: str
    uri: str  # s3://BUCKET/PREFIX of the store; "" if the store is a database
    jobs: tuple[str, ...] = ()  # training jobs of its agents, oldest first
    kms_key: str = ""
    instance_type: str = ""  # instance type of the agent
    per_hour: float | None = None  # dollars per hour of that instance; None if unknown


def read_records(workspace_dir: Path) -> dict[str, DetachRecord]:
    """Return the records of a workspace by sweep id."""
    records = {}
    for file in sorted((workspace_dir / FOLDER).glob("*.json")):
        document = json.loads(file.read_text(encoding="utf-8"))
        records[file.stem] = DetachRecord(**{**document, "jobs": tuple(document["jobs"])})
    return records


def write_record(workspace_dir: Path, record: DetachRecord) -> None:
    """Write a record atomically."""
    file = record_path(workspace_dir, record.sweep_id)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_text(file, json.dumps(asdict(record)))


def record_path(workspace_dir: Path, sweep_id: str) -> Path:
    """Return the file of a sweep's record."""
    return workspace_dir / FOLDER / f"{sweep_id}.json"


def has_records(workspace_dir: Path) -> bool:
    """Return True if the workspace has a detached sweep."""
    return any((workspace_dir / FOLDER).glob("*.json"))


def all_jobs(record: DetachRecord, note: Mapping[str, str] | None) -> list[str]:
    """Return the training jobs of a sweep's agents, oldest first.

    Args:
        record: DetachRecord of the sweep.
        note: AGENT_JOBS note of the sweep, or None.
    """
    return list(dict.fromkeys([*(note or {}), *record.jobs]))


def own_job(environ: Mapping[str, str]) -> str:
    """Return the name of the training job that runs this agent; "" if the agent is not in a training job."""
    return environ.get(JOB, "")
