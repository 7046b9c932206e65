"""`sweep`, `agent` and `run` for scripts and notebooks: they print what W&B's functions print."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from smsweep.core.trial import Trial, TrialState
from smsweep.engine.agent_state import AgentResult
from smsweep.errors import SmsweepError
from smsweep.runtime.script.records import MESSAGE_PREFIX
from smsweep.services.agents import run_agent
from smsweep.services.labels import full_label, parse_sweep_id
from smsweep.services.sweeps import create
from smsweep.services.views.json_views import show
from smsweep.util.terminal_text import clean, is_kernel
from smsweep.wandb_compat.runs_table import metrics_of, run_id

SILENT = "WANDB_SILENT"  # W&B's own variable
BROKEN = (TrialState.FAILED, TrialState.CRASHED)
MAX_METRICS = 4  # in a line


@functools.wraps(create.sweep)
def sweep(*args: Any, **options: Any) -> str:
    sweep_id = create.sweep(*args, **options)
    _print_created(sweep_id)
    return sweep_id


@functools.wraps(run_agent.agent)
def agent(sweep_id: str, *args: Any, **options: Any) -> AgentResult:
    progress = _Progress(options.pop("on_change", None))
    result = run_agent.agent(sweep_id, *args, **options, on_change=progress.changed)
    progress.finish(parse_sweep_id(full_label(sweep_id)), result)
    return result


@functools.wraps(run_agent.run)
def run(*args: Any, **options: Any) -> AgentResult:
    progress = _Progress(options.pop("on_change", None))
    on_created = options.pop("on_created", None)
    created = []

    def announce(sweep_id: str) -> None:
        created.append(sweep_id)
        _print_created(sweep_id)
        if on_created:
            on_created(sweep_id)

    result = run_agent.run(*args, **options, on_created=announce, on_change=progress.changed)
    progress.finish(created[0], result)
    return result


class _Progress:
    """Prints the start and the end of each run, as W&B's agent does.

    A notebook shows the progress below its cell instead.

    Args:
        on_change: The user's own listener; None for none.
    """

    def __init__(self, on_change: Callable[[Trial], None] | None) -> None:
        self._on_change = on_change
        self._known: dict[int, tuple[TrialState, int]] = {}  # number -> state and attempt of the last message

    def changed(self, trial: Trial) -> None:
        state = (trial.state, trial.attempt)
        if self._known.get(trial.number) != state and not is_kernel():
            self._known[trial.number] = state
            self._print(trial)
        if trial.state.is_terminal:
            self._known.pop(trial.number, None)
        if self._on_change:
            self._on_change(trial)

    def _print(self, trial: Trial) -> None:
        run, reason = run_id(trial), clean(_first_line(trial.reason))
        if trial.state is TrialState.RUNNING:
            _log(f"Agent Starting Run: {run} with config:")
            for name, value in trial.params.items():
                _log(f"\t{clean(name)}: {clean(str(value))}")
        elif trial.state in BROKEN:
            _log(f"ERROR Run {run} errored: {reason}")
        elif trial.state.is_terminal:
            values = [f"{clean(name)}={clean(str(value))}" for name, value in metrics_of(trial).items()][
                :MAX_METRICS
            ]
            _log(
                " ".join(
                    [f"Agent Finished Run: {run}", *([f"({trial.state.value}: {reason})"] if reason else values)]
                )
            )
        elif reason:  # it waits for another attempt, or ends
            _log(f"Run {run} is {trial.state.value}: {reason}")

    def finish(self, sweep_id: str, result: AgentResult) -> None:
        """Print the end of the agent, and its failures by reason."""
        if is_kernel():
            return
        _log("Sweep Agent: Exiting.")
        ended = ", ".join(f"{n} {state.value}" for state, n in result.ended.items() if n) or "no run ended"
        _log(f"Sweep {sweep_id}: {ended}")
        if result.trouble:
            _log(f"ERROR {clean(_first_line(result.trouble))}")
        if not any(result.ended.get(state) for state in BROKEN):
            return
        with suppress(SmsweepError):  # the store is not available any more
            for failure in show(sweep_id)["failures"]:
                _log(f"ERROR {failure['trials']} x {clean(failure['reason'])}")
        _log(f"Read a log with: smsweep logs {sweep_id}/N")


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def _print_created(sweep_id: str) -> None:
    if not _is_silent():
        print("Create sweep with ID:", sweep_id, flush=True)  # noqa: T201 - W&B's line, which scripts parse


def _log(line: str) -> None:
    if not _is_silent():
        print(MESSAGE_PREFIX + line, file=sys.stderr, flush=True)  # noqa: T201 - W&B's client prints there


def _is_silent() -> bool:
    return os.environ.get(SILENT, "").lower() in ("true", "1")
