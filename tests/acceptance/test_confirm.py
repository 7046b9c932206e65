"""`smsweep confirm` that is killed with SIGKILL around its calls to the store, and runs again."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_kill import dying
from tests.support.working_dir import WorkingDir

TRAIN = """
import os, smsweep
x, seed = smsweep.init().config["x"], int(os.environ.get("SMSWEEP_REPEAT", "0"))
with open(os.path.join(smsweep.config["here"], "started"), "a") as file:
    print(x, seed, file=file)
smsweep.log({"loss": x + (x * 7 + seed * 11) % 5})
"""
CONFIRM = ("--top", "3", "--repeats", "2", "--run")


def made(folder: Path) -> tuple[WorkingDir, str]:
    """Return a working directory, and the id of its finished sweep."""
    config = {
        "program": "train.py",
        "method": "grid",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"x": {"values": [1, 2, 3, 4, 5]}, "here": {"value": str(folder)}},
    }
    folder.mkdir(exist_ok=True)
    workdir = WorkingDir(folder, {"train.py": TRAIN, "sweep.yaml": config})
    sweep_id = workdir.sweep()
    workdir.call("agent", sweep_id)
    return workdir, sweep_id


def repeats(workdir: WorkingDir, sweep_id: str) -> list[Any]:
    trials = workdir.trials(sweep_id)
    return [(trial["number"], trial["confirms"], trial["repeat"], trial["objective"]) for trial in trials[5:]]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The repeats of a command that is not killed."""
    workdir, sweep_id = made(tmp_path_factory.mktemp("expected") / "sweep")
    workdir.call("confirm", sweep_id, *CONFIRM)
    return repeats(workdir, sweep_id)


@pytest.mark.parametrize(
    ("when", "call", "n"),
    [
        ("before", "store.put_note", 1),
        ("after", "store.put_note", 1),
        ("after", "store.set_sweep_state", 1),
        ("before", "store.add_trials", 1),
        ("after", "store.add_trials", 2),
        ("after", "backend.submit", 2),
        ("after", "store.move", 3),
    ],
)
def test_killed_confirm_adds_the_same_repeats_in_the_end(
    tmp_path: Path, expected: list[Any], when: str, call: str, n: int
) -> None:
    workdir, sweep_id = made(tmp_path)
    workdir.call("confirm", sweep_id, *CONFIRM, command=dying(when, call, n), code=-signal.SIGKILL)
    workdir.call("confirm", sweep_id, *CONFIRM)
    assert repeats(workdir, sweep_id) == expected
    assert workdir.json("show", sweep_id)["state"] == "finished"
    started = (tmp_path / "started").read_text().splitlines()
    assert len(started) == len(set(started)) == 5 + len(expected)
