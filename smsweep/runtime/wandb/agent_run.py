"""Runs W&B's own `wandb agent --count 1` as a trial's program, and tells how the run it was given went.

W&B's agent ends with exit code 0 whatever becomes of its runs, starts them where no signal to the job reaches
them, and only it knows their params. All else is its own business.
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
from smsweep.runtime.script.run_identity import IDLE, PARAMS, RUN, STOPPED
from smsweep.runtime.script.scalars import flatten, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class _Subprocess:
    """The subprocess module as W&B's agent shall see it: what it starts stays in the job's process group."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[bytes]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)

    def Popen(self, *args: Any, process_group: Any = None, preexec_fn: Any = None, **options: Any) -> Any:  # noqa: N802 - its name
        process = subprocess.Popen(*args, **options)
        self.started.append(process)
        return process


def main(argv: list[str]) -> int:
    """Run one agent for one run. argv: the sweep's path. Returns the run's exit code, 128 + n for a signal."""
    try:
        agent: Any = import_module("wandb.wandb_agent")
    except ImportError as err:
        # The trial's reason, as the last line that is not smsweep's own.
        how = f"install wandb for {sys.executable}, in the image or by the source's requirements.txt"
        sys.stderr.write(f"W&B's agent cannot be loaded: {err}; {how}\n")
        return 127
    agent.subprocess = started = _Subprocess()
    told = _follow(agent.Agent)
    # The script gets each signal from the job directly; the agent only waits for it. A handler, for what is
    # ignored outright is ignored in the script, too.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    code = _run_agent(argv)
    if not started.started:
        if code == 0:
            _report({IDLE: True})
        return code
    code = started.started[-1].wait()
    if told:
        return 0  # its end was W&B's wish
    return code if code >= 0 else 128 - code


def _follow(owner: Any) -> list[str]:
    """Report what the agent is told to run; the list returned gets the runs it is told to stop."""
    run, stop = owner._command_run, owner._command_stop
    told: list[str] = []

    def command_run(self: Any, command: Mapping[str, Any]) -> Any:
        args = {name: item["value"] for name, item in command["args"].items() if name != "_wandb"}
        _report({RUN: command["run_id"], **{PARAMS + name: _text(value) for name, value in flatten(args)}})
        return run(self, command)

    def command_stop(self: Any, command: Mapping[str, Any]) -> Any:
        if not told:
            _report({STOPPED: True})
        told.append(command["run_id"])
        return stop(self, command)

    owner._command_run, owner._command_stop = command_run, command_stop
    return told


def _run_agent(argv: list[str]) -> int:
    sys.argv = ["wandb", "agent", "--count", "1", *argv]
    try:
        runpy.run_module("wandb", run_name="__main__", alter_sys=True)
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    return 0


def _text(value: Any) -> Any:
    try:
        return plain(value)
    except TypeError:
        return json.dumps(value)


def _report(summary: Mapping[str, Any]) -> None:
    for record in records.records(records.SUMMARY, summary, time=time.time()):  # noqa: TID251 - nobody hands a clock in
        records.write_line(record)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
