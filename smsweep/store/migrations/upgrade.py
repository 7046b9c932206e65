"""Run the migrations of a schema that is older than this smsweep."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

SCRIPTS = Path(__file__).parent


def upgrade(connection: sa.Connection, scripts: Path = SCRIPTS) -> None:
    """Upgrade to the newest version, within the connection's transaction: all or nothing."""
    command.upgrade(_config(connection, scripts), "head")


def head(scripts: Path = SCRIPTS) -> str | None:
    return ScriptDirectory(str(scripts)).get_current_head()


def _config(connection: sa.Connection, scripts: Path) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
