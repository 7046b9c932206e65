"""Faults: what a document may say, and how often it comes true."""

from __future__ import annotations

import pytest

from smsweep.emulator.fault_injector import FaultInjector
from smsweep.emulator.faults import Faults, parse
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


def test_a_rate_allows_a_seconds_worth_at_once_and_fills_up_with_time(box: FaultInjector, clock: Clock) -> None:
    box.set({"throttle": {"StopTrainingJob": 2}})
    assert [box.is_throttled("StopTrainingJob") for _ in range(3)] == [False, False, True]
    clock.now = 0.5
    assert [box.is_throttled("StopTrainingJob") for _ in range(2)] == [False, True]
    clock.now = 100.0
    assert [box.is_throttled("StopTrainingJob") for _ in range(3)] == [False, False, True]


def test_a_rate_below_one_still_allows_the_first_call(box: FaultInjector, clock: Clock) -> None:
    box.set({"throttle": {"StopTrainingJob": 0.1}})
    assert [box.is_throttled("StopTrainingJob") for _ in range(2)] == [False, True]
    clock.now = 10.0
    assert not box.is_throttled("StopTrainingJob")


def test_each_action_has_a_rate_of_its_own(box: FaultInjector) -> None:
    box.set({"throttle": {"StopTrainingJob": 1}})
    assert not any(box.is_throttled("DescribeTrainingJob") for _ in range(10))


def test_a_strike_hits_as_often_as_it_says(box: FaultInjector) -> None:
    box.set({"interrupt": [{"job": "a-*", "times": 2}]})
    hits = [box.take("interrupt", {"job": "a-1"}) is not None for _ in range(3)]
    assert hits == [True, True, False]


def test_a_strike_hits_only_what_it_names(box: FaultInjector) -> None:
    box.set({"lose_response": [{"action": "Create*", "job": "b"}]})
    assert box.take("lose_response", {"action": "StopTrainingJob", "job": "b"}) is None
    assert box.take("lose_response", {"action": "CreateTrainingJob", "job": "a"}) is None
    assert box.take("lose_response", {"action": "CreateTrainingJob", "job": "b"}) is not None


def test_a_strike_waits_for_its_time(box: FaultInjector) -> None:
    box.set({"interrupt": [{"after_s": 5}]})
    assert box.take("interrupt", {"job": "a"}, age_s=4.9) is None
    assert box.take("interrupt", {"job": "a"}, age_s=5.0) is not None


def test_setting_one_field_leaves_the_others(box: FaultInjector) -> None:
    box.set({"quota": 3})
    box.set({"expired": True})
    assert (box.now.quota, box.now.expired) == (3, True)


def test_latency_is_for_all_or_by_action() -> None:
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
def test_what_cannot_be_understood_is_named(document: dict[str, object], where: str) -> None:
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
def test_a_call_that_there_is_not_is_no_fault_that_never_happens(document: dict[str, object]) -> None:
    with pytest.raises(
        UsageError, match=r"CreateTrainingJobs is not an API call; did you mean CreateTrainingJob\?"
    ):
        parse(document)


def test_calls_of_every_service_that_faults_reach_can_be_named() -> None:
    actions = [
        "SubmitServiceJob",
        "FilterLogEvents",
        "GetSecretValue",
        "GetParameter",
        "ReceiveMessage",
        "PutEvents",
    ]
    assert parse({"deny": [*actions, "GetProducts", "ListTrainingJobs"]}).deny[:6] == actions
