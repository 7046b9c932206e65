"""The place of a trial in the list of its agent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column(
        "trials",
        sa.Column(
            "place_name",
            sa.Text,
            nullable=False,
            server_default="",
            comment="place in the list of its agent; empty for one backend",
        ),
    )
    if op.get_bind().dialect.name == "postgresql":  # SQLite stores no comments
        comment = "backend and where it runs; while pending, where its checkpoints are"
        op.alter_column("trials", "place", existing_type=sa.Text, existing_nullable=False, comment=comment)
