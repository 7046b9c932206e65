"""How all jobs are: one ListTrainingJobs per hundred of them, and one DescribeTrainingJob for each at its end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from botocore.exceptions import BotoCoreError, ClientError

from smsweep.aws.client import Aws
from smsweep.aws.errors import code_of, message_of
from smsweep.backends.sagemaker.rate_limit import Rates
from smsweep.backends.sagemaker.status import deleted, from_description, from_summary
from smsweep.core.job import JobStatus
from smsweep.errors import Throttled

log = logging.getLogger(__name__)

PAGE = 100  # API: the most ListTrainingJobs shows at once; its default of 10 would take ten times the calls
MARGIN = timedelta(minutes=10)  # by which a job's creation may seem to lie before our own submission of it
LOOKS_AGAIN_S = 2.0  # after a Describe said that a job which List does not show is alive; doubles each time
LONGEST_S = 60.0


@dataclass(slots=True)
class _Watched:
    status: JobStatus
    since: float  # seconds since the epoch: not created before
    pause_s: float  # before the next Describe, should the list not show it
    look_at: float = float("inf")  # monotonic: when that is
    is_listed: bool = False  # the last list showed it


@dataclass(slots=True)
class _Reading:
    """One look at the list of all jobs, page by page: the rates may spread it over several polls."""

    names: frozenset[str]  # live when it began
    prefix: str  # of all of them
    created_after: datetime
    token: str = ""  # of the next page
    seen: set[str] = field(default_factory=set)  # live ones that were in it


class Watch:
    """clock: seconds since the epoch. monotonic: seconds for pauses."""

    def __init__(
        self, aws: Aws, rates: Rates, poll_s: float, clock: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self._aws = aws
        self._rates = rates
        self._poll_s = poll_s
        self._first_pause_s = min(LOOKS_AGAIN_S, poll_s)
        self._clock = clock
        self._monotonic = monotonic
        self._jobs: dict[str, _Watched] = {}
        self._listed_at = float("-inf")
        self._reading: _Reading | None = None
        self._news: set[str] = set()  # jobs that an event has told of

    def add(self, status: JobStatus) -> None:
        """Watch a job that was just submitted or found."""
        since = status.started_at.timestamp() if status.started_at else self._clock()
        self._jobs[status.name] = _Watched(status=status, since=since, pause_s=self._first_pause_s)

    def get(self, name: str) -> JobStatus | None:
        watched = self._jobs.get(name)
        return watched.status if watched else None

    def drop(self, name: str) -> None:
        self._jobs.pop(name, None)

    def live(self) -> list[str]:
        return [name for name, watched in self._jobs.items() if not watched.status.is_terminal]

    def note_stopping(self, name: str) -> None:
        watched = self._jobs.get(name)
        if watched is not None and not watched.status.is_terminal:
            watched.status = replace(watched.status, status="Stopping", secondary_status="Stopping")

    def hurry(self, name: str) -> None:
        """An event told of a change: look at that job next."""
        if name in self._jobs:
            self._news.add(name)

    def find(self, name: str) -> JobStatus | None:
        """Describe a job that nobody here knows yet, and watch it. Raises JobError."""
        self._rates.demand("DescribeTrainingJob")
        status = self._describe(name)
        if status is not None:
            self.add(status)
        return status

    def poll(self) -> None:
        """Bring every live job's status up to date, as far as the rates allow. Raises JobError."""
        live, now = self.live(), self._monotonic()
        if self._reading is None and live and now - self._listed_at >= self._poll_s:
            since = min(self._jobs[name].since for name in live)
            self._reading = _Reading(
                names=frozenset(live),
                prefix=common_prefix(live),
                created_after=self._aws.now(lambda: since) - MARGIN,
            )
        if self._reading is not None:
            self._read_on(self._reading)
        for name in [name for name in live if self._is_due(name, now)]:
            if not self._rates.take("DescribeTrainingJob"):
                return
            self._look(name)

    def _is_due(self, name: str, now: float) -> bool:
        return name in self._news or now >= self._jobs[name].look_at

    def _look(self, name: str) -> None:
        watched = self._jobs[name]
        watched.status = self._describe(name) or deleted(name)
        self._news.discard(name)
        watched.look_at = self._monotonic() + watched.pause_s
        watched.pause_s = min(LONGEST_S, 2 * watched.pause_s)

    def _read_on(self, reading: _Reading) -> None:
        """Read the list's next pages; those that the rate does not allow now, at the next poll."""
        while (found := self._page(reading)) is not None:
            for summary in found:
                watched = self._jobs.get(summary.name)
                if watched is None or watched.status.is_terminal:
                    continue
                reading.seen.add(summary.name)
                if summary.is_terminal:
                    self._news.add(summary.name)  # Describe knows how it ended
                else:
                    watched.status = replace(
                        watched.status, status=summary.status, secondary_status=summary.secondary_status
                    )
            if not reading.token:
                self._conclude(reading)
                return

    def _conclude(self, reading: _Reading) -> None:
        """The list was read to its end: decide about jobs that were not in it."""
        self._reading, self._listed_at = None, self._monotonic()
        for name in reading.names & self._jobs.keys():
            watched = self._jobs[name]
            if name in reading.seen:
                watched.look_at, watched.pause_s = float("inf"), self._first_pause_s
            elif watched.is_listed:
                watched.look_at = self._listed_at  # deleted, most likely
            elif watched.look_at == float("inf"):
                watched.look_at = self._listed_at + watched.pause_s  # lists are late to show new jobs
            watched.is_listed = name in reading.seen

    def _page(self, reading: _Reading) -> list[JobStatus] | None:
        """Return the next page and move on; None when it must wait."""
        if not self._rates.take("ListTrainingJobs"):
            return None
        more = {"NextToken": reading.token} if reading.token else {}
        try:
            # Without StatusEquals: it would only thin out the pages, and not lead to fewer of them.
            answer = self._aws.translated(
                "sagemaker",
                "list_training_jobs",
                NameContains=reading.prefix,
                CreationTimeAfter=reading.created_after,
                SortBy="CreationTime",
                MaxResults=PAGE,
                **more,
            )
        except Throttled:
            self._rates.note("ListTrainingJobs", was_throttled=True)
            return None
        self._rates.note("ListTrainingJobs", was_throttled=False)
        reading.token = answer.get("NextToken", "")
        return [from_summary(summary) for summary in answer["TrainingJobSummaries"]]

    def _describe(self, name: str) -> JobStatus | None:
        """Return a job's status; None when there is no such job, its last known one when AWS is too busy."""
        try:
            answer = self._aws.call("sagemaker", "describe_training_job", TrainingJobName=name)
        except (BotoCoreError, ClientError) as err:
            if isinstance(err, ClientError) and is_missing(err):
                return None
            found = self._aws.error(err, "sagemaker", "describe_training_job")
            known = self.get(name)
            if isinstance(found, Throttled) and known is not None:
                self._rates.note("DescribeTrainingJob", was_throttled=True)
                return known
            raise found from err
        self._rates.note("DescribeTrainingJob", was_throttled=False)
        return from_description(answer)


def common_prefix(names: list[str]) -> str:
    """Return what all names begin with."""
    first, last = min(names), max(names)  # in order, these two have the least in common
    n = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:n]


def is_missing(err: ClientError) -> bool:
    """Tell whether the answer means that there is no such job. The model and the service disagree on its code."""
    words = message_of(err).lower()
    return code_of(err) == "ResourceNotFound" or (
        code_of(err) == "ValidationException" and ("not found" in words or "could not find" in words)
    )
