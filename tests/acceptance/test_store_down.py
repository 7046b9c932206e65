"""An agent that starts while its database is down waits like a running agent. A wrong URL ends the agent."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.postgres import Postgres, run_postgres
from tests.support.working_dir import TIMEOUT_S, WorkingDir, grid

TRAIN = "import smsweep\nsmsweep.log({'loss': smsweep.init().config.x})"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for this module only, because the tests stop it."""
    with run_postgres() as server:
        yield server


@pytest.fixture
def workdir(tmp_path: Path, postgres: Postgres) -> WorkingDir:
    workdir = WorkingDir(tmp_path, {"train.py": TRAIN, "sweep.yaml": grid(x=[1, 2])})
    workdir.environ["SMSWEEP_STORE"] = postgres.new_schema()
    return workdir


def read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stderr is not None
    read = ""
    for line in process.stderr:
        read += line
        if text in line:
            return read
    raise AssertionError(f"the agent printed no {text!r}, but {read}")


def test_agent_started_while_server_is_down_waits_then_works(workdir: WorkingDir, postgres: Postgres) -> None:
    sweep_id = workdir.sweep()
    postgres.stop()
    try:
        with workdir.start("agent", sweep_id, "--json") as agent:
            output = read_until(agent, "this agent waits for the store")
            postgres.start()
            _, rest = agent.communicate(timeout=TIMEOUT_S)
    finally:
        postgres.restart()
    assert "no server answers there" in output
    assert (agent.returncode, rest.count("this agent waits for the store")) == (0, 0)
    assert [trial["state"] for trial in workdir.trials(sweep_id)] == ["finished"] * 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_agent_waiting_for_server_exits_at_signal(
    workdir: WorkingDir, postgres: Postgres, number: signal.Signals, code: int
) -> None:
    sweep_id = workdir.sweep()
    postgres.stop()
    try:
        with workdir.start("agent", sweep_id) as agent:
            read_until(agent, "this agent waits for the store")
            agent.send_signal(number)
            _, rest = agent.communicate(timeout=TIMEOUT_S)
    finally:
        postgres.start()
    assert agent.returncode == code, rest
    assert "Traceback" not in rest


def test_other_commands_report_unreachable_server_without_waiting(workdir: WorkingDir, postgres: Postgres) -> None:
    sweep_id = workdir.sweep()
    postgres.stop()
    try:
        for words in (("show", sweep_id), ("sweep", "sweep.yaml"), ("run", "sweep.yaml")):
            assert "no server answers there" in workdir.call(*words, code=1).stderr
    finally:
        postgres.start()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("smsweep@", "nobody@", 'role "nobody" does not exist'),
        ("/postgres?", "/typo?", 'database "typo" does not exist'),
        ("search_path%3Dtest_", "search_path%3Dtypo_", "no schema of its search_path exists"),
    ],
)
def test_agent_exits_at_invalid_store_url(workdir: WorkingDir, old: str, new: str, says: str) -> None:
    sweep_id = workdir.sweep()
    url = workdir.environ["SMSWEEP_STORE"]
    assert old in url
    ended = workdir.call("agent", sweep_id, code=1, environ={"SMSWEEP_STORE": url.replace(old, new)})
    assert says in ended.stderr
    assert "waits" not in ended.stderr


def test_agent_exits_at_unknown_host(workdir: WorkingDir) -> None:
    sweep_id = workdir.sweep()
    url = "postgresql://smsweep@no-such-host.invalid/postgres"
    ended = workdir.call("agent", sweep_id, code=1, environ={"SMSWEEP_STORE": url})
    assert "no-such-host.invalid" in ended.stderr
    assert "waits" not in ended.stderr


def test_agent_started_while_file_is_locked_waits(tmp_path: Path) -> None:
    workdir = WorkingDir(tmp_path, {"train.py": TRAIN, "sweep.yaml": grid(x=[1, 2])})
    workdir.environ["SMSWEEP_STORE"] = f"sqlite:///{tmp_path}/store.db?timeout=0.01"
    sweep_id = workdir.sweep()
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with workdir.start("agent", sweep_id) as agent:
            read_until(agent, "another process keeps it locked")
            other.execute("ROLLBACK")
            other.close()
            agent.communicate(timeout=TIMEOUT_S)
    assert agent.returncode == 0
    assert [trial["state"] for trial in workdir.trials(sweep_id)] == ["finished"] * 2
