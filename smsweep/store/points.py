"""Appending to a trial's points, and what a new attempt does to those of earlier ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from smsweep.core.trial import MetricPoint, MetricStats, Scalar, Trial
from smsweep.store import queries
from smsweep.store.rows import point_of, point_row


def add_points(connection: sa.Connection, trial: Trial, points: Sequence[MetricPoint]) -> dict[str, Any]:
    """Store a trial's next points and return the fields of the trial that follow from them.

    The first points of a new attempt replace what earlier attempts reported at the same or a later step.
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
    """Delete what the first points of a new attempt replace; False when that was nothing."""
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
