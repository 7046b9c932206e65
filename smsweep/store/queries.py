"""All SQL statements. They are built once, and SQLAlchemy compiles each once per database."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, exists, func, insert, select, update

from smsweep.store.rows import SWEEP_FIELDS, TRIAL_FIELDS
from smsweep.store.tables import IS_ACTIVE, IS_HELD, IS_PENDING, notes, points, sweeps, trials

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
TAKE_NUMBERS = (
    update(sweeps)
    .where(_this_sweep, sweeps.c.next_number == bindparam("first_number"), sweeps.c.state == bindparam("in_state"))
    .values(
        next_number=sweeps.c.next_number + bindparam("n"),
        revision=sweeps.c.revision + bindparam("n"),
    )
    .returning(sweeps.c.revision)
)

TRIAL = select(*_trial_columns).where(_this_trial)
TRIAL_TO_CHANGE = TRIAL.with_for_update()
TRIALS = select(*_trial_columns).where(_of_sweep, ~trials.c.is_removed).order_by(trials.c.revision)
CHANGED_TRIALS = (
    select(*_trial_columns).where(_of_sweep, trials.c.revision > bindparam("since")).order_by(trials.c.revision)
)
FIRST_PENDING = (
    select(*_trial_columns)
    .where(_of_sweep, IS_PENDING)
    .order_by(trials.c.number)
    .limit(1)
    .with_for_update(skip_locked=True)
)
FIRST_ABANDONED = (
    select(*_trial_columns)
    .where(_of_sweep, IS_ACTIVE, trials.c.lease_expires_at <= bindparam("now"))
    .order_by(trials.c.lease_expires_at)
    .limit(1)
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
