from __future__ import annotations

from typing import Any

import pytest

from smsweep.cli.display.agent_log import FailureTally, news
from smsweep.cli.run_agent import check
from smsweep.core.trial import TrialState
from smsweep.engine.agent_state import AgentResult
from smsweep.errors import TrialsFailed


def trial(number: int, state: str, acc: float | None = None, *, reason: str = "", attempt: int = 0) -> Any:
    metrics = {} if acc is None else {"zeal": 1, "acc": acc}
    params = {"a": {"b": 1}}
    return {
        "number": number,
        "state": state,
        "attempt": attempt,
        "reason": reason,
        "metrics": metrics,
        "objective": acc,
        "params": params,
    }


def shown(**trials: int) -> Any:
    return {"trials": trials}


def test_new_metric_is_not_a_change_of_state() -> None:
    seen = FailureTally("s", "acc")
    assert seen.note(trial(0, "running"))
    assert not seen.note(trial(0, "running", 0.5))
    assert seen.note(trial(0, "finished", 0.5))


def test_new_attempt_is_a_change_of_state() -> None:
    seen = FailureTally("s", "acc")
    seen.note(trial(0, "running"))
    assert seen.note(trial(0, "running", attempt=1))


def test_failures_are_counted_by_the_first_line_of_their_reason() -> None:
    seen = FailureTally("s", "acc")
    seen.note(trial(1, "failed", 0.75, reason="boom\nTraceback"))
    seen.note(trial(2, "crashed", reason="boom"))
    seen.note(trial(3, "failed"))
    assert seen.reasons == {"boom": 2, "no reason given": 1}


def test_failures_that_differ_in_the_values_of_options_are_counted_together() -> None:
    seen = FailureTally("s", "acc")
    for number, lr in enumerate((0.1, 0.2)):
        seen.note(trial(number, "failed", reason=f"train.py: error: unrecognized arguments: --lr={lr} --n=3"))
    assert seen.reasons == {"train.py: error: unrecognized arguments: --lr=... --n=...": 2}


def test_news_is_the_reason_or_the_metrics_or_the_params() -> None:
    assert news(trial(0, "running"), "acc") == "a.b=1"
    assert news(trial(0, "running", 0.5), "acc") == "acc=0.5 zeal=1"
    peaked = trial(0, "finished", 0.5)
    peaked["objective"] = 0.75
    assert news(peaked, "acc") == "acc=0.5 (best 0.75) zeal=1"
    assert (
        FailureTally("s", "acc").line(trial(7, "failed", 0.5, reason="bad\x1b[2J\nTraceback")) == "s/7 failed  bad"
    )


def test_tally_shows_traceback_shared_by_all_failures() -> None:
    seen = FailureTally("s", "acc")
    for number in range(3):
        seen.note(trial(number, "failed", reason="KeyError: 'lr'\nTraceback:\n  line 3"))
    with pytest.raises(TrialsFailed) as failed:
        check(
            AgentResult(ended={TrialState.FAILED: 3}, trouble="the first 3 trials failed: 3 x ..."),
            seen,
            shown(failed=3),
        )
    assert str(failed.value).splitlines() == [
        "the first 3 trials failed:",
        "  3 x KeyError: 'lr'",
        "    Traceback:",
        "      line 3",
        "read the log with: smsweep logs s/N",
    ]
    seen.note(trial(3, "failed", reason="ValueError\nTraceback:\n  line 4"))
    with pytest.raises(TrialsFailed) as failed:
        check(AgentResult(ended={TrialState.FAILED: 4}), seen, shown(failed=4))
    assert "Traceback" not in str(failed.value)


@pytest.mark.parametrize(
    ("trials", "summary"),
    [
        ({"failed": 2}, "all 2 trials failed:"),
        (
            {"failed": 2, "finished": 1},
            "all 2 trials of this agent failed; the sweep has 1 trial without a failure:",
        ),
    ],
)
def test_summary_counts_the_trials_of_other_agents(trials: dict[str, int], summary: str) -> None:
    with pytest.raises(TrialsFailed) as failed:
        check(AgentResult(ended={TrialState.FAILED: 2}), FailureTally("s", "acc"), shown(**trials))
    assert str(failed.value).splitlines()[0] == summary
