"""The hash of the program that a sweep's search runs, beside the program's text in the notes."""

from __future__ import annotations

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column(
        "sweeps",
        sa.Column(
            "code_hash",
            sa.Text,
            nullable=False,
            server_default="",
            comment="sha256:HEX of the program of scheduler.source, empty without one",
        ),
    )
    connection = op.get_bind()
    sweeps = sa.table("sweeps", sa.column("id"), sa.column("code_hash"))
    notes = sa.table("notes", sa.column("sweep_id"), sa.column("key"), sa.column("value"))
    for sweep_id, value in connection.execute(
        sa.select(notes.c.sweep_id, notes.c.value).where(notes.c.key == "search_code")
    ).all():
        digest = hashlib.sha256(str(json.loads(value)).encode()).hexdigest()
        connection.execute(sa.update(sweeps).where(sweeps.c.id == sweep_id).values(code_hash=f"sha256:{digest}"))
