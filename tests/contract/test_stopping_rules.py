"""The built-in stopping rules pass the contract that plug-ins can run, and broken rules do not."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from smsweep.core.trial import History, StopDecision
from smsweep.stopping.registry import RULES, StoppingSpec
from smsweep.testing import StoppingContract


class TestHyperband(StoppingContract):
    spec = RULES["hyperband"]
    options: ClassVar = {"min_iter": 2}


class TestAsha(StoppingContract):
    spec = RULES["asha"]
    options: ClassVar = {"min_iter": 2}


class TestMedian(StoppingContract):
    spec = RULES["median"]
    options: ClassVar = {"min_iter": 2}


class TestForecast(StoppingContract):
    spec = RULES["forecast"]
    options: ClassVar = {"min_iter": 2}


class StopsEverything:
    def judge(self, history: History) -> list[StopDecision]:
        return [StopDecision(number=trial.number, reason="bad", evidence={}) for trial in history]


class StopsNothing:
    def judge(self, history: History) -> list[StopDecision]:
        return []


class CountsCalls:
    calls = 0

    def judge(self, history: History) -> list[StopDecision]:
        self.calls += 1
        return [StopDecision(number=0, reason=f"call {self.calls}", evidence={})]


@pytest.mark.parametrize(
    ("rule", "test"),
    [
        (StopsEverything, "test_decisions_name_running_trials_in_ascending_order"),
        (StopsEverything, "test_stopping_trials_are_not_named_again"),
        (StopsNothing, "test_bad_trials_are_stopped"),
        (CountsCalls, "test_new_instance_agrees_with_one_that_followed_the_sweep"),
    ],
)
def test_contract_fails_for_a_broken_rule(rule: type[Any], test: str) -> None:
    contract: Any = StoppingContract()
    contract.spec = StoppingSpec(name="broken", summary="", factory=rule, needs=())
    with pytest.raises(AssertionError):
        getattr(contract, test)()
