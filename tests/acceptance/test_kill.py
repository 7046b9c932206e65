"""kill -9 of an agent at any step: the next agent continues, and no trial is lost or repeated."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from smsweep.services.workspace import read_stored
from smsweep.store.base import Store
from smsweep.store.open import open_store
from tests.support.working_dir import WorkingDir, grid

# Appends a line to `started` at each start, then logs three points.
TRAIN = """
import os, time, smsweep
run = smsweep.init()
with open(os.path.join(run.config.here, "started"), "a") as file:
    file.write(f"{run.config.x}\\n")
for epoch in range(3):
    smsweep.log({"loss": run.config.x - epoch})
while os.path.exists(os.path.join(run.config.here, "wait")):
    time.sleep(0.02)
"""
# Steps between a first trial without a failure and a second one. test_crash_points.py has all others.
STEPS = [
    ("after", "store.claim", 2),
    ("after", "backend.submit", 2),
]


@pytest.fixture
def workdir(tmp_path: Path) -> WorkingDir:
    return WorkingDir(tmp_path, {"train.py": TRAIN, "sweep.yaml": grid(x=[1, 2], here=str(tmp_path))})


def dying(when: str, call: str, n: int) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.support.kill_points", when, call, str(n))


@contextmanager
def opened(workdir: WorkingDir) -> Iterator[Store]:
    environ = {"SMSWEEP_DIR": str(workdir.folder / ".smsweep")}
    with closing(open_store(environ=environ, parse=read_stored)) as store:
        yield store


def losses(store: Store, sweep_id: str, number: int) -> list[object]:
    return [point.value for point in store.read_points(sweep_id, number)]


@pytest.mark.parametrize(("when", "call", "n"), STEPS)
def test_next_agent_continues_after_kill_at_each_step(workdir: WorkingDir, when: str, call: str, n: int) -> None:
    sweep_id = workdir.sweep()
    workdir.call("agent", sweep_id, command=dying(when, call, n), code=-signal.SIGKILL)
    workdir.call("agent", sweep_id)
    assert (workdir.folder / "started").read_text() == "1\n2\n"
    with opened(workdir) as store:
        trials = sorted(store.list_trials(sweep_id), key=lambda trial: trial.number)
        assert [(t.params["x"], t.state, t.attempt) for t in trials] == [(1, "finished", 0), (2, "finished", 0)]
        assert [losses(store, sweep_id, number) for number in (0, 1)] == [[1, 0, -1], [2, 1, 0]]
        assert store.get_sweep(sweep_id).state == "finished"


def test_agent_killed_before_first_write_draws_same_trials_again(tmp_path: Path) -> None:
    config = {
        "program": "train.py",
        "method": "random",
        "run_cap": 3,
        "parameters": {"x": {"min": 0.0, "max": 1.0}, "here": {"value": str(tmp_path)}},
    }
    workdir = WorkingDir(tmp_path, {"train.py": TRAIN, "sweep.yaml": config})
    planned = [
        trial["params"] for trial in workdir.json("plan", "sweep.yaml", "--seed", "5", "--n", "3")["trials"]
    ]
    sweep_id = workdir.sweep("--seed", "5")
    workdir.call("agent", sweep_id, command=dying("before", "store.add_trials", 1), code=-signal.SIGKILL)
    assert workdir.trials(sweep_id) == []
    workdir.call("agent", sweep_id)
    assert [trial["params"] for trial in workdir.trials(sweep_id)] == planned


@pytest.mark.parametrize("when", ["before", "after"])
def test_next_agent_completes_stop_of_killed_agent(workdir: WorkingDir, when: str) -> None:
    (workdir.folder / "wait").touch()
    sweep_id = workdir.sweep()
    with workdir.start("agent", sweep_id, command=dying(when, "backend.stop", 1)) as agent:
        assert agent.stderr is not None
        until_started(workdir)
        for message in ("Ctrl-C again stops", "Ctrl-C again kills"):
            agent.send_signal(signal.SIGINT)
            assert any(message in line for line in agent.stderr)
        assert agent.wait(timeout=60) == -signal.SIGKILL
    assert [trial["state"] for trial in workdir.trials(sweep_id)] == ["stopping"]
    workdir.call("agent", sweep_id, "--count", "1")
    (ended,) = workdir.trials(sweep_id)
    assert (ended["state"], ended["reason"], ended["attempt"]) == ("killed", "stopped by Ctrl-C", 0)


def test_every_point_is_stored_once_when_agents_are_killed(tmp_path: Path) -> None:
    script = "import smsweep\nfor step in range(40_000):\n    smsweep.log({'loss': step})"
    workdir = WorkingDir(tmp_path, {"train.py": script, "sweep.yaml": grid(x=1)})
    sweep_id = workdir.sweep()
    for when in ("before", "after", "before", "after"):  # each agent reads at most 1 MiB of the 3 MiB log
        workdir.call("agent", sweep_id, command=dying(when, "store.append_points", 1), code=-signal.SIGKILL)
    workdir.call("agent", sweep_id)
    with opened(workdir) as store:
        assert losses(store, sweep_id, 0) == list(range(40_000))


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_set_is_complete_or_absent_and_the_running_agent_continues(workdir: WorkingDir, when: str) -> None:
    (workdir.folder / "wait").touch()
    sweep_id = workdir.sweep()
    change = ("set", sweep_id, "parameters.x.values=[1, 3]", "run_cap=9", "stop_if=loss > 99", "budget.trials=8")
    with workdir.start("agent", sweep_id) as agent:
        until_started(workdir)
        workdir.call(*change, command=dying(when, "store.change_config", 1), code=-signal.SIGKILL)
        revisions = workdir.json("show", sweep_id)["revisions"]
        assert len(revisions) == {"before": 1, "after": 2}[when]
        again = workdir.call(*change)
        assert ("nothing changed" in again.stderr) == (when == "after")
        (workdir.folder / "wait").unlink()
        _, err = agent.communicate(timeout=60)
        assert agent.returncode == 0, err
    _, changed = workdir.json("show", sweep_id)["revisions"]
    assert changed["changes"] == {
        "parameters.x.values": [1, 3],
        "run_cap": 9,
        "stop_if": "loss > 99",
        "budget.trials": 8,
    }
    assert (workdir.folder / "started").read_text() == "1\n3\n"
    assert [trial["state"] for trial in workdir.trials(sweep_id)] == ["finished", "finished"]


@pytest.mark.parametrize(
    ("when", "call"),
    [("before", "store.add_trials"), ("after", "store.add_trials"), ("after", "store.claim")],
)
def test_next_agent_continues_after_kill_of_an_agent_that_applies_a_revision(
    workdir: WorkingDir, when: str, call: str
) -> None:
    (workdir.folder / "wait").touch()
    sweep_id = workdir.sweep()
    with workdir.start("agent", sweep_id, command=dying(when, call, 2)) as agent:
        until_started(workdir)
        workdir.call("set", sweep_id, "parameters.x.values=[1, 3]")
        (workdir.folder / "wait").unlink()
        agent.communicate(timeout=60)
        assert agent.returncode == -signal.SIGKILL
    workdir.call("agent", sweep_id)
    assert (workdir.folder / "started").read_text() == "1\n3\n"
    with opened(workdir) as store:
        trials = sorted(store.list_trials(sweep_id), key=lambda trial: trial.number)
        assert [(t.params["x"], t.state, t.attempt) for t in trials] == [(1, "finished", 0), (3, "finished", 0)]
        assert [revision.number for revision in store.list_revisions(sweep_id)] == [1, 2]


def until_started(workdir: WorkingDir) -> None:
    deadline = time.monotonic() + 30
    while not (workdir.folder / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
