"""Return the command that W&B's own agent starts for a run, and its param file. Runs in the `wandb` environment.

stdin: a list of {"command", "program", "params", "environ"}; stdout: a list of {"argv", "param_file"}.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from wandb import wandb_agent  # type: ignore[import-not-found]  # not in ours

started: list[list[str]] = []


class Recorder:
    """Replaces the function of W&B that starts a process."""

    def __init__(self, command: list[str], **_: object) -> None:
        started.append(command)


wandb_agent.AgentProcess = Recorder


def answer(case: dict[str, Any]) -> dict[str, Any]:
    agent = wandb_agent.Agent.__new__(wandb_agent.Agent)  # the constructor needs a server
    agent._sweep_command = list(case["command"])
    agent._function = None
    agent._in_jupyter = agent._forward_signals = False
    agent._run_processes = {}
    os.environ.update(case["environ"])
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(WANDB_DIR=folder, WANDB_SWEEP_ID="s1")
        args = {name: {"value": value} for name, value in case["params"].items()}
        agent._command_run({"run_id": "s1-0", "program": case["program"], "args": args})
        file = Path(folder, "wandb", "sweep-s1", "config-s1-0.yaml")
        found = {
            "argv": [item.replace(folder, "DIR") for item in started.pop()],
            "param_file": file.read_bytes().decode("utf-8"),
        }
    for name in case["environ"]:
        del os.environ[name]
    return found


json.dump([answer(case) for case in json.load(sys.stdin)], sys.stdout)
