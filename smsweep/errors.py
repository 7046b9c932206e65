"""Every exception of smsweep, the exit code the CLI ends with, and whether trying again can help.

SmsweepError                  1
├── ConfigError               2   a file or an argument the user wrote is wrong
├── UsageError                2   a command that cannot be carried out as given
├── NotFound                  2   there is no such thing: a file, a key, a job
│   └── NotInStore            2   no such sweep or trial
├── SourceError               2   the source cannot be packed (too large, holds a secret, unsafe member)
├── SpaceError                2   a value or a space the search method cannot handle
├── StoreError                1
│   ├── StoreConflict         1   retryable: somebody else changed it first; read again
│   ├── StoreUnavailable      1   retryable: unreachable, disk full, no permission
│   │   └── StoreDown         1   retryable: locked, or its server is down; an agent that starts waits for it
│   ├── Superseded            1   another agent has taken the store over; this one must not write to it any more
│   ├── StoreDamaged          1   its file is damaged, or is no store: a person has to see to it
│   └── SchemaTooNew          1   the store was written by a newer smsweep
├── JobError                  1
│   ├── JobRejected           2   the backend will never accept this request
│   │   └── NameTaken         1   a job of that name is somebody else's; the next attempt has another
│   ├── AccessDenied          1   the credentials may not do that; says which action is missing
│   ├── BackendUnavailable    1   retryable: the backend did not answer
│   │   ├── Throttled         1   retryable: it will take the call later; nothing to worry about
│   │   └── BadCredentials    1   retryable: none, or expired; goes on once they are refreshed
│   ├── CapacityError         1   retryable: no machine to be had now
│   └── QuotaExceeded         1   retryable: as many jobs as the account may have
└── TrialsFailed              3   every trial failed, or the first ones did and the agent gave up
"""

from __future__ import annotations

from collections.abc import Sequence


class SmsweepError(Exception):
    """Say where, what was found and what to do, in one message for a person."""

    exit_code: int = 1  # of the command that meets it
    retryable: bool = False  # whether the same call may succeed later
    is_unsent: bool = False  # it was held back here: whoever would have carried it out has not heard of it


class ConfigError(SmsweepError):
    """Report every problem of one document at once.

    problems: one line each, `file:line: key: what is wrong; what to do`.
    """

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class UsageError(SmsweepError):
    exit_code = 2


class NotFound(SmsweepError):
    exit_code = 2


class NotInStore(NotFound):
    pass


class SourceError(SmsweepError):
    exit_code = 2


class SpaceError(SmsweepError):
    exit_code = 2


class StoreError(SmsweepError):
    pass


class StoreConflict(StoreError):
    retryable = True


class StoreUnavailable(StoreError):
    retryable = True


class StoreDown(StoreUnavailable):
    pass


class Superseded(StoreError):
    pass


class StoreDamaged(StoreError):
    pass


class SchemaTooNew(StoreError):
    pass


class JobError(SmsweepError):
    pass


class JobRejected(JobError):
    exit_code = 2


class NameTaken(JobRejected):
    exit_code = 1


class AccessDenied(JobError):
    pass


class BackendUnavailable(JobError):
    retryable = True


class Throttled(BackendUnavailable):
    pass


class BadCredentials(BackendUnavailable):
    pass


class CapacityError(JobError):
    retryable = True


class QuotaExceeded(JobError):
    """limit: how many instances of the type the account may have; None where nobody said."""

    retryable = True

    def __init__(self, message: str, limit: int | None = None) -> None:
        self.limit = limit
        super().__init__(message)


class TrialsFailed(SmsweepError):
    exit_code = 3
