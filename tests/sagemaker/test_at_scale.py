"""Hundreds of concurrent training jobs stay within the rate limits of AWS."""

from __future__ import annotations

from pathlib import Path

import pytest

from smsweep.core.trial import TrialState
from tests.support.simulated_sagemaker import AWS, calls, most_in_a_second, run

N = 500


@pytest.mark.slow
def test_agent_with_500_trials_is_never_throttled(tmp_path: Path) -> None:
    outcome, simulation = run(tmp_path, N, train_s=480, faults=AWS, least_sleep_s=1.0)
    assert outcome.ended == {TrialState.FINISHED: N}
    assert simulation.most_alive == N
    found = calls(simulation)
    assert "ThrottlingException" not in {entry.get("code") for entry in simulation.ledger.read()}
    assert all(most_in_a_second(found[action]) <= limit for action, limit in AWS.throttle.items())
    assert (len(found["CreateTrainingJob"]), len(found["DescribeTrainingJob"])) == (N, N)
    assert len(found["ListTrainingJobs"]) < 2 * N
