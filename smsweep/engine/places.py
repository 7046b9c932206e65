"""The places of an agent: backends with slots and prices. A trial runs at the first place that has room."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from smsweep.backends.base import Backend
from smsweep.backends.local.opt_ml import local_checkpoints
from smsweep.core.job import JobStatus, Price, TrainingJobRequest
from smsweep.core.trial import Trial
from smsweep.engine.agent_state import HeldTrial
from smsweep.errors import DevicesInUse, SmsweepError
from smsweep.util.clock import time_text

FIRST_REST_S = 15.0  # after a place had no machine; each further rest is twice as long
LONGEST_REST_S = 600.0
JITTER = 0.25  # fraction of a rest, so that several agents do not return at the same moment
# A lost agent can return, with the jobs at places that only it can reach. After this time, their trials run again.
LOST_S = 600.0
QUEUED = ("Starting", "Pending")  # secondary statuses of a job that waits for a machine


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where an agent runs jobs: a backend, its slots, and the job template of this place."""

    backend: Backend
    render: Callable[[Trial], TrainingJobRequest]  # returns the job request of a trial
    checkpoints: Callable[[Trial], str] = lambda trial: ""  # URI of the checkpoints of a trial; "" for none
    name: str = ""  # unique in the agent's list, such as "local"; "" for an agent with one backend
    slots: int = 1  # trials that run at the same time
    group: str = ""  # places of one group share their slots; "" for a place of its own
    price: Price | None = None  # of one instance; None if unknown
    give_up_s: float | None = None  # a job that waits longer for a machine moves to another place; None: never
    reads_s3: bool = False  # jobs read and write checkpoints in S3
    shares_checkpoints: bool = False  # as other places whose jobs do so, at the same URI

    @property
    def pool(self) -> str:
        """The name of the slots that the place uses."""
        return self.group or self.name

    @property
    def label(self) -> str:
        return self.name or self.backend.place

    def can_continue(self, trial: Trial) -> bool:
        """Return True if jobs at this place can read the checkpoints of an interrupted trial."""
        if trial.place in ("", self.backend.place):
            return True
        uri = self.checkpoints(trial)
        return self.shares_checkpoints if uri.startswith("s3:") else _has_files(uri)

    def binds(self, trial: Trial, status: JobStatus | None = None) -> bool:
        """Return True if a trial that ran at this place has checkpoints that other places may not be able to read.

        Args:
            trial: The trial.
            status: The final status of its job, if known.
        """
        uri = self.checkpoints(trial)
        if not uri.startswith("s3:"):
            return _has_files(uri)
        has_run = bool(trial.n_points or (status is not None and status.started_at))
        return self.reads_s3 and has_run


def _has_files(uri: str) -> bool:
    """Return True if a URI is a folder with files that this machine can read."""
    folder = local_checkpoints({"CheckpointConfig": {"S3Uri": uri}})
    try:
        return folder is not None and any(folder.iterdir())
    except OSError:
        return False


@dataclass(slots=True)
class _Rest:
    err: SmsweepError  # why the place started no job
    since: datetime
    until: datetime
    pause_s: float


