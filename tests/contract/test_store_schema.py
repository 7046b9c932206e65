"""Schema on every database: direct creation and migrations give the same tables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from smsweep.errors import SchemaTooNew, StoreUnavailable
from smsweep.store.migrations import upgrade
from smsweep.store.open import SCRIPTS, open_store
from smsweep.store.tables import SCHEMA, VERSION_TABLE, metadata
from tests.support.sweeps import parse_stored


@pytest.fixture
def engine(store_url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(store_url)
    yield engine
    engine.dispose()


def open_and_close(url: str) -> None:
    open_store(url, environ={}, parse=parse_stored).close()


def differences(connection: sa.Connection) -> list[object]:
    options = {"compare_type": True, "version_table": VERSION_TABLE, "include_schemas": False}
    found: list[object] = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    return found


def test_schema_version_is_that_of_last_migration() -> None:
    assert ScriptDirectory(str(SCRIPTS)).get_current_head() == f"{SCHEMA:04}"


def test_migrations_create_tables_in_code(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        upgrade(connection, SCRIPTS)
        assert differences(connection) == []


def test_new_store_has_newest_schema_version(engine: sa.Engine, store_url: str) -> None:
    open_and_close(store_url)
    with engine.connect() as connection:
        found = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one()
    assert found == f"{SCHEMA:04}"


def test_store_of_newer_smsweep_is_refused(engine: sa.Engine, store_url: str) -> None:
    open_and_close(store_url)
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '0099'"))
    with pytest.raises(SchemaTooNew, match=f"version 99, this smsweep knows versions up to {SCHEMA}; upgrade"):
        open_and_close(store_url)


def test_tables_of_other_programs_are_not_changed(engine: sa.Engine, store_url: str) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE trials (trial_id INTEGER)"))
    with pytest.raises(StoreUnavailable, match="tables of another program"):
        open_and_close(store_url)
    assert sa.inspect(engine).get_table_names() == ["trials"]
