from __future__ import annotations

from typing import Any

from smsweep.cli.tally import Tally
from smsweep.sdk.api import ApiRun
from smsweep.space.space import SearchSpace
from smsweep.sweeps import Goal, Metric, Sweep, SweepConfig
from smsweep.trials import MetricStats, Trial, TrialState

METRIC = Metric(name="acc", goal=Goal.MAXIMIZE)


def run(number: int, state: TrialState, acc: float | None = None, *, reason: str = "", attempt: int = 0) -> ApiRun:
    stats = MetricStats() if acc is None else MetricStats().add(acc)
    trial = Trial(
        sweep_id="s",
        number=number,
        params={"a": {"b": 1}},
        state=state,
        attempt=attempt,
        reason=reason,
        metrics={} if acc is None else {"acc": stats},
    )
    return ApiRun(trial, Sweep(id="s", config=SweepConfig(method="random", space=SearchSpace({}), metric=METRIC)))


def tally(**shown: Any) -> Tally:
    metric = {"name": "acc", "goal": "maximize", "target": None}
    return Tally({"id": "s", "metric": metric, "best": None, "expected_trial_count": 9, "trials": {}, **shown})


def test_a_metric_alone_is_no_news() -> None:
    seen = tally()
    assert seen.note(run(0, TrialState.RUNNING))
    assert not seen.note(run(0, TrialState.RUNNING, 0.5))


def test_a_new_attempt_is_news() -> None:
    seen = tally()
    seen.note(run(0, TrialState.RUNNING))
    assert seen.note(run(0, TrialState.RUNNING, attempt=1))


def test_the_best_may_still_run() -> None:
    seen = tally()
    seen.note(run(0, TrialState.FINISHED, 0.5))
    seen.note(run(1, TrialState.RUNNING, 0.75))
    assert seen.best == (0.75, "s/1")


def test_a_trial_that_fails_is_not_the_best_any_more() -> None:
    seen = tally()
    seen.note(run(0, TrialState.FINISHED, 0.5))
    seen.note(run(1, TrialState.RUNNING, 0.75))
    seen.note(run(1, TrialState.FAILED, 0.75, reason="boom\nTraceback"))
    assert seen.best == (0.5, "s/0")
    assert seen.reasons == {"boom": 1}


def test_what_earlier_agents_did_counts() -> None:
    seen = tally(trials={"finished": 4, "running": 1}, best={"number": 2, "objective": 0.9})
    seen.note(run(5, TrialState.FINISHED, 0.8))
    assert (seen.n_ended, seen.best) == (5, (0.9, "s/2"))


def test_news_of_a_fresh_trial_are_its_params() -> None:
    assert tally().news(run(0, TrialState.RUNNING)) == "a.b=1"
