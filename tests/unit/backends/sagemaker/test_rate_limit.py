"""Token buckets and backoffs, with a simulated clock."""

from __future__ import annotations

import pytest

from smsweep.aws.options import SageMakerOptions
from smsweep.backends.sagemaker.rate_limit import FIRST_PAUSE_S, Backoffs, RateLimits, TokenBucket
from smsweep.errors import CapacityError, QuotaExceeded, Throttled, UsageError


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def taken(bucket: TokenBucket, clock: Clock, seconds: int) -> int:
    """Return the number of allowed calls if a call is tried every 10 ms."""
    n = 0
    for _ in range(seconds * 100):
        clock.now += 0.01
        n += bucket.take()
    return n


def test_bucket_keeps_its_rate() -> None:
    clock = Clock()
    assert 59 <= taken(TokenBucket(1.0, clock), clock, 60) <= 61


def test_rate_is_halved_by_throttling_and_recovers_with_answers() -> None:
    clock = Clock()
    bucket = TokenBucket(4.0, clock)
    bucket.slow_down()
    assert 19 <= taken(bucket, clock, 10) <= 21
    for _ in range(100):
        bucket.speed_up()
    assert bucket.rate == 4.0


def test_rate_has_a_minimum() -> None:
    clock = Clock()
    bucket = TokenBucket(1.0, clock)
    for _ in range(100):
        bucket.slow_down()
    assert taken(bucket, clock, 60) >= 2


def test_demand_raises_throttled_only_for_limited_actions() -> None:
    rates = RateLimits({"CreateTrainingJob": 1.0}, Clock())
    rates.demand("ListTags")
    rates.demand("CreateTrainingJob")
    with pytest.raises(Throttled, match="CreateTrainingJob: waits for its rate limit, 1 calls per second"):
        rates.demand("CreateTrainingJob")


def test_quota_backoff_ends_when_a_job_has_ended() -> None:
    backoffs = Backoffs(Clock())
    backoffs.start("ml.m5.large", QuotaExceeded("full"), n_live=3)
    with pytest.raises(QuotaExceeded, match="full"):
        backoffs.check("ml.m5.large", 3)
    backoffs.check("ml.m5.large", 2)
    backoffs.check("ml.g5.xlarge", 3)


def test_reached_quota_stays_known_until_more_jobs_run() -> None:
    clock = Clock()
    backoffs = Backoffs(clock)
    backoffs.start("ml.m5.large", QuotaExceeded("full", limit=3), n_live=3)
    backoffs.check("ml.m5.large", 2)
    backoffs.end("ml.m5.large", 3)
    with pytest.raises(QuotaExceeded) as caught:
        backoffs.check("ml.m5.large", 3)
    assert caught.value.limit == 3
    clock.now += FIRST_PAUSE_S + 1
    backoffs.check("ml.m5.large", 3)  # the quota may be higher now
    backoffs.end("ml.m5.large", 4)
    backoffs.check("ml.m5.large", 9)


def test_capacity_backoff_doubles_each_time() -> None:
    clock = Clock()
    backoffs = Backoffs(clock)
    for factor in (1, 2, 4):
        backoffs.start_for_capacity("ml.p4d.24xlarge", "no machine")
        clock.now += factor * FIRST_PAUSE_S - 1
        with pytest.raises(CapacityError):
            backoffs.check("ml.p4d.24xlarge", 0)
        clock.now += 2
        backoffs.check("ml.p4d.24xlarge", 0)


def test_rates_are_set_by_short_names() -> None:
    options = SageMakerOptions.from_environ({"SMSWEEP_SAGEMAKER_RATES": "create=2, logs=0.5"})
    assert options.rates["CreateTrainingJob"] == 2
    assert options.rates["FilterLogEvents"] == 0.5
    assert options.rates["ListTrainingJobs"] == 1


@pytest.mark.parametrize("text", ["fly=1", "create=fast", "create=0", "create"])
def test_invalid_rate_is_rejected_with_its_variable(text: str) -> None:
    with pytest.raises(UsageError, match="SMSWEEP_SAGEMAKER_RATES"):
        SageMakerOptions.from_environ({"SMSWEEP_SAGEMAKER_RATES": text})
