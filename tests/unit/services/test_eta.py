"""The estimate of the seconds until a sweep ends."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from smsweep.core.trial import Trial, TrialState
from smsweep.services.views.watcher import seconds_left

NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def ended(number: int, took_s: float, state: TrialState = TrialState.FINISHED) -> Trial:
    return Trial(number=number, params={}, state=state, started_at=NOW - timedelta(seconds=took_s), ended_at=NOW)


def running(number: int, for_s: float) -> Trial:
    started_at = NOW - timedelta(seconds=for_s)
    return Trial(number=number, params={}, state=TrialState.RUNNING, started_at=started_at)


def test_remaining_time_is_divided_by_the_active_trials() -> None:
    trials = [ended(0, 10), ended(1, 20), running(2, 5), running(3, 10)]
    assert seconds_left(trials, 6, NOW) == pytest.approx((10 + 5 + 2 * 15) / 2)


def test_remaining_time_is_at_least_that_of_the_newest_trial() -> None:
    assert seconds_left([ended(0, 10), running(1, 0), running(2, 10)], 3, NOW) == 10


def test_remaining_time_is_zero_when_the_last_trial_exceeds_the_mean_duration() -> None:
    assert seconds_left([ended(0, 10), running(1, 60)], 2, NOW) == 0


def test_failed_and_killed_trials_do_not_count_for_the_mean_duration() -> None:
    cut_off = [ended(0, 1, TrialState.FAILED), ended(1, 1, TrialState.KILLED)]
    assert seconds_left([*cut_off, running(2, 1)], 4, NOW) is None
    assert seconds_left([*cut_off, ended(3, 8), running(2, 0)], 4, NOW) == 8


@pytest.mark.parametrize("trials", [[], [ended(0, 10)], [running(0, 5)]])
def test_remaining_time_is_unknown_without_an_ended_and_an_active_trial(trials: list[Trial]) -> None:
    assert seconds_left(trials, 9, NOW) is None


def test_remaining_time_is_unknown_for_an_unlimited_sweep() -> None:
    assert seconds_left([ended(0, 10), running(1, 5)], None, NOW) is None
