"""Conversion between rows of tables and values, and the columns of a trial that change with its state."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from smsweep.core.job import JobTemplate, job_name
from smsweep.core.sweep import Sweep, SweepConfig
from smsweep.core.trial import MetricPoint, Scalar, Trial, TrialState
from smsweep.store.tables import to_json

# Columns have the names of the fields that they store.
SWEEP_FIELDS = tuple(f.name for f in fields(Sweep) if f.name not in ("config", "job"))
TRIAL_FIELDS = tuple(f.name for f in fields(Trial) if f.name != "curve")

MAX_BIGINT = 2**63 - 1


def sweep_of(row: Sequence[Any], config: SweepConfig, job: JobTemplate) -> Sweep:
    """Return the sweep of a row, whose columns are SWEEP_FIELDS in order."""
    values = dict(zip(SWEEP_FIELDS, row, strict=True))
    values["seed"] = int(values["seed"])
    values["prior_runs"] = tuple(values["prior_runs"])
    return Sweep(config=config, job=job, **values)


def sweep_row(sweep: Sweep) -> dict[str, Any]:
    labels = {name: clean(getattr(sweep, name)) for name in ("name", "project", "entity")}
    return {name: getattr(sweep, name) for name in SWEEP_FIELDS} | labels | {"seed": str(sweep.seed)}


def trial_of(row: Sequence[Any]) -> Trial:
    """Return the trial of a row, whose columns are TRIAL_FIELDS in order."""
    return Trial(**dict(zip(TRIAL_FIELDS, row, strict=True)))


def trial_row(trial: Trial) -> dict[str, Any]:
    return {name: getattr(trial, name) for name in TRIAL_FIELDS}


def point_row(point: MetricPoint) -> dict[str, Any]:
    """Return the columns of a point, without those of its trial."""
    number, exact = _split(point.value)
    step = point.step
    return {
        "name": clean(point.name),
        "value": number,
        "exact": exact,
        # A script can use any int as a step. A point whose step does not fit into a BIGINT is stored without it.
        "step": step if step is None or -MAX_BIGINT <= step <= MAX_BIGINT else None,
        "time": point.time,
    }


def point_of(row: Any) -> MetricPoint:
    return MetricPoint(name=row.name, value=_join(row.value, row.exact), step=row.step, time=row.time)


def _split(value: Scalar) -> tuple[float | None, str | None]:
    """Return a number to compare by, and JSON of the exact value; None for each if it is not needed."""
    if isinstance(value, float) and math.isfinite(value):
        return value, "-0.0" if value == 0 and math.copysign(1, value) < 0 else None  # SQLite drops the sign
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value), to_json(value)
        except OverflowError:
            pass  # too large for a float: stored, but not compared
    return None, to_json(value)


def _join(number: float | None, exact: str | None) -> Scalar:
    value: Scalar = number if exact is None else json.loads(exact)
    return value


def curve_of(rows: Iterable[tuple[int | None, float | None]]) -> tuple[float, ...]:
    """Return the finite values of one metric.

    Args:
        rows: (step, number or None), in the order in which they were reported. Of consecutive rows with the same
            step, the last one counts.
    """
    curve: list[float | None] = []
    previous: int | None = None
    for step, number in rows:
        if step is not None and step == previous:
            curve[-1] = number
        else:
            curve.append(number)
        previous = step
    return tuple(number for number in curve if number is not None)


def clean(text: str) -> str:
    """Replace characters that a database cannot store: NUL and lone surrogates."""
    if text.isprintable():
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def started(trial: Trial, now: datetime) -> dict[str, Any]:
    """Return the changes of a trial that becomes running."""
    return {
        "state": TrialState.RUNNING,
        "reason": "",
        "job_name": job_name(trial.sweep_id, trial.number, trial.attempt),
        "started_at": now,
    }


def moved(
    trial: Trial, to: TrialState, now: datetime, lasted_s: float | None = None, *, keeps_place: bool = False
) -> dict[str, Any]:
    """Return the changes of a trial that gets a new state.

    Args:
        trial: The trial before.
        to: The new state. If it is running, the lease ends now, so that any agent can claim the trial.
        now: The current time, aware UTC.
        lasted_s: See `Store.move`.
        keeps_place: See `Store.move`.
    """
    changes: dict[str, Any] = {"state": to}
    if to is TrialState.RUNNING:
        return started(trial, now) | {"lease_expires_at": now}
    if to is TrialState.STOPPING:
        return changes
    changes |= {"agent_id": "", "lease_expires_at": None}
    if to is TrialState.PENDING:
        return changes | {
            "attempt": trial.attempt + 1,
            "asked_by": "",
            "job_name": "",
            "place": trial.place if keeps_place else "",
            "place_name": trial.place_name if keeps_place else "",
            "cursor": "",
            "started_at": None,
            "ended_at": None,
        }
    if lasted_s is not None and trial.started_at is not None:
        return changes | {"ended_at": trial.started_at + timedelta(seconds=lasted_s)}
    return changes | {"ended_at": now}
