"""`smsweep enqueue` that is killed with SIGKILL around its calls to the store."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.acceptance.test_kill import dying
from tests.support.working_dir import WorkingDir

TRAIN = """
import os, smsweep
x = smsweep.init().config["x"]
with open(os.path.join(smsweep.config["here"], "started"), "a") as file:
    print(x, file=file)
smsweep.log({"loss": x})
"""


@pytest.mark.parametrize(
    ("when", "call", "is_added"),
    [
        ("after", "store.set_sweep_state", False),
        ("before", "store.add_trials", False),
        ("after", "store.add_trials", True),
    ],
)
def test_killed_enqueue_adds_the_trial_once_or_not_at_all(
    tmp_path: Path, when: str, call: str, is_added: bool
) -> None:
    config = {
        "program": "train.py",
        "method": "random",
        "run_cap": 1,
        "parameters": {"x": {"values": [1, 2, 3]}, "here": {"value": str(tmp_path)}},
    }
    workdir = WorkingDir(tmp_path, {"train.py": TRAIN, "sweep.yaml": config})
    sweep_id = workdir.sweep()
    workdir.call("agent", sweep_id)
    workdir.call("enqueue", sweep_id, "x=3", command=dying(when, call, 1), code=-signal.SIGKILL)
    workdir.call("agent", sweep_id)
    trials = [trial["params"]["x"] for trial in workdir.trials(sweep_id)]
    assert trials[1:] == [3] * is_added
    assert workdir.json("show", sweep_id)["state"] == "finished"
    assert (tmp_path / "started").read_text().split() == [str(x) for x in trials]
