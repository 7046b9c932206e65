"""Validation of faults, and how often a fault occurs."""

from __future__ import annotations

import pytest

from smsweep.emulator.faults import FaultInjector, Faults, parse
from smsweep.errors import UsageError


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def box(clock: Clock) -> FaultInjector:
    return FaultInjector(Faults(), clock)


def test_rate_allows_calls_of_one_second_and_recovers(box: FaultInjector, clock: Clock) -> None:
    box.set({"throttle": {"StopTrainingJob": 2}})
    assert [box.is_throttled("StopTrainingJob") for _ in range(3)] == [False, False, True]
    clock.now = 0.5
    assert [box.is_throttled("StopTrainingJob") for _ in range(2)] == [False, True]
    clock.now = 100.0
    assert [box.is_throttled("StopTrainingJob") for _ in range(3)] == [False, False, True]


def test_rate_below_one_allows_the_first_call(box: FaultInjector, clock: Clock) -> None:
    box.set({"throttle": {"StopTrainingJob": 0.1}})
    assert [box.is_throttled("StopTrainingJob") for _ in range(2)] == [False, True]
    clock.now = 10.0
    assert not box.is_throttled("StopTrainingJob")


def test_rate_is_separate_for_each_action(box: FaultInjector) -> None:
    box.set({"throttle": {"StopTrainingJob": 1}})
    assert not any(box.is_throttled("DescribeTrainingJob") for _ in range(10))


def test_fault_rule_matches_as_often_as_times(box: FaultInjector) -> None:
    box.set({"interrupt": [{"job": "a-*", "times": 2}]})
    hits = [box.take("interrupt", {"job": "a-1"}) is not None for _ in range(3)]
    assert hits == [True, True, False]


def test_fault_rule_matches_its_patterns_only(box: FaultInjector) -> None:
    box.set({"lose_response": [{"action": "Create*", "job": "b"}]})
    assert box.take("lose_response", {"action": "StopTrainingJob", "job": "b"}) is None
    assert box.take("lose_response", {"action": "CreateTrainingJob", "job": "a"}) is None
    assert box.take("lose_response", {"action": "CreateTrainingJob", "job": "b"}) is not None


def test_fault_rule_matches_after_its_time(box: FaultInjector) -> None:
    box.set({"interrupt": [{"after_s": 5}]})
    assert box.take("interrupt", {"job": "a"}, age_s=4.9) is None
    assert box.take("interrupt", {"job": "a"}, age_s=5.0) is not None


def test_setting_one_fault_keeps_the_others(box: FaultInjector) -> None:
    box.set({"quota": 3})
    box.set({"expired": True})
    assert (box.now.quota, box.now.expired) == (3, True)


def test_latency_is_common_or_per_action() -> None:
    assert parse({"latency_s": 0.5}).latency_of("StopTrainingJob") == 0.5
    by_action = parse({"latency_s": {"StopTrainingJob": 1.0, "*": 0.1}})
    assert (by_action.latency_of("StopTrainingJob"), by_action.latency_of("DescribeTrainingJob")) == (1.0, 0.1)


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ({"quotas": 1}, "quotas"),
        ({"quota": -1}, "quota"),
        ({"quota": "3"}, "quota"),
        ({"throttle": {"StopTrainingJob": 0}}, r"throttle\.StopTrainingJob"),
        ({"throttle": {"*": 1}}, r"throttle\.\*\.\[key\]"),
        ({"deny": ["Stop*"]}, r"deny\.0"),
        ({"interrupt": {"job": "a"}}, "interrupt"),
        ({"interrupt": [{"jobs": "a"}]}, r"interrupt\.0\.jobs"),
        ({"expired": "no"}, "expired"),
        ({"latency_s": {"Stop*": 1}}, r"latency_s\..*"),
    ],
)
def test_invalid_fault_is_rejected_with_its_key(document: dict[str, object], where: str) -> None:
    with pytest.raises(UsageError, match=f"faults: {where}: "):
        parse(document)


@pytest.mark.parametrize(
    "document",
    [
        {"deny": ["CreateTrainingJobs"]},
        {"throttle": {"CreateTrainingJobs": 1}},
        {"latency_s": {"CreateTrainingJobs": 1}},
        {"fail_call": [{"action": "CreateTrainingJobs"}]},
    ],
)
def test_fault_of_an_unknown_action_is_rejected(document: dict[str, object]) -> None:
    with pytest.raises(
        UsageError, match=r"CreateTrainingJobs is not an API call; did you mean CreateTrainingJob\?"
    ):
        parse(document)


def test_actions_of_all_services_are_known() -> None:
    actions = [
        "SubmitServiceJob",
        "FilterLogEvents",
        "GetSecretValue",
        "GetParameter",
        "ReceiveMessage",
        "PutEvents",
    ]
    assert parse({"deny": [*actions, "GetProducts", "ListTrainingJobs"]}).deny[:6] == actions
