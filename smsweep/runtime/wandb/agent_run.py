"""Run W&B's own `wandb agent --count 1` as a trial's program, and report how its run ended.

W&B's agent exits with code 0 whatever happens to its runs, starts them outside the job's process group, and is the
only process that knows their params. This module changes only these three things.
"""

from __future__ import annotations

import json
import runpy
import signal
import subprocess
import sys
import time
from importlib import import_module

from smsweep.runtime.script import records
from smsweep.runtime.script.records import IDLE, PARAMS, RUN, STOPPED, flatten, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class _Subprocess:
    """The subprocess module for W&B's agent. Programs that it starts stay in the job's process group."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[bytes]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)

    def Popen(self, *args: Any, process_group: Any = None, preexec_fn: Any = None, **options: Any) -> Any:  # noqa: N802 - its name
        process = subprocess.Popen(*args, **options)
        self.started.append(process)
        return process


def main(argv: list[str]) -> int:
    """Run one agent for one run.

    Args:
        argv: The path of the sweep on W&B's server.

    Returns:
        The run's exit code; 128 + n for signal n.
    """
    try:
        agent: Any = import_module("wandb.wandb_agent")
    except ImportError as err:
        # The last line that does not have smsweep's prefix becomes the trial's failure reason.
        how = f"install wandb for {sys.executable}, in the image or by the source's requirements.txt"
        sys.stderr.write(f"W&B's agent cannot be loaded: {err}; {how}\n")
        return 127
    agent.subprocess = launcher = _Subprocess()
    stopped = _follow(agent.Agent)
    # The script gets each signal directly from the job, and the agent only waits for the script. SIG_IGN would be
    # inherited by the script, so this is a handler.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    code = _run_agent(argv)
    if not launcher.started:
        if code == 0:
            _report({IDLE: True})
        return code
    code = launcher.started[-1].wait()
    if stopped:
        return 0  # W&B's server ordered the stop
    return code if code >= 0 else 128 - code


def _follow(owner: Any) -> list[str]:
    """Report the runs that the server orders. Return a list that collects the runs that it orders to stop."""
    run, stop = owner._command_run, owner._command_stop
    stopped: list[str] = []

    def command_run(self: Any, command: Mapping[str, Any]) -> Any:
        args = {name: item["value"] for name, item in command["args"].items() if name != "_wandb"}
        _report({RUN: command["run_id"], **{PARAMS + name: _text(value) for name, value in flatten(args)}})
        return run(self, command)

    def command_stop(self: Any, command: Mapping[str, Any]) -> Any:
        if not stopped:
            _report({STOPPED: True})
        stopped.append(command["run_id"])
        return stop(self, command)

    owner._command_run, owner._command_stop = command_run, command_stop
    return stopped


def _run_agent(argv: list[str]) -> int:
    sys.argv = ["wandb", "agent", "--count", "1", *argv]
    try:
        runpy.run_module("wandb", run_name="__main__", alter_sys=True)
    except SystemExit as err:
        return err.code if isinstance(err.code, int) else int(err.code is not None)
    return 0


def _text(value: Any) -> Any:
    try:
        return plain(value)
    except TypeError:
        return json.dumps(value)


def _report(summary: Mapping[str, Any]) -> None:
    for record in records.records(records.SUMMARY, summary, time=time.time()):  # noqa: TID251 - no caller has a clock
        records.write_line(record)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
