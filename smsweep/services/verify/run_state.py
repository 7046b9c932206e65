"""The file of a run of `smsweep verify`: its results, its cost, and everything that it has created."""

from __future__ import annotations

import json
import re
import secrets
import string
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from smsweep.errors import UsageError
from smsweep.util.atomic_file import write_text

FOLDER = "verify"  # in the workspace: one folder per run
STATE_FILE = "state.json"
LOCK_FILE = "lock"  # in FOLDER
RUN_PREFIX = "vrfy"  # of the id of each run, so that its jobs can be found without this file
RUN_ID = re.compile(rf"{RUN_PREFIX}[a-z0-9]{{4}}")
TAG = "smsweep-verify"  # tag of everything that a run creates; the value is the id of the run
_LOCK = threading.RLock()  # checks run in several threads of the only run in a process
KINDS = ("jobs", "prefixes", "buckets", "roles", "sweeps", "rules", "queues", "secrets")  # what a run creates


def new_run_id() -> str:
    """Return a new id, which has the form of a sweep's id."""
    letters = string.ascii_lowercase + string.digits
    return RUN_PREFIX + "".join(secrets.choice(letters) for _ in range(4))


@dataclass(kw_only=True, slots=True)
class RunState:
    """The state of a run. Each change is saved at once, so that a killed run can be continued and cleaned up."""

    path: Path  # the file
    run: str  # id
    target: Mapping[str, str]  # backend, place (AWS, the emulator, this machine), region and account
    started_at: str  # ISO 8601
    results: dict[str, dict[str, Any]] = field(default_factory=dict)  # id of a check -> its result
    spent: dict[str, float] = field(default_factory=dict)  # id of a check -> dollars; the worst case while it runs
    made: dict[str, list[str]] = field(default_factory=dict)  # KINDS -> names of what still exists
    n_jobs: int = 0  # number of job names in use
    finished_at: str = ""  # ISO 8601; "" while checks are missing

    @classmethod
    def read(cls, path: Path) -> RunState:
        """Read a state file. Raises UsageError if the file is not valid."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return cls(path=path, **data)
        except (OSError, ValueError, TypeError) as err:
            raise UsageError(
                f"{path}: is not the state of a run ({err}); remove its folder, and check the account for jobs "
                f"with the tag {TAG}"
            ) from err

    def save(self) -> None:
        """Write the file in one step."""
        with _LOCK:
            data = asdict(self)
            del data["path"]
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_text(self.path, json.dumps(data, indent=1))

    def reserve(self, check: str, usd: float) -> None:
        """Count the worst cost of a check before its first job starts. A kill cannot make the run forget it."""
        with _LOCK:
            self.spent[check] = self.spent.get(check, 0.0) + usd
            self.save()

    def settle(self, check: str, worst_usd: float, usd: float) -> float:
        """Replace a check's worst cost by its real cost. Return the cost of all its attempts. Does not save."""
        with _LOCK:
            self.spent[check] += usd - worst_usd
            return self.spent[check]

    def note_result(self, check: str, result: Mapping[str, Any]) -> None:
        """Note the result of a check."""
        with _LOCK:
            self.results[check] = dict(result)
            self.save()

    @property
    def total_usd(self) -> float:
        """Dollars that the run has spent at most."""
        return sum(self.spent.values())

    def next_job(self) -> str:
        """Return the name of a new job, and note it before the job can exist."""
        with _LOCK:
            name = f"smsweep-{self.run}-{self.n_jobs}-0"
            self.n_jobs += 1
            self.note("jobs", name)
            return name

    def note(self, kind: str, name: str) -> None:
        """Note something that the run is about to create."""
        with _LOCK:
            names = self.made.setdefault(kind, [])
            if name not in names:
                names.append(name)
                self.save()

    def drop(self, kind: str, name: str) -> None:
        """Note that something does not exist any more."""
        with _LOCK:
            self.made[kind].remove(name)
            self.save()

    def left(self, kind: str) -> list[str]:
        """Return the names of what the run has created and not removed."""
        return list(self.made.get(kind, ()))


def list_runs(folder: Path) -> list[RunState]:
    """Return the runs in a workspace, oldest first. Raises UsageError for a file that is not valid."""
    files = (folder / FOLDER).glob(f"{RUN_PREFIX}*/{STATE_FILE}")
    return sorted(map(RunState.read, files), key=lambda state: state.started_at)
