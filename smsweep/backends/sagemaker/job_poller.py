"""Poll the status of all jobs: ListTrainingJobs for all, and DescribeTrainingJob for each that has ended."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from botocore.exceptions import BotoCoreError, ClientError

from smsweep.aws.client import Aws
from smsweep.aws.errors import code_of, message_of
from smsweep.backends.sagemaker.rate_limit import RateLimits
from smsweep.backends.sagemaker.status import deleted, from_description, from_summary
from smsweep.core.job import JobStatus
from smsweep.errors import Throttled

log = logging.getLogger(__name__)

PAGE = 100  # maximum of ListTrainingJobs; the default of 10 requires ten times the calls
MARGIN = timedelta(minutes=10)  # a job's creation time can be that much earlier than its submission
FIRST_PAUSE_S = 2.0  # until the next Describe of a live job that the list does not show; doubles each time
MAX_PAUSE_S = 60.0


@dataclass(slots=True)
class _Watched:
    status: JobStatus
    since: float  # seconds since the epoch; the job was not created earlier
    pause_s: float  # before the next Describe, if the list does not show the job
    describe_at: float = float("inf")  # monotonic: the time of the next Describe
    is_listed: bool = False  # the last list showed the job


@dataclass(slots=True)
class _Listing:
    """The list of all jobs, page by page. Because of the rates, it can take several polls."""

    names: frozenset[str]  # live when the list was started
    prefix: str  # of all of them
    created_after: datetime
    token: str = ""  # of the next page
    seen: set[str] = field(default_factory=set)  # names of live jobs in the list


class JobPoller:
    """Polls the jobs of one client.

    Args:
        aws: Calls AWS.
        rates: Limits the calls.
        poll_s: The seconds between two lists.
        clock: The time in seconds since the epoch.
        monotonic: The time in seconds, for pauses.
    """

    def __init__(
        self,
        aws: Aws,
        rates: RateLimits,
        poll_s: float,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._aws = aws
        self._rates = rates
        self._poll_s = poll_s
        self._first_pause_s = min(FIRST_PAUSE_S, poll_s)
        self._clock = clock
        self._monotonic = monotonic
        self._jobs: dict[str, _Watched] = {}
        self._listed_at = float("-inf")
        self._listing: _Listing | None = None
        self._news: set[str] = set()  # jobs of received events

    def add(self, status: JobStatus) -> None:
        """Poll a job that was submitted or found."""
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
        """Describe a job at the next poll, because an event has reported a change."""
        if name in self._jobs:
            self._news.add(name)

    def find(self, name: str) -> JobStatus | None:
        """Describe a job that another agent has started, and poll it from now on. Raises JobError."""
        self._rates.demand("DescribeTrainingJob")
        status = self._describe(name)
        if status is not None:
            self.add(status)
        return status

    def poll(self) -> None:
        """Update the status of each live job, as far as the rates allow. Raises JobError."""
        live, now = self.live(), self._monotonic()
        if self._listing is None and live and now - self._listed_at >= self._poll_s:
            since = min(self._jobs[name].since for name in live)
            self._listing = _Listing(
                names=frozenset(live),
                prefix=common_prefix(live),
                created_after=self._aws.now(lambda: since) - MARGIN,
            )
        if self._listing is not None:
            self._read_on(self._listing)
        for name in [name for name in live if self._is_due(name, now)]:
            if not self._rates.take("DescribeTrainingJob"):
                return
            self._update(name)

    def _is_due(self, name: str, now: float) -> bool:
        return name in self._news or now >= self._jobs[name].describe_at

    def _update(self, name: str) -> None:
        watched = self._jobs[name]
        watched.status = self._describe(name) or deleted(name)
        self._news.discard(name)
        watched.describe_at = self._monotonic() + watched.pause_s
        watched.pause_s = min(MAX_PAUSE_S, 2 * watched.pause_s)

    def _read_on(self, listing: _Listing) -> None:
        """Read the next pages of the list, as far as the rate allows. The next poll reads the others."""
        while (page := self._page(listing)) is not None:
            for summary in page:
                watched = self._jobs.get(summary.name)
                if watched is None or watched.status.is_terminal:
                    continue
                listing.seen.add(summary.name)
                if summary.is_terminal:
                    self._news.add(summary.name)  # only Describe returns how a job ended
                else:
                    watched.status = replace(
                        watched.status, status=summary.status, secondary_status=summary.secondary_status
                    )
            if not listing.token:
                self._conclude(listing)
                return

    def _conclude(self, listing: _Listing) -> None:
        """After the last page, schedule a Describe for each job that the list does not have."""
        self._listing, self._listed_at = None, self._monotonic()
        for name in listing.names & self._jobs.keys():
            watched = self._jobs[name]
            if name in listing.seen:
                watched.describe_at, watched.pause_s = float("inf"), self._first_pause_s
            elif watched.is_listed:
                watched.describe_at = self._listed_at  # the job was probably deleted
            elif watched.describe_at == float("inf"):
                watched.describe_at = self._listed_at + watched.pause_s  # lists show new jobs late
            watched.is_listed = name in listing.seen

    def _page(self, listing: _Listing) -> list[JobStatus] | None:
        """Return the next page; None if the rate does not allow the call now."""
        if not self._rates.take("ListTrainingJobs"):
            return None
        more = {"NextToken": listing.token} if listing.token else {}
        try:
            # StatusEquals leaves fewer jobs on each page, but does not lead to fewer pages.
            answer = self._aws.translated(
                "sagemaker",
                "list_training_jobs",
                NameContains=listing.prefix,
                CreationTimeAfter=listing.created_after,
                SortBy="CreationTime",
                MaxResults=PAGE,
                **more,
            )
        except Throttled:
            self._rates.note("ListTrainingJobs", was_throttled=True)
            return None
        self._rates.note("ListTrainingJobs", was_throttled=False)
        listing.token = answer.get("NextToken", "")
        return [from_summary(summary) for summary in answer["TrainingJobSummaries"]]

    def _describe(self, name: str) -> JobStatus | None:
        """Return a job's status; None if it does not exist. If AWS throttles the call, return the last status."""
        try:
            answer = self._aws.call("sagemaker", "describe_training_job", TrainingJobName=name)
        except (BotoCoreError, ClientError) as err:
            if isinstance(err, ClientError) and is_missing(err):
                return None
            error = self._aws.error(err, "sagemaker", "describe_training_job")
            known = self.get(name)
            if isinstance(error, Throttled) and known is not None:
                self._rates.note("DescribeTrainingJob", was_throttled=True)
                return known
            raise error from err
        self._rates.note("DescribeTrainingJob", was_throttled=False)
        return from_description(answer)


def common_prefix(names: list[str]) -> str:
    """Return the longest common prefix of the names."""
    first, last = min(names), max(names)  # of the sorted names, these two differ most
    n = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:n]


def is_missing(err: ClientError) -> bool:
    """Return True if the job does not exist. The model and the service use different codes for that."""
    words = message_of(err).lower()
    return code_of(err) == "ResourceNotFound" or (
        code_of(err) == "ValidationException" and ("not found" in words or "could not find" in words)
    )
