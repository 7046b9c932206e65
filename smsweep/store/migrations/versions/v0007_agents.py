"""The agents that work on sweeps."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column(
        "sweeps",
        sa.Column(
            "n_orders",
            sa.BigInteger,
            nullable=False,
            server_default="0",
            comment="grows by one with each order of the user to one of its agents",
        ),
    )
    op.create_table(
        "agents",
        sa.Column("id", sa.Text, primary_key=True, comment="HOST:PID:TOKEN"),
        sa.Column(
            "sweep_id",
            sa.Text,
            sa.ForeignKey("sweeps.id", ondelete="CASCADE"),
            nullable=False,
            comment="the sweep that it works on",
        ),
        sa.Column(
            "slots",
            sa.Text,
            nullable=False,
            comment="JSON object: place to the number of trials that can run there at the same time",
        ),
        sa.Column("version", sa.Text, nullable=False, comment="version of smsweep"),
        sa.Column("started_at", sa.BigInteger, nullable=False, comment="microseconds since 1970, UTC"),
        sa.Column(
            "seen_at", sa.BigInteger, nullable=False, comment="last heartbeat; microseconds since 1970, UTC"
        ),
        sa.Column("order", sa.Text, nullable=False, comment="drain, stop; empty for none"),
        sa.Column(
            "parallel", sa.BigInteger, nullable=True, comment="number of slots that the user set; null for none"
        ),
        comment="the agents that work on sweeps, as of their last heartbeat",
    )
