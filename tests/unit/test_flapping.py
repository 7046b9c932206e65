"""When an agent gives up on a sweep whose trials fail."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from smsweep.flapping import Flapping
from smsweep.trials import Trial, TrialState

START = datetime(2026, 1, 2, tzinfo=timezone.utc)
LATE = START + timedelta(hours=1)
TRACEBACK = "KeyError: 'lr'\n  File \"train.py\", line 3"


def failed(reason: str) -> Trial:
    return Trial(number=0, params={}, state=TrialState.FAILED, reason=reason)


def test_three_equal_tracebacks_are_enough_also_late_and_are_shown() -> None:
    flapping = Flapping(START)
    assert [bool(flapping.note(failed(TRACEBACK), LATE)) for _ in range(2)] == [False, False]
    trouble = flapping.note(failed(TRACEBACK), LATE)
    assert trouble.startswith("3 trials failed in the very same way")
    assert TRACEBACK in trouble


def test_different_tracebacks_go_on_until_the_fifth() -> None:
    flapping = Flapping(START)
    assert [bool(flapping.note(failed(f"KeyError: {n}"), LATE)) for n in range(5)] == [False] * 4 + [True]


def test_a_success_forgives_equal_tracebacks() -> None:
    flapping = Flapping(START)
    flapping.note(Trial(number=0, params={}, state=TrialState.FINISHED), LATE)
    assert not any(flapping.note(failed(TRACEBACK), LATE) for _ in range(9))
