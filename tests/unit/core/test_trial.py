"""Counts of trials."""

from __future__ import annotations

from smsweep.core.trial import ended_of


def test_only_trials_in_a_final_state_have_ended() -> None:
    counts = {"finished": 2, "failed": 1, "crashed": 1, "stopped": 1, "killed": 1, "running": 3, "pending": 4}
    assert ended_of(counts, 36) == "6 of 36 ended"
    assert ended_of(counts, None) == "6 ended"
