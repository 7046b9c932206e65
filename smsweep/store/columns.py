"""Column types for times, JSON and metric statistics, with the same encoding in every database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import sqlalchemy as sa

from smsweep.core.trial import MetricStats, Scalar

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MICROSECOND = timedelta(microseconds=1)


def to_json(value: Any) -> str:
    """Encode a value as compact ASCII. NaN and infinities become NaN, Infinity and -Infinity."""
    return json.dumps(value, separators=(",", ":"), default=_plain)


def _plain(value: object) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r} of type {type(value).__name__} cannot be stored: it is not JSON")


class UtcTime(sa.types.TypeDecorator[datetime]):
    """An aware time, stored as microseconds since 1970 in UTC."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:
        return None if value is None else (value - EPOCH) // MICROSECOND

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else EPOCH + timedelta(microseconds=value)


class Json(sa.types.TypeDecorator[Any]):
    """A JSON value, stored as text. JSON types of databases accept neither NaN nor NUL."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str:
        return to_json(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:
        return None if value is None else json.loads(value)


class Stats(sa.types.TypeDecorator[Mapping[str, MetricStats]]):
    """Statistics by metric name, as JSON: {"loss": [last, count, min, max]}, with step and `before` if known."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Mapping[str, MetricStats] | None, dialect: sa.Dialect) -> str:
        return to_json({name: _stats_row(stats) for name, stats in (value or {}).items()})

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> dict[str, MetricStats]:
        return {name: _stats_of(*row) for name, row in json.loads(value or "{}").items()}


def _stats_row(stats: MetricStats) -> list[Any]:
    row = [stats.last, stats.count, stats.min, stats.max]
    return row if stats.before is None else [*row, stats.step, *stats.before]


def _stats_of(
    last: Scalar, count: int, low: float, high: float, step: int | None = None, *before: Any
) -> MetricStats:
    return MetricStats(last=last, count=count, min=low, max=high, step=step, before=before or None)
