"""W&B's filters and orders of runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import pytest

from smsweep.errors import UsageError
from smsweep.space.distribution import MISSING
from smsweep.wandb_compat.run_filters import Lookup, make_filter, ordered

EVENING = datetime(2026, 1, 31, 20, tzinfo=timezone.utc)
RUNS: list[dict[str, Any]] = [
    {"state": "finished", "lr": 0.1, "createdAt": EVENING},
    {"state": "failed", "lr": 1, "layers": [8, 16]},
    {"state": "finished", "lr": True, "layers": [8]},
    {"state": "running", "lr": "1", "opt": {"name": "adam"}},
    {"state": "running", "lr": None},
]


def known(field: str) -> None:
    if field == "tags":
        raise UsageError("'tags' is not a field")


def lookup(run: dict[str, Any]) -> Lookup:
    return lambda name: run.get(name, MISSING)


def chosen(filters: Mapping[str, Any] | None) -> list[int]:
    matches = make_filter(filters, known)
    return [number for number, run in enumerate(RUNS) if matches(lookup(run))]


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        (None, [0, 1, 2, 3, 4]),
        ({}, [0, 1, 2, 3, 4]),
        ({"state": "finished"}, [0, 2]),
        ({"state": "finished", "lr": 0.1}, [0]),
        ({"state": {"$ne": "finished"}}, [1, 3, 4]),
        ({"state": {"$in": ["failed", "running"]}}, [1, 3, 4]),
        ({"state": {"$nin": ["failed", "running"]}}, [0, 2]),
        ({"state": {"$regex": "^f"}}, [0, 1, 2]),
        ({"lr": 1}, [1]),
        ({"lr": True}, [2]),
        ({"lr": {"$gte": 0.1, "$lt": 1}}, [0]),
        ({"lr": {"$gt": "0"}}, [3]),
        ({"lr": None}, [4]),
        ({"layers": None}, [0, 3, 4]),
        ({"layers": {"$exists": False}}, [0, 3, 4]),
        ({"layers": {"$exists": True}}, [1, 2]),
        ({"layers": {"$ne": 16}}, [0, 2, 3, 4]),
        ({"layers": 8}, [1, 2]),
        ({"layers": [8]}, [2]),
        ({"layers": {"$gt": 8}}, [1]),
        ({"opt": {"name": "adam"}}, [3]),
        ({"$or": [{"lr": 0.1}, {"state": "failed"}]}, [0, 1]),
        ({"$nor": [{"lr": 0.1}, {"state": "failed"}]}, [2, 3, 4]),
        ({"$and": [{"state": "running"}, {"lr": {"$eq": "1"}}]}, [3]),
        ({"createdAt": {"$gte": "2026-01-31T20:00:00Z"}}, [0]),
        ({"createdAt": {"$gt": "2026-01-31"}}, [0]),
        ({"createdAt": {"$gt": "2026-01-31T21:30:00+01:00"}}, []),
    ],
)
def test_filter_selects_runs_as_mongodb_does(filters: Mapping[str, Any] | None, numbers: list[int]) -> None:
    assert chosen(filters) == numbers


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ([], r"filters: expected a mapping such as .*, got \[\]"),
        ({"$not": {}}, r"filters.\$not: unknown operator; use \$and, \$or, \$nor here"),
        ({"lr": {"$near": 1}}, r"filters.lr.\$near: unknown operator; use one of \$eq, .*"),
        ({"$or": {"lr": 1}}, r"filters.\$or: expected a list of filters, got {'lr': 1}"),
        ({"$and": [{"lr": {"$in": 1}}]}, r"filters.\$and\[0\].lr.\$in: expected a list of values, got 1"),
        ({"lr": {"$regex": "("}}, r"filters.lr.\$regex: '\(' is not a valid regular expression: .*"),
        ({"lr": {"$regex": 1}}, r"filters.lr.\$regex: expected a regular expression as text, got 1"),
        ({"createdAt": {"$gt": "today"}}, r"filters.createdAt.\$gt: 'today' is not a time; write it as 2026-.*"),
        ({"tags": "best"}, "'tags' is not a field"),
    ],
)
def test_invalid_filter_raises_an_error_before_runs_are_read(filters: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_filter(filters, known)


@pytest.mark.parametrize(
    ("order", "numbers"),
    [
        ("+lr", [0, 1, 3, 2, 4]),
        ("lr", [0, 1, 3, 2, 4]),
        ("-lr", [2, 3, 1, 0, 4]),
        ("-state", [3, 4, 0, 2, 1]),
        ("+createdAt", [0, 1, 2, 3, 4]),
    ],
)
def test_order_sorts_runs_and_puts_runs_without_a_value_last(order: str, numbers: list[int]) -> None:
    found = ordered(RUNS, order, lookup, known)
    assert [RUNS.index(run) for run in found] == numbers


@pytest.mark.parametrize("order", ["", "+"])
def test_order_without_a_field_is_an_error(order: str) -> None:
    with pytest.raises(UsageError, match="order: expected a field such as"):
        ordered(RUNS, order, lookup, known)
