"""The first schema: sweeps, trials, points, notes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "sweeps",
        sa.Column("id", sa.Text, primary_key=True, nullable=False, comment="8 characters of [a-z0-9]"),
        sa.Column(
            "state", sa.String(16), nullable=False, comment="running, paused, stopped, cancelled or finished"
        ),
        sa.Column(
            "seed",
            sa.Text,
            nullable=False,
            comment="all chance follows from it; decimal digits, may be wider than 64 bits",
        ),
        sa.Column("name", sa.Text, nullable=False, comment="what lists show"),
        sa.Column("project", sa.Text, nullable=False, comment="W&B project, empty when none was named"),
        sa.Column("entity", sa.Text, nullable=False, comment="W&B entity, empty when none was named"),
        sa.Column("sweep_yaml", sa.Text, nullable=False, comment="the config as the user wrote it; never changes"),
        sa.Column(
            "job_yaml",
            sa.Text,
            nullable=False,
            comment="the job file as the user wrote it, empty when there was none",
        ),
        sa.Column(
            "source_hash", sa.Text, nullable=False, comment="of the source bundle, empty for a Python function"
        ),
        sa.Column(
            "prior_runs",
            sa.Text,
            nullable=False,
            comment="JSON list of labels of earlier trials that inform the search",
        ),
        sa.Column("created_at", sa.BigInteger, nullable=False, comment="microseconds since 1970, UTC"),
        sa.Column(
            "revision",
            sa.BigInteger,
            nullable=False,
            comment="grows by one with each change to the sweep or one of its trials",
        ),
        sa.Column(
            "next_number", sa.BigInteger, nullable=False, comment="number of the next trial; never goes back"
        ),
        comment="a W&B sweep: its config and its state",
    )
    op.create_table(
        "notes",
        sa.Column(
            "sweep_id",
            sa.Text,
            sa.ForeignKey("sweeps.id", ondelete="CASCADE"),
            primary_key=True,
            nullable=False,
            comment="the sweep it is kept with",
        ),
        sa.Column("key", sa.Text, primary_key=True, nullable=False, comment="what the note is about"),
        sa.Column("value", sa.Text, nullable=False, comment="any small JSON value"),
        comment="small facts kept with a sweep, such as where its source lies",
    )
    op.create_table(
        "trials",
        sa.Column(
            "sweep_id",
            sa.Text,
            sa.ForeignKey("sweeps.id", ondelete="CASCADE"),
            primary_key=True,
            nullable=False,
            comment="the sweep it belongs to",
        ),
        sa.Column(
            "number",
            sa.BigInteger,
            primary_key=True,
            autoincrement=False,
            nullable=False,
            comment="from 0 in the order proposed; never used twice within a sweep",
        ),
        sa.Column("params", sa.Text, nullable=False, comment="JSON object, nested as in the sweep's YAML"),
        sa.Column("state", sa.String(16), nullable=False, comment="pending, running, stopping, or how it ended"),
        sa.Column("attempt", sa.BigInteger, nullable=False, comment="from 0; one job per attempt"),
        sa.Column("reason", sa.Text, nullable=False, comment="why it is in this state, for a person"),
        sa.Column(
            "asked_by",
            sa.Text,
            nullable=False,
            comment="who asked it to end: rule, person, agent; empty when nobody did",
        ),
        sa.Column("job_name", sa.Text, nullable=False, comment="of the current attempt; empty while pending"),
        sa.Column("place", sa.Text, nullable=False, comment="backend and where it runs; empty while pending"),
        sa.Column("agent_id", sa.Text, nullable=False, comment="who holds it; empty when nobody does"),
        sa.Column(
            "lease_expires_at",
            sa.BigInteger,
            nullable=True,
            comment="microseconds since 1970, UTC; null when nobody holds it",
        ),
        sa.Column("created_at", sa.BigInteger, nullable=False, comment="microseconds since 1970, UTC"),
        sa.Column(
            "started_at",
            sa.BigInteger,
            nullable=True,
            comment="first claim of the current attempt; microseconds since 1970, UTC",
        ),
        sa.Column(
            "ended_at",
            sa.BigInteger,
            nullable=True,
            comment="microseconds since 1970, UTC; null until it has ended",
        ),
        sa.Column(
            "exit_code", sa.BigInteger, nullable=True, comment="of the script, where the backend could tell"
        ),
        sa.Column(
            "cursor",
            sa.Text,
            nullable=False,
            comment="how far the job's log has been read, in the backend's own words",
        ),
        sa.Column(
            "n_points", sa.BigInteger, nullable=False, comment="points stored and not replaced by a later attempt"
        ),
        sa.Column(
            "metrics",
            sa.Text,
            nullable=False,
            comment="JSON object: metric name to [last value, count of numbers, min, max]",
        ),
        sa.Column(
            "summary", sa.Text, nullable=False, comment="JSON object: what the script set as its own summary"
        ),
        sa.Column(
            "revision", sa.BigInteger, nullable=False, comment="the sweep's revision when this trial last changed"
        ),
        sa.Column("is_removed", sa.Boolean, nullable=False, comment="taken out of the sweep by a person"),
        comment="one assignment of params, its state and what it reported so far",
    )
    op.create_table(
        "points",
        sa.Column("sweep_id", sa.Text, primary_key=True, nullable=False, comment="the sweep"),
        sa.Column(
            "number",
            sa.BigInteger,
            primary_key=True,
            autoincrement=False,
            nullable=False,
            comment="the trial's number",
        ),
        sa.Column(
            "seq",
            sa.BigInteger,
            primary_key=True,
            autoincrement=False,
            nullable=False,
            comment="order of reporting, with gaps",
        ),
        sa.Column("attempt", sa.BigInteger, nullable=False, comment="the trial's attempt that reported it"),
        sa.Column("name", sa.Text, nullable=False, comment="of the metric, nested ones joined by dots"),
        sa.Column("value", sa.Double, nullable=True, comment="where it is a finite number"),
        sa.Column(
            "exact", sa.Text, nullable=True, comment="as JSON, where it is not a float or not finite; else null"
        ),
        sa.Column(
            "step",
            sa.BigInteger,
            nullable=True,
            comment="the script's own step; null for a value matched in a printed line",
        ),
        sa.Column(
            "time", sa.BigInteger, nullable=False, comment="when it was reported; microseconds since 1970, UTC"
        ),
        sa.ForeignKeyConstraint(
            ["sweep_id", "number"],
            ["trials.sweep_id", "trials.number"],
            ondelete="CASCADE",
            name="points_of_trial",
        ),
        sqlite_with_rowid=False,
        comment="what the scripts reported, one row a value",
    )
    op.create_index(
        "trials_active",
        "trials",
        ["sweep_id", "state", "lease_expires_at"],
        sqlite_where=sa.text("state IN ('running', 'stopping')"),
        postgresql_where=sa.text("state IN ('running', 'stopping')"),
    )
    op.create_index("trials_changed", "trials", ["sweep_id", "revision"])
    op.create_index(
        "trials_held",
        "trials",
        ["agent_id"],
        sqlite_where=sa.text("agent_id != ''"),
        postgresql_where=sa.text("agent_id != ''"),
    )
    op.create_index(
        "trials_pending",
        "trials",
        ["sweep_id", "number"],
        sqlite_where=sa.text("state = 'pending' AND is_removed = 0"),
        postgresql_where=sa.text("state = 'pending' AND NOT is_removed"),
    )
