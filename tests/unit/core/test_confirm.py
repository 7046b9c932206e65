"""Repeats of the best trials: which one is next, and what the repeats show."""

from __future__ import annotations

import math
import random
from statistics import fmean

import pytest

from smsweep.core.confirm import estimate, next_repeats, t_quantile
from smsweep.core.repeats import find_best
from smsweep.core.sweep import Goal, Metric
from smsweep.core.trial import MetricStats, Trial, TrialState

LOSS, SCORE = Metric(name="loss"), Metric(name="loss", goal=Goal.MAXIMIZE)


def ended(number: int, value: float | None, confirms: int | None = None, state: str = "finished") -> Trial:
    metrics = {} if value is None else {"loss": MetricStats().add(value)}
    return Trial(number=number, params={}, state=TrialState(state), metrics=metrics, confirms=confirms)


def searched(*values: float) -> list[Trial]:
    return [ended(number, value) for number, value in enumerate(values)]


def with_repeats(trials: list[Trial], **values: list[float]) -> list[Trial]:
    """Add repeats. values: `of_N` -> values of the repeats of trial N."""
    repeats = [(int(name.removeprefix("of_")), value) for name, listed in values.items() for value in listed]
    return [*trials, *(ended(len(trials) + i, value, number) for i, (number, value) in enumerate(repeats))]


def test_each_of_the_best_trials_is_repeated_first() -> None:
    assert next_repeats(searched(5.0, 1.0, 4.0, 2.0, 3.0), LOSS, 3, 3, 9) == [1, 3, 4]
    assert next_repeats(searched(5.0, 1.0, 4.0, 2.0, 3.0), SCORE, 2, 2, 9) == [0, 2]


def test_trials_without_final_value_are_not_repeated() -> None:
    trials = [ended(0, 0.1, state="failed"), ended(1, 0.2, state="stopped"), ended(2, math.nan)]
    trials += [ended(3, 1.0), ended(4, 2.0), ended(5, 3.0)]
    assert next_repeats(trials, LOSS, 2, 2, 6) == [3, 4]


def test_pending_repeats_are_not_chosen_twice() -> None:
    trials = [*searched(1.0, 2.0, 3.0, 9.0), Trial(number=4, params={}, confirms=0)]
    assert next_repeats(trials, LOSS, 3, 2, 8) == [1, 2]


def test_repeat_without_value_ends_the_repeats_of_its_trial() -> None:
    trials = [*searched(1.0, 1.1, 9.0, 10.0), ended(4, None, 0, "failed"), ended(5, 1.3, 1), ended(6, 8.0, 2)]
    assert 0 not in next_repeats(trials, LOSS, 3, 12, 12)


def test_more_repeats_go_to_the_trials_that_can_be_the_best() -> None:
    trials = with_repeats(searched(1.0, 1.1, 3.0, 3.1, 4.0, 5.0), of_0=[1.3], of_1=[0.9], of_2=[3.2])
    assert set(next_repeats(trials, LOSS, 3, 6, 6)) == {0, 1}


def test_equal_repeats_need_no_further_repeats() -> None:
    trials = with_repeats(searched(1.0, 1.1, 2.0, 3.0), of_0=[1.0], of_1=[1.1])
    assert next_repeats(trials, LOSS, 2, 4, 4) == []


def test_clear_result_needs_no_further_repeats() -> None:
    trials = with_repeats(searched(1.0, 9.0, 9.5, 10.0, 11.0), of_0=[1.01, 0.99], of_1=[9.01], of_2=[9.5])
    assert next_repeats(trials, LOSS, 3, 9, 9) == []


def test_single_trial_is_not_repeated() -> None:
    assert next_repeats(searched(1.0), LOSS, 5, 3, 15) == []


@pytest.mark.parametrize("value", [1e300, -1e300, 0.0])
def test_extreme_values_are_compared(value: float) -> None:
    trials = with_repeats(searched(value, 1.0, 2.0, 1e308, -1e308), of_0=[value], of_1=[1.5])
    assert all(number < 5 for number in next_repeats(trials, LOSS, 4, 6, 6))
    assert find_best(trials, LOSS, 1) is not None


