"""What a trial's jobs cost and left behind, and what it was retried after."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for name, comment in (
        ("retries", "JSON object: class of failure to how often it was retried after one"),
        ("usage", "JSON object: seconds, dollars and URIs of its jobs so far"),
    ):
        # Both databases add a column with a constant default without copying the table.
        op.add_column("trials", sa.Column(name, sa.Text, nullable=False, server_default="{}", comment=comment))
