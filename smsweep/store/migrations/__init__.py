"""Migrations from older schemas. Released files in versions/ never change."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config


def upgrade(connection: sa.Connection, scripts: Path) -> None:
    """Upgrade to the newest version, in the transaction of the connection.

    Args:
        connection: The database.
        scripts: The folder with env.py and versions/.
    """
    command.upgrade(_config(connection, scripts), "head")


def _config(connection: sa.Connection, scripts: Path) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
