"""Histories of trials with curves, and rules to judge them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from smsweep.core.sweep import EarlyTerminate, Goal, Metric, SweepConfig
from smsweep.core.trial import History, StopDecision, Trial, TrialState
from smsweep.space.space import SearchSpace
from smsweep.stopping.base import StoppingRule
from smsweep.stopping.registry import make_rule


def config(goal: Goal = Goal.MINIMIZE, **rule: Any) -> SweepConfig:
    return SweepConfig(
        method="random",
        space=SearchSpace({}),
        metric=Metric(name="loss", goal=goal),
        early_terminate=EarlyTerminate(type=rule.pop("type"), options=rule),
    )


def rule_of(config: SweepConfig) -> StoppingRule:
    rule = make_rule(config)
    assert rule is not None
    return rule


def curves(*values: Sequence[float], state: TrialState = TrialState.RUNNING) -> History:
    return History(Trial(number=i, params={}, state=state, curve=tuple(curve)) for i, curve in enumerate(values))


def judged(history: History, goal: Goal = Goal.MINIMIZE, **rule: Any) -> list[StopDecision]:
    return rule_of(config(goal, **rule)).judge(history)


def numbers(decisions: list[StopDecision]) -> list[int]:
    return [decision.number for decision in decisions]


TRIALS = st.builds(
    Trial,
    number=st.integers(0, 6),
    params=st.just({}),
    state=st.sampled_from([TrialState.RUNNING, TrialState.RUNNING, TrialState.STOPPING, TrialState.FINISHED]),
    curve=st.lists(st.integers(-3, 3).map(float), max_size=10).map(tuple),
    is_removed=st.sampled_from([False, False, False, True]),
)
UPDATES = st.lists(st.lists(TRIALS, max_size=4), max_size=8)
