"""Lists of training jobs in pages, the tokens for the next page, and Search."""

from __future__ import annotations

import base64
import binascii
import json
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, TypeVar

from smsweep.aws import request_model
from smsweep.emulator import api_error
from smsweep.emulator.api.documents import summary
from smsweep.emulator.api_error import ApiError
from smsweep.emulator.jobs.job import Job

T = TypeVar("T")
MAX_FILTERS = 20  # API: maximum number of filters, nested ones included
Record = Mapping[str, Any]
ORDERINGS: Mapping[str, Callable[[Any, Any], bool]] = {
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}
TIMES = frozenset({"CreationTime", "LastModifiedTime", "TrainingStartTime", "TrainingEndTime"})


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
    page_items = ordered[:size]
    return page_items, make_token(key(page_items[-1])) if len(ordered) > size else None


DEFAULT_SIZE = 10
# Resource of Search -> its shape in the API model
SHAPES = {"TrainingJob": "TrainingJob", "HyperParameterTuningJob": "HyperParameterTuningJobSearchEntity"}
# Of training jobs and tuning jobs
SORT_KEYS: Mapping[str, Callable[[Any], tuple[Any, ...]]] = {
    "Name": lambda job: (job.name,),
    "CreationTime": lambda job: (job.created_at, job.name),
    "Status": lambda job: (job.status, job.name),
}
# Filter -> function that returns True if a training job or tuning job matches its value
SHARED_FILTERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "NameContains": lambda job, text: text in job.name,
    "CreationTimeAfter": lambda job, at: job.created_at > at,
    "CreationTimeBefore": lambda job, at: job.created_at < at,
    "LastModifiedTimeAfter": lambda job, at: job.modified_at > at,
    "LastModifiedTimeBefore": lambda job, at: job.modified_at < at,
}
FILTERS: Mapping[str, Callable[[Job, Any], bool]] = {
    **SHARED_FILTERS,
    "WarmPoolStatusEquals": lambda job, status: job.warm_pool.get("Status") == status,
    "TrainingPlanArnEquals": lambda job, arn: job.resources.get("TrainingPlanArn") == arn,
}


