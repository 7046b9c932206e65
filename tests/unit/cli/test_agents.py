"""`smsweep agents`: all agents with their slots and trials, and the orders that they carry out."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from smsweep._version import __version__
from smsweep.core.agent_record import AgentRecord
from smsweep.services.workspace import Workspace
from tests.support.json_documents import check
from tests.unit.cli.conftest import Cli

TRAIN = """
import os, time, smsweep
run = smsweep.init()
while os.path.exists(os.environ["WAIT"]):
    time.sleep(0.05)
smsweep.log({"loss": run.config.a})
"""
SWEEP = """
program: train.py
method: grid
metric: {name: loss, goal: minimize}
parameters: {a: {values: [1, 2, 3, 4, 5, 6]}}
"""
ENOUGH_S = 120.0
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def sweep_id(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (folder / "train.py").write_text(TRAIN)
    (folder / "sweep.yaml").write_text(SWEEP)
    (folder / "wait").touch()
    monkeypatch.setenv("WAIT", str(folder / "wait"))
    return cli("sweep", "sweep.yaml").out.strip()


@pytest.fixture
def start(folder: Path, sweep_id: str) -> Iterator[Start]:
    """Start agents in the background."""
    agents = []

    def start_one(*options: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "smsweep", "agent", sweep_id, *options]
        agents.append(subprocess.Popen(argv, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return agents[-1]

    yield start_one
    (folder / "wait").unlink(missing_ok=True)
    for agent in agents:
        agent.wait(ENOUGH_S)


def until(is_true: Callable[[], object]) -> None:
    deadline = time.monotonic() + ENOUGH_S
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def listed(cli: Cli) -> list[dict[str, object]]:
    found: list[dict[str, object]] = check("smsweep agents", cli("agents", "--json").out)
    return found


def states(cli: Cli, sweep_id: str) -> dict[str, int]:
    counts: dict[str, int] = json.loads(cli("show", sweep_id, "--json").out)["trials"]
    return counts


def test_agents_of_a_sweep_are_listed_and_counted(cli: Cli, sweep_id: str, start: Start, folder: Path) -> None:
    assert "pending" in cli("ls").out
    assert "no agent runs" in cli("agents").err
    workers = [start("--parallel", "2"), start()]
    until(lambda: states(cli, sweep_id) == {"running": 3})
    found = listed(cli)
    assert [agent["state"] for agent in found] == ["running"] * 2
    assert {str(agent["id"]).split(":")[1] for agent in found} == {str(worker.pid) for worker in workers}
    assert sorted(sum(agent["slots"].values()) for agent in found) == [1, 2]  # type: ignore[attr-defined]
    assert sorted(number for agent in found for number in agent["trials"]) == [0, 1, 2]  # type: ignore[attr-defined]
    assert {agent["version"] for agent in found} == {__version__}
    assert f"{workers[0].pid}" in cli("agents", "--sweep", sweep_id).out
    assert "running, 2 agents" in cli("show", sweep_id).out
    assert "running, 2 agents" in cli("ls").out
    (folder / "wait").unlink()
    assert [worker.wait(ENOUGH_S) for worker in workers] == [0, 0]
    assert listed(cli) == []


def test_drained_agent_finishes_its_trials_and_exits(cli: Cli, sweep_id: str, start: Start, folder: Path) -> None:
    worker = start("--parallel", "2")
    until(lambda: states(cli, sweep_id) == {"running": 2})
    done = cli("agents", "drain", str(worker.pid))
    assert "it exits after its running trials" in done.err
    until(lambda: listed(cli)[0]["state"] == "draining")
    (folder / "wait").unlink()
    worker.wait(ENOUGH_S)
    assert states(cli, sweep_id) == {"finished": 2}
    assert listed(cli) == []


def test_stopped_agent_returns_its_trials_to_the_queue(cli: Cli, sweep_id: str, start: Start) -> None:
    worker = start("--parallel", "2")
    until(lambda: states(cli, sweep_id) == {"running": 2})
    assert cli("agents", "stop", str(worker.pid)).code == 0
    worker.wait(ENOUGH_S)
    assert states(cli, sweep_id) == {"pending": 2}


def test_parallel_of_a_running_agent_changes(cli: Cli, sweep_id: str, start: Start) -> None:
    worker = start()
    until(lambda: states(cli, sweep_id) == {"running": 1})
    assert cli("agents", "set", str(worker.pid), "--parallel", "3").code == 0
    until(lambda: states(cli, sweep_id) == {"running": 3})
    until(lambda: list(listed(cli)[0]["slots"].values()) == [3])  # type: ignore[attr-defined]


def test_killed_agent_is_lost_and_takes_no_orders(cli: Cli, sweep_id: str, start: Start) -> None:
    worker = start()
    until(lambda: states(cli, sweep_id) == {"running": 1})
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait(ENOUGH_S)
    assert [agent["state"] for agent in listed(cli)] == ["lost"]
    assert "pending" in cli("ls").out
    refused = cli("agents", "drain", str(worker.pid))
    assert refused.code != 0
    assert "no longer runs" in refused.err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["drain"], "the agent is missing"),
        (["drain", "nobody"], "'nobody': no such agent"),
        (["drop", "x"], "no such action"),
        (["set", "x"], "--parallel is missing"),
        (["drain", "x", "--parallel", "2"], "--parallel is only for set"),
        (["--parallel", "2"], "needs an agent"),
    ],
)
def test_wrong_order_is_refused(cli: Cli, sweep_id: str, arguments: list[str], problem: str) -> None:
    done = cli("agents", *arguments)
    assert done.code != 0
    assert problem in done.err


def test_agent_at_several_places_keeps_its_slots(cli: Cli, sweep_id: str, start: Start) -> None:
    worker = start("--on", "local:1", "--on", "process:1")
    until(lambda: states(cli, sweep_id) == {"running": 2})
    refused = cli("agents", "set", str(worker.pid), "--parallel", "3")
    assert refused.code != 0
    assert "runs at several places" in refused.err


def test_lost_agent_is_listed_for_a_day_and_longer_while_it_holds_trials(cli: Cli, sweep_id: str) -> None:
    with Workspace().store() as store:
        for name in ("away:1:a", "away:2:b"):
            store.put_agent(AgentRecord(id=name, sweep_id=sweep_id, slots={"process@away": 1}))
        store.add_trials(sweep_id, 0, [{"a": 1}])
        store.claim(sweep_id, "away:2:b", "process@away", 60.0)
    with closing(sqlite3.connect(Workspace().dir / "store.db")) as database:
        database.execute("UPDATE agents SET seen_at = seen_at - 2 * 86400 * 1000000")
        database.commit()
    assert [(agent["id"], agent["state"]) for agent in listed(cli)] == [("away:2:b", "lost")]


def test_agent_records_of_a_removed_sweep_are_removed(cli: Cli, sweep_id: str) -> None:
    cli("rm", "-y", sweep_id)
    with Workspace().store() as store:
        assert store.list_agents() == []
