"""Agents whose machine is shut down by a scheduler."""

from __future__ import annotations

from pathlib import Path

import pytest

from smsweep.core.trial import TrialState
from smsweep.engine.agent_state import ShutdownLevel
from tests.support.agent_kit import Kit, logged
from tests.support.scripted_backend import Plot, ScriptedBackend

GRID = {"program": "train.py", "method": "grid", "parameters": {"a": {"values": [1, 2]}}}


@pytest.mark.parametrize(("status", "exit_code"), [("Failed", 143), ("Completed", 0)])
def test_script_that_the_machine_ended_first_is_retried(tmp_path: Path, status: str, exit_code: int) -> None:
    kit = Kit(tmp_path, GRID)
    agent = kit.agent(ScriptedBackend(lambda trial: Plot([], status=status, exit_code=exit_code)))
    agent.tick()
    agent.leave(ShutdownLevel.STOP, machine_goes=True)
    agent.run()
    (trial,) = kit.trials()
    assert (trial.state, trial.attempt, trial.retries) == (TrialState.PENDING, 1, {})


def test_unreachable_trial_does_not_use_up_the_count(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    kit.agent(ScriptedBackend(lambda trial: Plot(ends=False), place="process@there"), agent_id="dead").tick()
    kit.advance(61)
    here = ScriptedBackend(lambda trial: Plot([[logged(0, loss=1)]]), place="process@here")
    kit.agent(here, agent_id="heir", count=1).run()
    assert here.submitted == ["smsweep-abcd1234-0-1"]
