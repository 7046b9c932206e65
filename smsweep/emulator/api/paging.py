"""Pages of results, and tokens for the next page."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from smsweep.emulator import api_error
from smsweep.emulator.api.documents import summary
from smsweep.emulator.api_error import ApiError
from smsweep.emulator.jobs.job import Job

T = TypeVar("T")


def make_token(value: Any) -> str:
    """Return a token that holds a JSON value."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


def read_token(token: str | None) -> Any:
    """Return the value of a token; None without a token. Raises ApiError for an invalid token."""
    if not token:
        return None
    try:
        return json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, binascii.Error) as err:
        raise _invalid_token() from err


def read_position(token: str | None) -> tuple[int, int]:
    """Return the two numbers in a token; (-1, -1) without a token. Raises ApiError for an invalid token."""
    position = read_token(token) or [-1, -1]
    if isinstance(position, list) and [type(part) for part in position] == [int, int]:
        return position[0], position[1]
    raise _invalid_token()


def _invalid_token() -> ApiError:
    return api_error.invalid("Invalid pagination token")


def page(
    items: Sequence[T], key: Callable[[T], tuple[Any, ...]], token: str | None, size: int, *, is_reverse: bool
) -> tuple[list[T], str | None]:
    """Sort items, and return one page of them.

    Args:
        items: All items.
        key: Returns a unique sort key of an item.
        token: Token of the previous page; None for the first page.
        size: Maximum number of items.
        is_reverse: True for descending order.

    Returns:
        The items of the page, and the token of the next page or None.

    Raises:
        ApiError: If the token is invalid, or is of another sort order.
    """
    ordered = sorted(items, key=key, reverse=is_reverse)
    after = read_token(token)
    if after is not None:
        try:
            last = tuple(after)
            ordered = [item for item in ordered if (key(item) < last if is_reverse else key(item) > last)]
        except TypeError as err:
            raise _invalid_token() from err
    shown = ordered[:size]
    return shown, make_token(key(shown[-1])) if len(ordered) > size else None


DEFAULT_SIZE = 10


SORT_KEYS: Mapping[str, Callable[[Job], tuple[Any, ...]]] = {
    "Name": lambda job: (job.name,),
    "CreationTime": lambda job: (job.created_at, job.name),
    "Status": lambda job: (job.status, job.name),
}


# Filter -> function that returns True if a job matches its value
FILTERS: Mapping[str, Callable[[Job, Any], bool]] = {
    "NameContains": lambda job, text: text in job.name,
    "CreationTimeAfter": lambda job, at: job.created_at > at,
    "CreationTimeBefore": lambda job, at: job.created_at < at,
    "LastModifiedTimeAfter": lambda job, at: job.modified_at > at,
    "LastModifiedTimeBefore": lambda job, at: job.modified_at < at,
    "WarmPoolStatusEquals": lambda job, status: job.warm_pool.get("Status") == status,
    "TrainingPlanArnEquals": lambda job, arn: job.resources.get("TrainingPlanArn") == arn,
}


def list_training_jobs(jobs: Sequence[Job], request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the response of ListTrainingJobs.

    As documented by AWS, StatusEquals filters the page after it is cut, so that a page can be short.
    """
    tests = [(FILTERS[name], request[name]) for name in FILTERS if name in request]
    shown, token = page(
        [job for job in jobs if all(passes(job, value) for passes, value in tests)],
        SORT_KEYS[request.get("SortBy", "CreationTime")],
        request.get("NextToken"),
        request.get("MaxResults", DEFAULT_SIZE),
        is_reverse=request.get("SortOrder", "Descending") == "Descending",
    )
    wanted = request.get("StatusEquals")
    answer: dict[str, Any] = {
        "TrainingJobSummaries": [summary(job) for job in shown if wanted in (None, job.status)]
    }
    if token:
        answer["NextToken"] = token
    return answer
