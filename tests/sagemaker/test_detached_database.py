"""Detached agent with a database store, which the laptop and the agent job share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from smsweep.errors import UsageError
from smsweep.remote.record import read_records
from smsweep.services.agents import detach
from smsweep.services.sweeps import control, create
from tests.sagemaker.conftest import AGENT_ROLE, Account
from tests.sagemaker.test_detached import Laptop, until
from tests.support.postgres import Postgres, run_postgres

PASSWORD = "hunter2-0123456789abcdef"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with run_postgres() as server:
        yield server


@pytest.fixture
def laptop(account: Account) -> Laptop:
    return Laptop(account)


def test_detached_sweep_with_database_finishes_without_this_machine(
    laptop: Laptop, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.new_schema()
    monkeypatch.setenv("SMSWEEP_STORE", url)
    laptop.gate.touch()
    sweep_id = laptop.detach(4, parallel=2)
    until(lambda: laptop.states(sweep_id) == ["running"] * 2)
    postgres.restart()
    control.set_state(sweep_id, "pause")
    assert laptop.show(sweep_id)["state"] == "paused"
    control.set_state(sweep_id, "resume")
    laptop.gate.unlink()
    assert laptop.end(sweep_id)["status"] == "Completed"
    laptop.check(sweep_id, 4)
    assert not Path(".smsweep/store.db").exists()
    assert not [key for key in laptop.account.objects() if "store.db" in key]


def test_password_of_the_store_is_sent_through_secrets_manager_only(
    laptop: Laptop, postgres: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = sa.make_url(postgres.new_schema())
    result = url.update_query_dict({"password": PASSWORD}).render_as_string(hide_password=False)
    monkeypatch.setenv("SMSWEEP_STORE", result)
    sweep_id = create.sweep(laptop.config(1), job=laptop.account.job)
    with pytest.raises(UsageError, match="has a password"):
        detach.start_agent_job(sweep_id, {})
    assert not read_records(Path(".smsweep"))
    vault = laptop.account.client("secretsmanager")
    arn = vault.create_secret(Name="smsweep/store", SecretString=result)["ARN"]
    sweep_id = laptop.detach(1, agent={"role": AGENT_ROLE, "store": arn})
    assert laptop.end(sweep_id)["status"] == "Completed"
    laptop.check(sweep_id, 1)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert [file for file in files if PASSWORD.encode() in file.read_bytes()] == []