def test_best_trial_is_the_one_that_repeats_confirm() -> None:
    trials = with_repeats(searched(0.5, 1.0, 2.0, 3.0, 4.0), of_0=[1.9, 2.1, 2.0], of_1=[1.1, 0.9, 1.0])
    best = find_best(trials, LOSS, 1)
    assert best is not None
    assert {trial.number for trial in best.repeats} == {1, 8, 9, 10}
    assert best.objective == pytest.approx(1.0)  # of the repeats alone
    assert best.interval is not None
    assert best.interval[0] < 1.0 < best.interval[1]


def test_best_of_maximized_metric_has_its_sign() -> None:
    trials = with_repeats(searched(4.0, 3.0, 2.0, 1.0), of_0=[1.0, 1.2, 0.8], of_1=[3.1, 2.9, 3.2])
    best = find_best(trials, SCORE, 1)
    assert best is not None
    assert {trial.number for trial in best.repeats} == {1, 7, 8, 9}
    assert best.objective == pytest.approx(fmean([3.1, 2.9, 3.2]))
    assert best.interval is not None
    assert best.interval[0] < best.objective < best.interval[1]


def test_trial_without_repeats_does_not_beat_a_confirmed_one_by_luck() -> None:
    trials = with_repeats(searched(1.0, 1.2, 2.0, 2.1, 2.2, 2.5), of_1=[1.2, 1.1, 1.3], of_0=[2.4, 2.6, 0.4])
    best = find_best([*trials, ended(12, 1.05)], LOSS, 1)
    assert best is not None
    assert best.trial.number != 12


@pytest.mark.parametrize("repeats", [[1.0], [1.2, 0.9]])
def test_best_of_equal_values_is_not_a_bad_trial(repeats: list[float]) -> None:
    trials = with_repeats(searched(9.0, 8.0, 1.0, 1.0, 1.0, 1.0, 1.0), of_2=repeats, of_3=[1.0])
    best = find_best(trials, LOSS, 1)
    assert best is not None
    assert best.repeats[0].number in (2, 3) if best.repeats else best.trial.number > 3


def confirmed(true: list[float], rng: random.Random, noise: float = 0.5) -> list[Trial]:
    """Return a search with noise, and up to 15 repeats of its best trials."""
    trials = searched(*(value + rng.gauss(0, noise) for value in true))
    for left in range(15, 0, -1):
        for number in next_repeats(trials, LOSS, 5, 1, left):
            trials.append(ended(len(trials), true[number] + rng.gauss(0, noise), number))
    return trials


def test_confirmed_trial_is_better_than_the_trial_with_the_best_value() -> None:
    gains = []
    for seed in range(40):
        rng = random.Random(seed)
        true = [abs(rng.gauss(0, 1)) for _ in range(40)]
        trials = confirmed(true, rng, noise=1.0)
        lucky = min(range(40), key=lambda number: trials[number].metrics["loss"].min)
        best = min(estimate(trials, LOSS).all, key=lambda each: each.expected).number
        gains.append(true[lucky] - true[best])
    error = (fmean([gain**2 for gain in gains]) / len(gains)) ** 0.5
    assert fmean(gains) > max(2 * error, 0.2)


def test_interval_covers_the_expected_value() -> None:
    n_covered = 0
    for seed in range(200):
        rng = random.Random(seed)
        true = [rng.gauss(0, 1) for _ in range(20)]
        best = find_best(confirmed(true, rng), LOSS, 1)
        assert best is not None
        assert best.interval is not None
        low, high = best.interval
        n_covered += low <= true[best.repeats[0].number] <= high
    assert 170 <= n_covered <= 198


@pytest.mark.parametrize(("degrees", "quantile"), [(1, 12.706), (5, 2.5706), (10, 2.2281), (100, 1.9840)])
def test_quantile_of_students_distribution(degrees: int, quantile: float) -> None:
    assert t_quantile(degrees) == pytest.approx(quantile, rel=2e-3)
