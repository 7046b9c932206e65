"""The trial that a trial repeats to confirm its value."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column(
        "trials",
        sa.Column(
            "confirms",
            sa.BigInteger,
            nullable=True,
            comment="number of the trial that it repeats with a new seed; null for none",
        ),
    )
    op.add_column(
        "trials",
        sa.Column(
            "repeat",
            sa.BigInteger,
            nullable=False,
            server_default="0",
            comment="which repeat of that trial, from 1; 0 for none",
        ),
    )
