"""The schema: six tables, the types of their columns, and the number of its version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any

import sqlalchemy as sa

from smsweep.core.sweep import SweepState
from smsweep.core.trial import MetricStats, Scalar, TrialState

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MICROSECOND = timedelta(microseconds=1)
SCHEMA = 7  # the newest file in migrations/versions leads here
VERSION_TABLE = "smsweep_version"
metadata = sa.MetaData()
version = sa.Table(
    VERSION_TABLE,
    metadata,
    # The shape is Alembic's own.
    sa.Column("version_num", sa.String(32), primary_key=True, comment="version of this schema, four digits"),
)


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


def _words(kind: type[Enum]) -> sa.Enum:
    return sa.Enum(kind, native_enum=False, length=16, values_callable=lambda words: [w.value for w in words])


def _required(
    name: str, kind: Any, comment: str, *constraints: Any, primary_key: bool = False, default: str | None = None
) -> sa.Column[Any]:
    """default: what rows get that were there before the column."""
    return sa.Column(
        name,
        kind,
        *constraints,
        primary_key=primary_key,
        nullable=False,
        server_default=default,
        comment=comment,
    )


def _optional(name: str, kind: Any, comment: str) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=True, comment=comment)


sweeps = sa.Table(
    "sweeps",
    metadata,
    _required("id", sa.Text, "8 characters of [a-z0-9]", primary_key=True),
    _required("state", _words(SweepState), "running, paused, stopped, cancelled or finished"),
    _required("seed", sa.Text, "all chance follows from it; decimal digits, may be wider than 64 bits"),
    _required("name", sa.Text, "what lists show"),
    _required("project", sa.Text, "W&B project, empty when none was named"),
    _required("entity", sa.Text, "W&B entity, empty when none was named"),
    _required("sweep_yaml", sa.Text, "the config as the user wrote it, or as `smsweep set` changed it"),
    _required("job_yaml", sa.Text, "the job file, as sweep_yaml; empty when there was none"),
    _required("source_hash", sa.Text, "of the source bundle, empty for a Python function"),
    _required(
        "code_hash", sa.Text, "sha256:HEX of the program of scheduler.source, empty without one", default=""
    ),
    _required("prior_runs", Json, "JSON list of labels of earlier trials that inform the search"),
    _required("created_at", UtcTime, "microseconds since 1970, UTC"),
    _required("revision", sa.BigInteger, "grows by one with each change to the sweep or one of its trials"),
    _required("next_number", sa.BigInteger, "number of the next trial; never goes back"),
    _required(
        "config_revision", sa.BigInteger, "number of sweep_yaml and job_yaml, from 1; see revisions", default="1"
    ),
    _required(
        "n_orders",
        sa.BigInteger,
        "grows by one with each order of the user to one of its agents",
        default="0",
    ),
    comment="a W&B sweep: its config and its state",
)
trials = sa.Table(
    "trials",
    metadata,
    _required(
        "sweep_id",
        sa.Text,
        "the sweep it belongs to",
        sa.ForeignKey("sweeps.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column(
        "number",
        sa.BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="from 0 in the order proposed; never used twice within a sweep",
    ),
    _required("params", Json, "JSON object, nested as in the sweep's YAML"),
    _required("state", _words(TrialState), "pending, running, stopping, or how it ended"),
    _required("attempt", sa.BigInteger, "from 0; one job per attempt"),
    _required("reason", sa.Text, "why it is in this state, for a person"),
    _required("asked_by", sa.Text, "who asked it to end: rule, person, agent; empty when nobody did"),
    _required("job_name", sa.Text, "of the current attempt; empty while pending"),
    _required("place", sa.Text, "backend and where it runs; while pending, where its checkpoints are"),
    _required("place_name", sa.Text, "place in the list of its agent; empty for one backend", default=""),
    _required("agent_id", sa.Text, "who holds it; empty when nobody does"),
    _optional("lease_expires_at", UtcTime, "microseconds since 1970, UTC; null when nobody holds it"),
    _required("created_at", UtcTime, "microseconds since 1970, UTC"),
    _optional("started_at", UtcTime, "first claim of the current attempt; microseconds since 1970, UTC"),
    _optional("ended_at", UtcTime, "microseconds since 1970, UTC; null until it has ended"),
    _optional("exit_code", sa.BigInteger, "of the script, where the backend could tell"),
    _required("cursor", sa.Text, "how far the job's log has been read, in the backend's own words"),
    _required("n_points", sa.BigInteger, "points stored and not replaced by a later attempt"),
    _required("metrics", Stats, "JSON object: metric name to [last value, count of numbers, min, max]"),
    _required("summary", Json, "JSON object: what the script set as its own summary"),
    _required("revision", sa.BigInteger, "the sweep's revision when this trial last changed"),
    _required("is_removed", sa.Boolean, "taken out of the sweep by a person"),
    _required(
        "retries", Json, "JSON object: class of failure to how often it was retried after one", default="{}"
    ),
    _required("usage", Json, "JSON object: seconds, dollars and URIs of its jobs so far", default="{}"),
    _optional("confirms", sa.BigInteger, "number of the trial that it repeats with a new seed; null for none"),
    _required("repeat", sa.BigInteger, "which repeat of that trial, from 1; 0 for none", default="0"),
    comment="one assignment of params, its state and what it reported so far",
)
# Literals, not parameters: SQLite uses a partial index only where it can see that the query implies it.
IS_PENDING = sa.and_(trials.c.state == sa.literal_column("'pending'"), ~trials.c.is_removed)
IS_ACTIVE = trials.c.state.in_([sa.literal_column("'running'"), sa.literal_column("'stopping'")])
IS_HELD = trials.c.agent_id != sa.literal_column("''")


def _partial_index(name: str, *columns: sa.Column[Any], where: sa.ColumnElement[bool]) -> None:
    """Index those trials for which something holds."""
    index = sa.Index(name, *columns, sqlite_where=where)

    # Not `postgresql_where=`: its name alone imports that dialect with all its drivers, 40 ms at every start.
    @sa.event.listens_for(trials, "before_create")
    def tell_postgresql(table: sa.Table, connection: sa.Connection, **_: Any) -> None:
        if connection.dialect.name == "postgresql":
            index.dialect_kwargs["postgresql_where"] = where


# No index serves the counts by state: PostgreSQL, while it has no statistics, would take it for a claim and sort.
sa.Index("trials_changed", trials.c.sweep_id, trials.c.revision)


_partial_index("trials_pending", trials.c.sweep_id, trials.c.number, where=IS_PENDING)


_partial_index("trials_active", trials.c.sweep_id, trials.c.state, trials.c.lease_expires_at, where=IS_ACTIVE)


_partial_index("trials_held", trials.c.agent_id, where=IS_HELD)


points = sa.Table(
    "points",
    metadata,
    _required("sweep_id", sa.Text, "the sweep", primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False, comment="the trial's number"),
    sa.Column(
        "seq", sa.BigInteger, primary_key=True, autoincrement=False, comment="order of reporting, with gaps"
    ),
    _required("attempt", sa.BigInteger, "the trial's attempt that reported it"),
    _required("name", sa.Text, "of the metric, nested ones joined by dots"),
    _optional("value", sa.Double, "where it is a finite number"),
    _optional("exact", sa.Text, "as JSON, where it is not a float or not finite; else null"),
    _optional("step", sa.BigInteger, "the script's own step; null for a value matched in a printed line"),
    _required("time", UtcTime, "when it was reported; microseconds since 1970, UTC"),
    sa.ForeignKeyConstraint(
        ["sweep_id", "number"], ["trials.sweep_id", "trials.number"], ondelete="CASCADE", name="points_of_trial"
    ),
    sqlite_with_rowid=False,  # the rows of a trial lie together, in order
    comment="what the scripts reported, one row a value",
)
revisions = sa.Table(
    "revisions",
    metadata,
    _required(
        "sweep_id",
        sa.Text,
        "the sweep",
        sa.ForeignKey("sweeps.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False, comment="from 1, at the creation"),
    _required("sweep_yaml", sa.Text, "the config of this revision"),
    _required("job_yaml", sa.Text, "the job file of this revision, empty when there was none"),
    _required("changes", Json, "JSON object: changed key to its new value, null for a removed key"),
    _required("changed_by", sa.Text, "USER@HOST; empty for revision 1"),
    _required("changed_at", UtcTime, "microseconds since 1970, UTC"),
    _required("first_number", sa.BigInteger, "number of the next trial at the time of the change"),
    comment="the configs of a sweep that was changed after its creation",
)
agents = sa.Table(
    "agents",
    metadata,
    _required("id", sa.Text, "HOST:PID:TOKEN", primary_key=True),
    _required("sweep_id", sa.Text, "the sweep that it works on", sa.ForeignKey("sweeps.id", ondelete="CASCADE")),
    _required("slots", Json, "JSON object: place to the number of trials that can run there at the same time"),
    _required("version", sa.Text, "version of smsweep"),
    _required("started_at", UtcTime, "microseconds since 1970, UTC"),
    _required("seen_at", UtcTime, "last heartbeat; microseconds since 1970, UTC"),
    _required("order", sa.Text, "drain, stop; empty for none"),
    _optional("parallel", sa.BigInteger, "number of slots that the user set; null for none"),
    comment="the agents that work on sweeps, as of their last heartbeat",
)
notes = sa.Table(
    "notes",
    metadata,
    _required(
        "sweep_id",
        sa.Text,
        "the sweep it is kept with",
        sa.ForeignKey("sweeps.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    _required("key", sa.Text, "what the note is about", primary_key=True),
    _required("value", Json, "any small JSON value"),
    comment="small facts kept with a sweep, such as where its source lies",
)