@dataclass(slots=True)
class Places:
    """The places of one agent, in the order of preference.

    Args:
        places: At least one place.
        clock: Returns the current time, aware UTC.
        rng: Spreads the rests of several agents.
    """

    places: Sequence[Place]
    clock: Callable[[], datetime]
    rng: random.Random
    _rests: dict[str, _Rest] = field(default_factory=dict)

    @property
    def has_one_backend(self) -> bool:
        """True if an error of a backend concerns all trials."""
        return len({id(place.backend) for place in self.places}) == 1

    def resize(self, n_slots: int) -> bool:
        """Change the number of slots of the only place. Return False if there are several places."""
        if len(self.places) > 1:
            return False
        self.places = [replace(self.places[0], slots=n_slots)]
        return True

    def of(self, trial: Trial) -> Place | None:
        """Return the place of a trial's job; None if this agent cannot reach it."""
        there = [place for place in self.places if place.backend.place == trial.place]
        return next((place for place in there if place.name == trial.place_name), there[0] if there else None)

    def can_adopt(self, trial: Trial, expired_s: float) -> bool:
        """Return True if this agent can adopt a trial of a lost agent, or must end it.

        Args:
            trial: The trial.
            expired_s: Seconds since its lease expired.
        """
        kinds = {place.backend.place.partition("@")[0] for place in self.places}
        return self.of(trial) is not None or trial.place.partition("@")[0] in kinds or expired_s > LOST_S

    def with_room(self, held: Collection[HeldTrial]) -> list[tuple[Place, int]]:
        """Return the places that have free slots, with their number, in the order of preference.

        Args:
            held: The trials that the agent holds.
        """
        if len(self.places) == 1:
            free = [(self.places[0], self.places[0].slots - len(held))]
        else:
            used = Counter(place.pool for each in held if (place := self.of(each.trial)) is not None)
            free = [(place, place.slots - used[place.pool]) for place in self.places]
        return [(place, n) for place, n in free if n > 0]

    def is_resting(self, place: Place) -> bool:
        """Return True if the place had no machine recently. The only place of an agent never rests."""
        rest = self._rests.get(place.name)
        return rest is not None and self.clock() < rest.until

    def check(self, place: Place) -> None:
        """Raise the last error of a place that rests."""
        if self.is_resting(place):
            err = copy(self._rests[place.name].err)
            err.is_unsent = True
            raise err

    def rest(self, place: Place, err: SmsweepError) -> None:
        """Start no job at a place for a while. A place that rests already is not changed."""
        if len(self.places) == 1 or self.is_resting(place):
            return
        before = self._rests.get(place.name)
        pause_s = FIRST_REST_S
        if before is not None and not isinstance(err, DevicesInUse):  # devices can be free at any time
            pause_s = min(LONGEST_REST_S, 2 * before.pause_s)
        spread_s = pause_s * self.rng.uniform(1 - JITTER, 1 + JITTER)
        now = self.clock()
        self._rests[place.name] = _Rest(err, now, now + timedelta(seconds=spread_s), pause_s)

    def note_running(self, place: Place, trial: Trial) -> None:
        """Forget the rests of a place if a job that was started after the last one is running."""
        rest = self._rests.get(place.name)
        if rest is not None and trial.started_at is not None and trial.started_at > rest.since:
            del self._rests[place.name]

    def note_ended(self, place: Place) -> None:
        """End the rest of a place after a job of this agent ended there, which may leave a machine or a quota."""
        if place.name in self._rests:
            self._rests[place.name].until = self.clock()

    def reasons_before(
        self, chosen: Place, held: Collection[HeldTrial], why_not: Callable[[Place], str]
    ) -> list[str]:
        """Return why a trial does not run at the places before the chosen one.

        Args:
            chosen: The place of the trial.
            held: The other trials that the agent holds.
            why_not: Returns the reason for a place that has a free slot and does not rest.
        """
        free = {place.name for place, _ in self.with_room(held)}
        reasons = []
        for place in self.places:
            if place is chosen:
                break
            if self.is_resting(place):
                rest = self._rests[place.name]
                reasons.append(f"{place.label} rests until {time_text(rest.until)}: {rest.err}")
            elif place.name not in free:
                reasons.append(f"{place.label} was full ({place.slots} of {place.slots})")
            else:
                reasons.append(why_not(place))
        return reasons

    def describe(self, names: Mapping[str, Place]) -> tuple[dict[str, JobStatus], dict[str, SmsweepError]]:
        """Return the status of each known job, and the errors by name of the backends that did not answer.

        Args:
            names: Job name -> place of the job.

        Raises:
            SmsweepError: If the only backend of the agent did not answer, or a retry cannot help.
        """
        by_backend: dict[int, list[str]] = {}
        backends = {id(place.backend): place.backend for place in names.values()}
        for name, place in names.items():
            by_backend.setdefault(id(place.backend), []).append(name)
        statuses: dict[str, JobStatus] = {}
        errors: dict[str, SmsweepError] = {}
        for key, of_backend in by_backend.items():
            try:
                statuses |= backends[key].describe(of_backend)
            except SmsweepError as err:
                if not err.retryable or self.has_one_backend:
                    raise
                errors[backends[key].place] = err
        return statuses, errors