def list_training_jobs(jobs: Sequence[Job], request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the response of ListTrainingJobs.

    As documented by AWS, StatusEquals filters the page after it is cut, so that a page can be short.
    """
    tests = [(FILTERS[name], request[name]) for name in FILTERS if name in request]
    page_items, token = page(
        [job for job in jobs if all(passes(job, value) for passes, value in tests)],
        SORT_KEYS[request.get("SortBy", "CreationTime")],
        request.get("NextToken"),
        request.get("MaxResults", DEFAULT_SIZE),
        is_reverse=request.get("SortOrder", "Descending") == "Descending",
    )
    wanted = request.get("StatusEquals")
    answer: dict[str, Any] = {
        "TrainingJobSummaries": [summary(job) for job in page_items if wanted in (None, job.status)]
    }
    if token:
        answer["NextToken"] = token
    return answer


def search(resource: str, records: Sequence[Record], request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the response of Search: one page of the records that match the expression.

    Args:
        resource: TrainingJob or HyperParameterTuningJob.
        records: All records.
        request: Parameters of the call.
    """
    expression = request.get("SearchExpression", {})
    if _count(expression) > MAX_FILTERS:
        raise api_error.invalid(f"SearchExpression has more than {MAX_FILTERS} filters.")
    _check_names(expression, SHAPES[resource])
    matching = [record for record in records if _matches(record, expression)]
    sort_by = request.get("SortBy", "CreationTime")
    page_items, token = page(
        matching,
        lambda record: (*_sort_key(record, sort_by), record[f"{resource}Name"]),
        request.get("NextToken"),
        request.get("MaxResults", DEFAULT_SIZE),
        is_reverse=request.get("SortOrder", "Descending") == "Descending",
    )
    answer: dict[str, Any] = {
        "Results": [{resource: record} for record in page_items],
        "TotalHits": {"Value": len(matching), "Relation": "EqualTo"},
    }
    if token:
        answer["NextToken"] = token
    return answer


def _count(expression: Mapping[str, Any]) -> int:
    nested = sum(len(part["Filters"]) for part in expression.get("NestedFilters", ()))
    parts = sum(map(_count, expression.get("SubExpressions", ())))
    return len(expression.get("Filters", ())) + nested + parts


def _check_names(expression: Mapping[str, Any], shape: str) -> None:
    """Raise ApiError for a property that records of a shape do not have."""
    nested = expression.get("NestedFilters", ())
    rules = [*expression.get("Filters", ()), *(rule for part in nested for rule in part["Filters"])]
    names = [*(rule["Name"] for rule in rules), *(part["NestedPropertyName"] for part in nested)]
    for name in names:
        if name.partition(".")[0] not in {"Metrics", "Parents"} | request_model.members(shape):
            raise api_error.invalid(f"Unknown property name: {name}")
    for part in expression.get("SubExpressions", ()):
        _check_names(part, shape)


def _matches(record: Record, expression: Mapping[str, Any]) -> bool:
    verdicts = [_passes(_values(record, item["Name"]), item) for item in expression.get("Filters", ())]
    verdicts += [_has_nested(record, item) for item in expression.get("NestedFilters", ())]
    verdicts += [_matches(record, item) for item in expression.get("SubExpressions", ())]
    if not verdicts:
        return True
    combine = any if expression.get("Operator") == "Or" else all
    return combine(verdicts)


def _has_nested(record: Record, nested: Mapping[str, Any]) -> bool:
    """Return True if one item of a list matches all filters. Their names start with the name of the list."""
    prefix = nested["NestedPropertyName"]
    return any(
        all(_passes(_values(item, rule["Name"].removeprefix(f"{prefix}.")), rule) for rule in nested["Filters"])
        for item in _values(record, prefix)
    )


def _passes(values: list[Any], rule: Mapping[str, Any]) -> bool:
    """Return True if any value of a property matches; for NotEquals and NotExists, if all values do."""
    kind, wanted = str(rule.get("Operator", "Equals")), rule.get("Value")
    if kind in ("Exists", "NotExists"):
        return bool(values) == (kind == "Exists")
    if wanted is None:
        raise api_error.invalid(f"Filter {rule['Name']} needs a Value for operator {kind}.")
    name = rule["Name"]
    if kind == "Equals":
        return any(_as_text(value) == wanted for value in values)
    if kind == "NotEquals":
        return all(_as_text(value) != wanted for value in values)
    if kind == "In":
        return any(_as_text(value) in wanted.split(",") for value in values)
    if kind == "Contains":
        return any(wanted in _as_text(value) for value in values)
    limit = _comparable(name, wanted)
    if limit is None:
        raise api_error.invalid(f"Filter {name}: {wanted!r} cannot be compared with numbers or times.")
    numbers = [number for value in values if (number := _comparable(name, value)) is not None]
    return any(ORDERINGS[kind](number, limit) for number in numbers)


def _values(record: Any, name: str) -> list[Any]:
    """Return the values at a dotted name. There are several if the name leads through a list."""
    if name.startswith("Tags."):
        key = name.removeprefix("Tags.")
        return [tag["Value"] for tag in record.get("Tags", ()) if tag["Key"] == key]
    if name.startswith("Metrics."):
        metric = name.removeprefix("Metrics.")
        return [it["Value"] for it in record.get("FinalMetricDataList", ()) if it["MetricName"] == metric]
    return list(_walk(record, name))


def _walk(value: Any, name: str) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _walk(item, name)
    elif not name:
        yield value
    elif isinstance(value, Mapping):
        # The name of a hyperparameter can have dots.
        for key in value:
            if name == key or name.startswith(f"{key}."):
                yield from _walk(value[key], name[len(key) + 1 :])


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _comparable(name: str, value: Any) -> float | None:
    """Return a number, or a time in seconds since the epoch; None for other text."""
    try:
        if name in TIMES and isinstance(value, str):
            at = datetime.fromisoformat(value.replace("Z", "+00:00"))
            return (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp()
        return float(value)
    except (TypeError, ValueError):
        return None


def _sort_key(record: Record, name: str) -> tuple[Any, ...]:
    """Return a key that sorts records without the property first, then numbers, then text."""
    values = _values(record, name)
    if not values:
        return (0, 0)
    is_number = isinstance(values[0], (int, float))
    return (1, values[0]) if is_number else (2, _as_text(values[0]))
