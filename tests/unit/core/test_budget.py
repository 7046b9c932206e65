"""Budgets of sweeps are never exceeded."""

from __future__ import annotations

import pytest

from smsweep.core.budget import BudgetTracker, budgets_of
from smsweep.core.job import JobTemplate, Price
from smsweep.core.trial import Trial, TrialState
from smsweep.errors import ConfigError

HOUR = {"StoppingCondition": {"MaxRuntimeInSeconds": 3600}}


def tracker(**budget: float) -> BudgetTracker:
    return BudgetTracker(budgets_of(JobTemplate(request=HOUR, price=Price(per_hour=2.0), budget=budget)))


def trial(number: int, state: TrialState, **usage: float) -> Trial:
    return Trial(number=number, params={}, state=state, usage=usage)


def test_tracker_without_budget_covers_any_number_of_trials() -> None:
    assert tracker().n_affordable() > 1000


def test_active_trials_count_with_their_worst_case() -> None:
    money = tracker(usd=10)
    assert money.n_affordable() == 5
    money.update([trial(0, TrialState.RUNNING), trial(1, TrialState.STOPPING)])
    assert money.n_affordable() == 3


def test_ended_trials_count_with_their_usage() -> None:
    money = tracker(usd=10)
    money.update([trial(0, TrialState.RUNNING)])
    money.update([trial(0, TrialState.FINISHED, usd=0.5)])
    assert money.n_affordable() == 4
    money.update([trial(1, TrialState.PENDING, usd=9.5)])
    assert money.n_affordable() == 0


def test_smallest_budget_limits_trials() -> None:
    assert tracker(usd=10, hours=3).n_affordable() == 3


def test_worst_case_includes_instances_and_warm_pools() -> None:
    request = {**HOUR, "ResourceConfig": {"InstanceCount": 2, "KeepAlivePeriodInSeconds": 1800}}
    (budget,) = budgets_of(JobTemplate(request=request, budget={"hours": 10}))
    assert budget.worst == 2 * 5400


def test_budget_in_dollars_needs_price() -> None:
    with pytest.raises(ConfigError, match="needs price_per_hour"):
        budgets_of(JobTemplate(request=HOUR, budget={"usd": 10}))


def test_budget_for_less_than_one_trial_raises() -> None:
    with pytest.raises(ConfigError, match="lower max_run, or raise the budget"):
        budgets_of(JobTemplate(budget={"hours": 23}))


def test_budget_for_exactly_one_trial_covers_it() -> None:
    assert tracker(hours=1).n_affordable() == 1


def test_rounding_error_does_not_cost_a_trial() -> None:
    money = tracker(hours=0.3 / 0.1)  # 2.9999999999999996
    assert money.n_affordable() == 3
