"""The revisions of the config of a sweep."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column(
        "sweeps",
        sa.Column(
            "config_revision",
            sa.BigInteger,
            nullable=False,
            server_default="1",
            comment="number of sweep_yaml and job_yaml, from 1; see revisions",
        ),
    )
    if op.get_context().dialect.name == "postgresql":  # SQLite has no comments
        for name, comment in (
            ("sweep_yaml", "the config as the user wrote it, or as `smsweep set` changed it"),
            ("job_yaml", "the job file, as sweep_yaml; empty when there was none"),
        ):
            op.alter_column("sweeps", name, existing_type=sa.Text, existing_nullable=False, comment=comment)
    op.create_table(
        "revisions",
        sa.Column(
            "sweep_id",
            sa.Text,
            sa.ForeignKey("sweeps.id", ondelete="CASCADE"),
            primary_key=True,
            comment="the sweep",
        ),
        sa.Column(
            "number", sa.BigInteger, primary_key=True, autoincrement=False, comment="from 1, at the creation"
        ),
        sa.Column("sweep_yaml", sa.Text, nullable=False, comment="the config of this revision"),
        sa.Column(
            "job_yaml", sa.Text, nullable=False, comment="the job file of this revision, empty when there was none"
        ),
        sa.Column(
            "changes",
            sa.Text,
            nullable=False,
            comment="JSON object: changed key to its new value, null for a removed key",
        ),
        sa.Column("changed_by", sa.Text, nullable=False, comment="USER@HOST; empty for revision 1"),
        sa.Column("changed_at", sa.BigInteger, nullable=False, comment="microseconds since 1970, UTC"),
        sa.Column(
            "first_number",
            sa.BigInteger,
            nullable=False,
            comment="number of the next trial at the time of the change",
        ),
        comment="the configs of a sweep that was changed after its creation",
    )
