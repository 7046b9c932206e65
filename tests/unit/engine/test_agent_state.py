"""The result of an agent."""

from __future__ import annotations

from smsweep.core.trial import TrialState
from smsweep.engine.agent_state import AgentResult


def test_result_is_readable_in_a_notebook() -> None:
    ended = {TrialState.FINISHED: 4, TrialState.FAILED: 1, TrialState.KILLED: 0}
    assert repr(AgentResult(ended=ended)) == "<AgentResult: 4 finished, 1 failed>"
    result = AgentResult(ended={}, trouble="the first 3 trials failed: 3 x ...", asked_by="person")
    assert repr(result) == "<AgentResult: no trial ended; interrupted; the first 3 trials failed>"
