"""Append metric points to a trial, and replace points of its earlier attempts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from smsweep.core.trial import MetricPoint, MetricStats, Scalar, Trial
from smsweep.store import queries
from smsweep.store.rows import point_of, point_row


def add_points(connection: sa.Connection, trial: Trial, points: Sequence[MetricPoint]) -> dict[str, Any]:
    """Store the next points of a trial, and return the changed fields of the trial.

    The first points of a new attempt replace points of earlier attempts. See `Store.append_points`.
    """
    if not points:
        return {}
    key = {"of_sweep": trial.sweep_id, "of_number": trial.number}
    last = connection.execute(queries.LAST_POINT, key).one_or_none() if trial.n_points else None
    metrics, n_points = trial.metrics, trial.n_points
    if last is not None and last.attempt < trial.attempt and _drop_replaced(connection, key, points):
        kept = [point_of(row) for row in connection.execute(queries.POINTS, key)]
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
    connection.execute(queries.INSERT_POINTS, rows)
    seen = ((row["name"], point.value, row["step"]) for row, point in zip(rows, points, strict=True))
    return {"metrics": _with(metrics, seen), "n_points": n_points + len(points)}


def _drop_replaced(connection: sa.Connection, key: dict[str, Any], points: Sequence[MetricPoint]) -> bool:
    """Delete the points that the first points of a new attempt replace. Return False if there are none."""
    step = next((row["step"] for row in map(point_row, points) if row["step"] is not None), None)
    if step is None:
        connection.execute(queries.DELETE_POINTS, key)
        return True
    seq = connection.execute(queries.FIRST_AT_STEP, {**key, "at_step": step}).scalar_one()
    if seq is None:
        return False
    connection.execute(queries.DELETE_POINTS_FROM, {**key, "at_step": step, "after_seq": seq})
    return True


def _with(
    metrics: Mapping[str, MetricStats], seen: Iterable[tuple[str, Scalar, int | None]]
) -> dict[str, MetricStats]:
    updated = dict(metrics)
    for name, value, step in seen:
        updated[name] = updated.get(name, MetricStats()).add(value, step)
    return updated
