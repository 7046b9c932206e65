"""All exceptions of smsweep, with the exit code of the command, and whether a retry can help.

SmsweepError                  1
├── ConfigError               2   a config file or an argument is not valid
├── UsageError                2   the command cannot run with these arguments
├── NotFound                  2   a file, a key or a job does not exist
│   └── NotInStore            2   a sweep or a trial does not exist
├── SourceError               2   the source cannot be packed (too large, contains a secret, unsafe member)
├── SpaceError                2   the search method does not support a value or a search space
├── StoreError                1
│   ├── StoreConflict         1   retryable: another process changed it first; read it again
│   ├── StoreUnavailable      1   retryable: unreachable, disk full, no permission
│   │   └── StoreDown         1   retryable: locked, or its server is down; a starting agent waits for it
│   ├── Superseded            1   another agent took the store over; this one must not write to it
│   ├── StoreDamaged          1   the file is damaged or is not a store; the user must fix it
│   └── SchemaTooNew          1   a newer smsweep wrote the store
├── JobError                  1
│   ├── JobRejected           2   the backend rejects this request on every attempt
│   │   └── NameTaken         1   another job has this name; the next attempt has a new name
│   ├── AccessDenied          1   the credentials lack a permission; the message names the action
│   ├── BackendUnavailable    1   retryable: the backend did not answer
│   │   ├── Throttled         1   retryable: the backend limits the rate of calls
│   │   └── BadCredentials    1   retryable: missing or expired; continues after a refresh
│   ├── CapacityError         1   retryable: no machine is available now
│   │   └── DevicesInUse      1   retryable: jobs on this machine use the devices
│   └── QuotaExceeded         1   retryable: the account's limit of jobs is reached
└── TrialsFailed              3   every trial failed, or the agent gave up after the first failures
"""

from __future__ import annotations

from collections.abc import Sequence

DOCS = "https://github.com/smsweep/smsweep/tree/main/docs"  # the project URL `Documentation` in pyproject.toml


def docs_url(page: str) -> str:
    """Return the URL of a documentation page, for messages. The pages are not part of the wheel.

    Args:
        page: Name of the page without `.md`, and optionally `#` with the anchor of a heading.
    """
    name, hash_sign, anchor = page.partition("#")
    return f"{DOCS}/{name}.md{hash_sign}{anchor}"


class SmsweepError(Exception):
    """Base class. The message is `WHERE: WHAT IS WRONG; HOW TO FIX IT`."""

    exit_code: int = 1  # of the command that raises it
    retryable: bool = False  # True if the same call can succeed later
    is_unsent: bool = False  # True if the request was not sent, so that nothing was started


class ConfigError(SmsweepError):
    """All problems of one document.

    Args:
        problems: One line each, `FILE:LINE: KEY: WHAT IS WRONG; HOW TO FIX IT`.
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


class DevicesInUse(CapacityError):
    pass


class QuotaExceeded(JobError):
    """The account's limit of jobs or instances is reached.

    Args:
        message: The message for the user.
        limit: Number of instances of the type that the account can have; None if unknown.
    """

    retryable = True

    def __init__(self, message: str, limit: int | None = None) -> None:
        self.limit = limit
        super().__init__(message)


class TrialsFailed(SmsweepError):
    exit_code = 3
