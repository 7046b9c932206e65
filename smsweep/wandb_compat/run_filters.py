"""W&B's filters and orders of runs: a part of MongoDB's query language, evaluated on this machine."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any, TypeVar

from smsweep.errors import UsageError
from smsweep.space.distribution import MISSING

T = TypeVar("T")
Lookup = Callable[
    [str], Any
]  # the name of a field, as in a filter -> its value; MISSING if the run has no such value
Test = Callable[[Lookup], bool]
ValueTest = Callable[[Any], bool]

GROUPS = ("$and", "$or", "$nor")
COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
OPERATORS = ("$eq", "$ne", *COMPARISONS, "$in", "$nin", "$exists", "$regex")
KINDS = (
    "null",
    "number",
    "text",
    "bool",
    "time",
)  # in the order of MongoDB; other values are compared for equality


def make_filter(filters: Mapping[str, Any] | None, fields: Callable[[str], object]) -> Test:
    """Return the function that tests a run.

    Missing fields and types are handled as in MongoDB: `$ne` and `$nin` match runs without the field, and a number
    is never equal to a text or a bool.

    Args:
        filters: W&B's filters, such as `{"state": "finished", "config.lr": {"$lt": 0.1}}`. None or `{}`: all runs.
        fields: Raises UsageError for a field that runs do not have.

    Raises:
        UsageError: If a filter is invalid.
    """
    return _all_of(_conditions({} if filters is None else filters, "filters", fields))


def ordered(
    runs: Iterable[T], order: str, lookup: Callable[[T], Lookup], fields: Callable[[str], object]
) -> list[T]:
    """Sort runs. Runs without a value come last, and runs with equal values keep their order.

    Args:
        runs: The runs.
        order: A field with "+" (ascending, default) or "-" (descending), such as "-summary_metrics.acc".
        lookup: Returns the values of a run.
        fields: Raises UsageError for a field that runs do not have.

    Raises:
        UsageError: If the order is invalid.
    """
    field = str(order).lstrip("+-")
    if not field:
        raise UsageError(f"order: expected a field such as '-summary_metrics.loss', got {order!r}")
    fields(field)
    keyed = [(_sort_key(lookup(run)(field)), run) for run in runs]
    known = sorted(
        ((key, run) for key, run in keyed if key is not None),
        key=operator.itemgetter(0),
        reverse=str(order).startswith("-"),
    )
    return [run for _, run in known] + [run for key, run in keyed if key is None]


def _sort_key(value: Any) -> tuple[int, Any] | None:
    kind = _kind(value)
    return (
        (KINDS.index(kind), value) if kind in KINDS[1:] and value == value else None
    )  # NaN is not equal to itself


def _conditions(filters: object, where: str, fields: Callable[[str], object]) -> Iterator[Test]:
    if not isinstance(filters, Mapping):
        raise UsageError(f"{where}: expected a mapping such as {{'state': 'finished'}}, got {filters!r}")
    for name, condition in filters.items():
        at = f"{where}.{name}"
        if name in GROUPS:
            yield _group(name, condition, at, fields)
        elif not isinstance(name, str) or name.startswith("$"):
            raise UsageError(f"{at}: unknown operator; use {', '.join(GROUPS)} here")
        else:
            fields(name)
            yield _field_test(name, [*_value_tests(condition, at, is_time=is_time(name))])


def _group(name: str, members: object, at: str, fields: Callable[[str], object]) -> Test:
    if not isinstance(members, (list, tuple)) or not members:
        raise UsageError(f"{at}: expected a list of filters, got {members!r}")
    tests = [_all_of(_conditions(each, f"{at}[{index}]", fields)) for index, each in enumerate(members)]
    if name == "$and":
        return lambda lookup: all(test(lookup) for test in tests)
    wanted = name == "$or"
    return lambda lookup: any(test(lookup) for test in tests) is wanted


def _all_of(tests: Iterable[Test]) -> Test:
    every = list(tests)
    return lambda lookup: all(test(lookup) for test in every)


def _field_test(name: str, tests: Iterable[ValueTest]) -> Test:
    every = list(tests)
    return lambda lookup: all(test(lookup(name)) for test in every)


def _value_tests(condition: object, at: str, *, is_time: bool) -> Iterator[ValueTest]:
    names = list(condition) if isinstance(condition, Mapping) else []
    if not any(str(name).startswith("$") for name in names):
        yield _equals(_operand(condition, at, is_time=is_time))
        return
    assert isinstance(condition, Mapping)
    for name, value in condition.items():
        if name not in OPERATORS:
            raise UsageError(f"{at}.{name}: unknown operator; use one of {', '.join(OPERATORS)}")
        yield _operation(name, value, f"{at}.{name}", is_time=is_time)


def _operation(name: str, value: Any, at: str, *, is_time: bool) -> ValueTest:
    if name == "$exists":
        return lambda found: (found is not MISSING) is bool(value)
    if name == "$regex":
        return _matches(value, at)
    if name in ("$in", "$nin"):
        if not isinstance(value, (list, tuple, set)):
            raise UsageError(f"{at}: expected a list of values, got {value!r}")
        tests = [_equals(_operand(each, at, is_time=is_time)) for each in value]
        return lambda found: any(test(found) for test in tests) is (name == "$in")
    operand = _operand(value, at, is_time=is_time)
    if name in COMPARISONS:
        return _compares(COMPARISONS[name], operand)
    test = _equals(operand)
    return test if name == "$eq" else lambda found: not test(found)


def _equals(operand: Any) -> ValueTest:
    def test(found: Any) -> bool:
        if operand is None and found is MISSING:
            return True
        return any(_is_same(each, operand) for each in _candidates(found))

    return test


def _compares(compare: Callable[[Any, Any], bool], operand: Any) -> ValueTest:
    kind = _kind(operand)

    def test(found: Any) -> bool:
        return any(
            kind in KINDS and _kind(each) == kind and bool(compare(each, operand)) for each in _candidates(found)
        )

    return test if kind != "null" else lambda found: False


def _matches(value: Any, at: str) -> ValueTest:
    if not isinstance(value, str):
        raise UsageError(f"{at}: expected a regular expression as text, got {value!r}")
    try:
        search = re.compile(value).search
    except re.error as err:
        raise UsageError(f"{at}: {value!r} is not a valid regular expression: {err}; correct it") from None
    return lambda found: any(isinstance(each, str) and search(each) is not None for each in _candidates(found))


def _candidates(found: Any) -> list[Any]:
    """Return the values to compare: the value, and the elements of a list."""
    if found is MISSING:
        return []
    return [found, *found] if isinstance(found, (list, tuple)) else [found]


def _is_same(left: Any, right: Any) -> bool:
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(_is_same, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_is_same(left[key], right[key]) for key in left)
    return _kind(left) == _kind(right) and bool(left == right)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    return "text" if isinstance(value, str) else "time" if isinstance(value, datetime) else "other"


def is_time(field: str) -> bool:
    """Return True if the values of a field are times."""
    return field in ("createdAt", "created_at")


def _operand(value: Any, at: str, *, is_time: bool) -> Any:
    """Return a value of a filter, with a time as a datetime."""
    if not is_time or value is None:
        return value
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        raise UsageError(f"{at}: {value!r} is not a time; write it as 2026-01-31T12:00:00Z") from None
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)
