"""All SQL statements, which SQLAlchemy compiles once per database, and the writing of metric points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam, delete, exists, func, insert, select, update

from smsweep.core.trial import MetricPoint, MetricStats, Scalar, Trial
from smsweep.store.rows import SWEEP_FIELDS, TRIAL_FIELDS, point_of, point_row
from smsweep.store.tables import IS_ACTIVE, IS_HELD, IS_PENDING, agents, notes, points, revisions, sweeps, trials

_sweep_columns = [sweeps.c[name] for name in SWEEP_FIELDS]
_trial_columns = [trials.c[name] for name in TRIAL_FIELDS]
_this_sweep = sweeps.c.id == bindparam("of_sweep")
_of_sweep = trials.c.sweep_id == bindparam("of_sweep")
_this_trial = _of_sweep & (trials.c.number == bindparam("of_number"))
_of_trial = (points.c.sweep_id == bindparam("of_sweep")) & (points.c.number == bindparam("of_number"))
_in_order = (points.c.number, points.c.seq)

SERVER_TIME = select(func.clock_timestamp())  # the current time, not the begin of the transaction

SWEEP = select(*_sweep_columns).where(_this_sweep)
SWEEP_TO_CHANGE = SWEEP.with_for_update()
SWEEP_STATE = select(sweeps.c.state).where(_this_sweep)
SWEEPS = select(*_sweep_columns).order_by(sweeps.c.created_at.desc(), sweeps.c.id)
INSERT_SWEEP = insert(sweeps)
UPDATE_SWEEP = update(sweeps).where(_this_sweep)
DELETE_SWEEP = delete(sweeps).where(_this_sweep)

# The row lock is held until the commit, so that revisions become visible in order.
# Every transaction locks the trial's row first, so that there are no deadlocks.
NEXT_REVISION = (
    update(sweeps).where(_this_sweep).values(revision=sweeps.c.revision + 1).returning(sweeps.c.revision)
)
RESERVE_NUMBERS = (
    update(sweeps)
    .where(_this_sweep, sweeps.c.next_number == bindparam("first_number"), sweeps.c.state == bindparam("in_state"))
    .values(
        next_number=sweeps.c.next_number + bindparam("n"),
        revision=sweeps.c.revision + bindparam("n"),
    )
    .returning(sweeps.c.revision)
)
RESERVE_NUMBERS_OF_CONFIG = RESERVE_NUMBERS.where(sweeps.c.config_revision == bindparam("of_config"))

NEXT_NUMBER = select(sweeps.c.next_number).where(_this_sweep)
REVISIONS = (
    select(*[column for column in revisions.c if column.name != "sweep_id"])
    .where(revisions.c.sweep_id == bindparam("of_sweep"))
    .order_by(revisions.c.number)
)
INSERT_REVISIONS = insert(revisions)

TRIAL = select(*_trial_columns).where(_this_trial)
TRIAL_TO_CHANGE = TRIAL.with_for_update()
TRIALS = select(*_trial_columns).where(_of_sweep, ~trials.c.is_removed).order_by(trials.c.revision)
CHANGED_TRIALS = (
    select(*_trial_columns).where(_of_sweep, trials.c.revision > bindparam("since")).order_by(trials.c.revision)
)
_is_free = (trials.c.place == "") | (trials.c.place == bindparam("at_place"))  # no other place has its checkpoints
_pending = select(*_trial_columns).where(_of_sweep, IS_PENDING).order_by(trials.c.number).limit(1)
FIRST_PENDING = _pending.where(_is_free).with_for_update(skip_locked=True)
FIRST_PENDING_OR = _pending.where(
    _is_free | trials.c.number.in_(bindparam("continues", expanding=True))
).with_for_update(skip_locked=True)
ABANDONED = (
    select(*_trial_columns)
    .where(_of_sweep, IS_ACTIVE, trials.c.lease_expires_at <= bindparam("now"))
    .order_by(trials.c.lease_expires_at)
    .limit(100)
    .with_for_update(skip_locked=True)
)
ANY_ACTIVE = select(exists().where(_of_sweep, IS_ACTIVE))
COUNTS = (
    select(trials.c.state, func.count().label("n"))
    .where(_of_sweep, ~trials.c.is_removed)
    .group_by(trials.c.state)
    .order_by(trials.c.state)
)
HOLDERS = select(trials.c.agent_id).where(_of_sweep, IS_ACTIVE, IS_HELD).distinct()
INSERT_TRIALS = insert(trials)
UPDATE_TRIAL = update(trials).where(_this_trial)
SET_LEASES = (
    update(trials)
    .where(trials.c.agent_id == bindparam("holder"), IS_HELD, IS_ACTIVE)
    .values(lease_expires_at=bindparam("until"))
    .returning(trials.c.sweep_id, trials.c.number)
)

AGENTS = select(agents).order_by(agents.c.started_at, agents.c.id)
AGENT = select(agents).where(agents.c.id == bindparam("of_agent"))
INSERT_AGENT = insert(agents)
UPDATE_AGENT = update(agents).where(agents.c.id == bindparam("of_agent"))
FORGET_PARALLEL = update(agents).where(agents.c.sweep_id == bindparam("of_sweep")).values(parallel=None)
DELETE_AGENT = delete(agents).where(agents.c.id == bindparam("of_agent"))
DELETE_OLD_AGENTS = delete(agents).where(
    agents.c.sweep_id == bindparam("of_sweep"), agents.c.seen_at < bindparam("before")
)
HELD = select(trials.c.agent_id, trials.c.number).where(IS_ACTIVE, IS_HELD).order_by(trials.c.number)
NEXT_ORDER = (
    update(sweeps)
    .where(_this_sweep)
    .values(n_orders=sweeps.c.n_orders + 1, revision=sweeps.c.revision + 1)
    .returning(sweeps.c.revision)
)

LAST_POINT = select(points.c.seq, points.c.attempt).where(_of_trial).order_by(points.c.seq.desc()).limit(1)
POINTS = select(points).where(_of_trial).order_by(*_in_order)
POINTS_AFTER = POINTS.offset(bindparam("after"))
POINTS_NAMED = POINTS_AFTER.where(points.c.name.in_(bindparam("names", expanding=True)))
INSERT_POINTS = insert(points)
DELETE_POINTS = delete(points).where(_of_trial)
FIRST_AT_STEP = select(func.min(points.c.seq)).where(_of_trial, points.c.step >= bindparam("at_step"))
# A point without a step is deleted if it was reported after the first point of that step.
DELETE_POINTS_FROM = DELETE_POINTS.where(
    (points.c.step >= bindparam("at_step")) | (points.c.step.is_(None) & (points.c.seq > bindparam("after_seq")))
)
# In the order of CHANGED_TRIALS, so that both can be read together.
CURVES = (
    select(points.c.number, points.c.step, points.c.value)
    .join(trials, (trials.c.sweep_id == points.c.sweep_id) & (trials.c.number == points.c.number))
    .where(_of_sweep, trials.c.revision > bindparam("since"), points.c.name == bindparam("metric"))
    .order_by(trials.c.revision, points.c.seq)
)

NOTE = select(notes.c.value).where(notes.c.sweep_id == bindparam("of_sweep"), notes.c.key == bindparam("of_key"))
INSERT_NOTE = insert(notes)
UPDATE_NOTE = update(notes).where(notes.c.sweep_id == bindparam("of_sweep"), notes.c.key == bindparam("of_key"))


def add_points(connection: sa.Connection, trial: Trial, points: Sequence[MetricPoint]) -> dict[str, Any]:
    """Store the next points of a trial, and return the changed fields of the trial.

    The first points of a new attempt replace points of earlier attempts. See `Store.append_points`.
    """
    if not points:
        return {}
    key = {"of_sweep": trial.sweep_id, "of_number": trial.number}
    last = connection.execute(LAST_POINT, key).one_or_none() if trial.n_points else None
    metrics, n_points = trial.metrics, trial.n_points
    if last is not None and last.attempt < trial.attempt and _drop_replaced(connection, key, points):
        kept = [point_of(row) for row in connection.execute(POINTS, key)]
        metrics, n_points = _with({}, ((point.name, point.value, point.step) for point in kept)), len(kept)
    first_seq = 0 if last is None else last.seq + 1
    rows = [
        {
            "sweep_id": trial.sweep_id,
            "number": trial.number,
            "seq": seq,
            "attempt": trial.attempt,
            **point_row(point),
        }
        for seq, point in enumerate(points, first_seq)
    ]
    connection.execute(INSERT_POINTS, rows)
    seen = ((row["name"], point.value, row["step"]) for row, point in zip(rows, points, strict=True))
    return {"metrics": _with(metrics, seen), "n_points": n_points + len(points)}


def _drop_replaced(connection: sa.Connection, key: dict[str, Any], points: Sequence[MetricPoint]) -> bool:
    """Delete the points that the first points of a new attempt replace. Return False if there are none."""
    step = next((row["step"] for row in map(point_row, points) if row["step"] is not None), None)
    if step is None:
        connection.execute(DELETE_POINTS, key)
        return True
    seq = connection.execute(FIRST_AT_STEP, {**key, "at_step": step}).scalar_one()
    if seq is None:
        return False
    connection.execute(DELETE_POINTS_FROM, {**key, "at_step": step, "after_seq": seq})
    return True


def _with(
    metrics: Mapping[str, MetricStats], seen: Iterable[tuple[str, Scalar, int | None]]
) -> dict[str, MetricStats]:
    updated = dict(metrics)
    for name, value, step in seen:
        updated[name] = updated.get(name, MetricStats()).add(value, step)
    return updated
