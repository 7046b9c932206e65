"""The notes that smsweep keeps with a sweep: one typed accessor per kind of note."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from smsweep.core.json_documents import PriceDocument
from smsweep.core.trial import Trial
from smsweep.store.base import Store

T = TypeVar("T")


@dataclass(frozen=True)  # no slots: Python 3.11 cannot create a frozen generic dataclass that has slots
class Note(Generic[T]):
    """One kind of note.

    Attributes:
        key: The key in the store.
        empty: Returns the value that stands for a missing note.
    """

    key: str
    empty: Callable[[], T]

    def get(self, store: Store, sweep_id: str) -> T:
        """Return the note of a sweep, or the empty value."""
        value: T | None = store.get_note(sweep_id, self.key)
        return self.empty() if value is None else value

    def put(self, store: Store, sweep_id: str, value: T) -> None:
        """Set the note of a sweep."""
        store.put_note(sweep_id, self.key, value)

    def add(self, store: Store, sweep_id: str, value: T) -> bool:
        """Set the note if it is missing, and return True if it was. One of several concurrent callers succeeds."""
        return store.add_note(sweep_id, self.key, value)


def _none() -> None:
    return None


IS_REUSE = Note[bool]("reuse", bool)  # the sweep was created with --reuse
HAS_OTHER_JOB = Note[bool]("other_job", bool)  # some trials ran with another job.yaml than the sweep's
IS_RECOVERING = Note[bool]("recovering", bool)  # `smsweep recover` has not written all trials yet
ORIGIN = Note[Mapping[str, Any]]("origin", dict)  # git commit and versions; see services/sweeps/provenance.py
SOURCE_FOLDER = Note[str]("source_folder", str)  # absolute path of the folder that the snapshot was made of
PRIOR_READ_RUNS = Note[list[dict[str, Any]]](
    "prior_csv", list
)  # runs read from CSV files, tuning jobs and W&B at creation
PRICE = Note[PriceDocument | None]("price", _none)  # the price that AWS reported last
FUNCTION = Note[dict[str, str]]("function", dict)  # hash, name and python of the function that was sent last
SEARCH_CODE = Note[Any]("search_code", str)  # the text of scheduler.source at creation; not trusted
REPRODUCES = Note[str]("reproduces", str)  # the label of the trial that the sweep repeats
WANDB_SWEEP = Note[dict[str, str] | None]("wandb_sweep", _none)  # entity, project and id of a hosted sweep
USER_NOTES = Note[str]("user_notes", str)  # text that the user wrote about the sweep
KILLS_AT_ONCE = Note[bool]("kills", bool)  # the sweep was cancelled twice: no grace period. Set by the store
OUTLOOK = Note[str]("outlook", str)  # why more trials will hardly find anything better
AGENT_JOBS = Note[dict[str, str]]("agents", dict)  # training job of an agent -> its start
HANDLED_COMMANDS = Note[dict[str, str]]("orders", dict)  # id of a command -> "" or the reason for its refusal
PRUNED = Note[dict[str, str]]("pruned", dict)  # NUMBER/ATTEMPT -> when `smsweep prune` deleted its files
CONFIRM = Note[dict[str, int]]("confirm", dict)  # request of `smsweep confirm`; `trials` limits all repeats
MLFLOW = Note[dict[str, Any]]("mlflow", dict)  # the sweep in MLflow, and the last revision that was written
IGNORES_CHECKPOINTS = Note[str]("ignores_checkpoints", str)  # why no trial is promoted any more
REJECTED_COMMANDS = Note[dict[str, str]]("rejected_commands", dict)  # id of an invalid command -> the reason


def stop_evidence(trial: Trial) -> Note[dict[str, Any] | None]:
    """Return the note with the evidence for which a rule stopped an attempt of a trial."""
    return Note(f"stop/{trial.number}/{trial.attempt}", _none)


def promotion(trial: Trial) -> Note[dict[str, Any] | None]:
    """Return the note of a trial's attempt that resumes after a pause: `points`, and the time of the `first`."""
    return Note(f"promotion/{trial.number}/{trial.attempt}", _none)


def changed_source(trial: Trial) -> Note[dict[str, Any] | None]:
    """Return the note with the source of an in-place attempt of a trial, if it differs from the sweep's."""
    return Note(f"source/{trial.number}/{trial.attempt}", _none)


def attempt_key(trial: Trial) -> str:
    """Return the key of a trial's current attempt in PRUNED."""
    return f"{trial.number}/{trial.attempt}"


def pruned_at(store: Store, trial: Trial) -> str | None:
    """Return when `smsweep prune` deleted the files of a trial, as ISO 8601; None if it did not."""
    return PRUNED.get(store, trial.sweep_id).get(attempt_key(trial))


def mlflow_run(number: int) -> Note[dict[str, Any]]:
    """Return the note with the run of a trial in MLflow, and what was written to it."""
    return Note(f"mlflow/{number}", dict)


def mlflow_writer(turn: int) -> Note[dict[str, str]]:
    """Return the note with the agent that writes to MLflow. Each next turn belongs to another agent."""
    return Note(f"mlflow_writer/{turn}", dict)


def waiting(trial: Trial) -> Note[dict[str, Any] | None]:
    """Return the note with the reason why a trial waits for its job."""
    return Note(f"waits/{trial.number}", _none)


def placement(trial: Trial) -> Note[dict[str, Any] | None]:
    """Return the note with the reasons why an attempt of a trial does not run at the first place of its agent."""
    return Note(f"placed/{trial.number}/{trial.attempt}", _none)


def worst_case_at(place_name: str) -> Note[dict[str, float]]:
    """Return the note with the worst case of one trial at a place, by `Budget.what`."""
    return Note(f"worst/{place_name}", dict)


def notified(occasion: str, hook_key: str) -> Note[str]:
    """Return the note with the time when a hook was notified of an event."""
    return Note(f"notified/{occasion}/{hook_key}", str)
