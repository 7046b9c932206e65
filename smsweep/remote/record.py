"""What this folder knows of a sweep that is kept in S3: where, and who works on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from smsweep.util.atomic_file import write_text

FOLDER = "away"  # in the workspace
JOB = "SMSWEEP_AGENT_JOB"  # environment of an agent that is a training job itself: its name
NAMES = "smsweep-{sweep_id}-agent-{number}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One sweep."""

    sweep_id: str
    uri: str  # s3://BUCKET/PREFIX below which the store lies; "" where it is a database: only its agent is away
    jobs: tuple[str, ...] = ()  # training jobs that its agents are or were, oldest first
    kms_key: str = ""
    instance_type: str = ""  # of the agent
    per_hour: float | None = None  # dollars, of that machine; None where nobody knows


def read_records(workspace_dir: Path) -> dict[str, Record]:
    found = {}
    for file in sorted((workspace_dir / FOLDER).glob("*.json")):
        document = json.loads(file.read_text(encoding="utf-8"))
        found[file.stem] = Record(**{**document, "jobs": tuple(document["jobs"])})
    return found


def write_record(workspace_dir: Path, record: Record) -> None:
    """Store the record of a detached sweep, in one step."""
    file = record_path(workspace_dir, record.sweep_id)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_text(file, json.dumps(asdict(record)))


def record_path(workspace_dir: Path, sweep_id: str) -> Path:
    return workspace_dir / FOLDER / f"{sweep_id}.json"


def has_records(workspace_dir: Path) -> bool:
    return any((workspace_dir / FOLDER).glob("*.json"))


def all_jobs(record: Record, note: Mapping[str, str] | None) -> list[str]:
    """Return the training jobs that a sweep's agents are or were, oldest first. note: its AGENT_JOBS."""
    return list(dict.fromkeys([*(note or {}), *record.jobs]))


def own_job(environ: Mapping[str, str]) -> str:
    """Return the training job that this process is; "" where it is none."""
    return environ.get(JOB, "")
