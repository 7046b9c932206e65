"""The confirmation of the best trials: which one to repeat next, and which one is the best after the repeats.

The value of the best of many noisy trials was partly luck. Repeats with new seeds show the expected value. A
normal model estimates it for each trial: the values of the search have a common mean and spread, and the noise is
the spread between repeats. Each repeat goes to the trial where it promises the most (knowledge gradient).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from smsweep.core.job import JobTemplate
from smsweep.core.objective import mean, objective
from smsweep.core.sweep import Metric, SweepConfig
from smsweep.core.trial import Trial, TrialState
from smsweep.errors import ConfigError

MIN_SPREAD = 0.1  # smallest variance of the expected values, as a share of the observed variance or the noise
MIN_GAIN = 0.001  # expected gain of all remaining repeats, in deviations of the noise, that is not worth them
FIRST_NOISE = 0.5  # share of the observed variance that counts as noise until two values of a trial are known
NORMAL = NormalDist()
T_QUANTILES = (12.706, 4.303, 3.182, 2.776)  # 97.5 % quantiles of Student's distribution for 1 to 4 degrees


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """The estimate of one assignment. Lower is better, whatever the goal of the metric."""

    number: int  # of the search's trial
    expected: float  # estimated mean over seeds
    variance: float  # of this estimate
    n: int  # number of finished trials with a value
    n_open: int  # number of repeats that have not ended
    is_repeatable: bool  # False after a repeat without a value


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimates:
    """The estimates of all finished trials of a search."""

    all: Sequence[Estimate]
    noise: float  # variance between trials of one assignment
    degrees: int  # degrees of freedom of the noise; 0 if it is a guess


def is_repeat(trial: Trial) -> bool:
    """Return True if a trial repeats another one."""
    return trial.confirms is not None


def count_repeats(trials: Iterable[Trial]) -> int:
    """Return how many of the trials repeat another one."""
    return sum(map(is_repeat, trials))


def assignments(trials: Iterable[Trial]) -> dict[int, list[Trial]]:
    """Return the trials of each assignment, by the number of the search's trial, which can be removed."""
    groups: dict[int, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.number if trial.confirms is None else trial.confirms, []).append(trial)
    return groups


def value_of(trial: Trial, metric: Metric) -> float | None:
    """Return the value of a finished trial, lower is better; None for other trials."""
    value = objective(trial, metric) if trial.state is TrialState.FINISHED else None
    return None if value is None else metric.goal.sign * value


def estimate(trials: Iterable[Trial], metric: Metric) -> Estimates:
    """Return the estimates of the assignments that have a finished trial.

    The prior of the expected values is normal. Its mean is the median of the first values, and its spread is that
    of the better half, so that a few very bad trials have no influence. The prior pulls the value of a trial
    without repeats towards the median, more than the mean of several repeats.
    """
    groups = assignments(trials)
    values = {
        number: known
        for number, members in groups.items()
        if (known := [value for trial in members if (value := value_of(trial, metric)) is not None])
    }
    if not values:
        return Estimates(all=(), noise=0.0, degrees=0)
    first = sorted(known[0] for known in values.values())
    center = statistics.median_low(first)
    spread = _variance([value for value in first if value <= center], center)
    noise, degrees = pooled_noise(values.values())
    if not degrees:
        noise = FIRST_NOISE * spread
    prior = max(spread - noise, MIN_SPREAD * max(spread, noise))
    estimates = []
    for number, known in values.items():
        weight = _share(prior, noise / len(known)) if prior else 1.0
        estimates.append(
            Estimate(
                number=number,
                expected=center + weight * (mean(known) - center),
                variance=(1.0 - weight) * prior,
                n=len(known),
                n_open=sum(is_repeat(trial) and not trial.state.is_terminal for trial in groups[number]),
                is_repeatable=not any(
                    is_repeat(trial) and trial.state.is_terminal and value_of(trial, metric) is None
                    for trial in groups[number]
                ),
            )
        )
    return Estimates(all=estimates, noise=noise, degrees=degrees)


def pooled_noise(groups: Iterable[Sequence[float]]) -> tuple[float, int]:
    """Return the variance between the values of one group, of all groups together, and its degrees of freedom."""
    known = list(groups)
    degrees = sum(len(values) - 1 for values in known)
    total = sum(_variance(values, mean(values)) * len(values) for values in known)
    return total / max(degrees, 1), degrees


def next_repeats(trials: Sequence[Trial], metric: Metric, top: int, n: int, n_left: int) -> list[int]:
    """Return the numbers of the trials to repeat next.

    Each of the best trials is repeated once. Then each repeat goes to the trial, of all assignments, for which it
    promises the largest gain. Repeats that have not ended count with their expected value.

    Args:
        trials: All trials of the sweep.
        metric: The metric of the sweep.
        top: Number of best trials to repeat.
        n: Maximum number of repeats to return.
        n_left: Number of repeats that are still allowed, at least n.

    Returns:
        At most n numbers, which can be equal. Fewer if all remaining repeats are not expected to change the best
        trial for a noticeable gain.
    """
    estimates = estimate(trials, metric)
    if len(estimates.all) < 2:
        return []
    counts = {each.number: each.n_open for each in estimates.all}
    chosen: list[int] = []
    for _ in range(n):
        number = _next_repeat(trials, metric, estimates, counts, top, n_left - len(chosen))
        if number is None:
            break
        chosen.append(number)
        counts[number] += 1
    return chosen


def _next_repeat(
    trials: Sequence[Trial], metric: Metric, estimates: Estimates, counts: dict[int, int], top: int, n_left: int
) -> int | None:
    first = {
        trial.number: value
        for trial in trials
        if not is_repeat(trial) and (value := value_of(trial, metric)) is not None
    }
    allowed = {each.number for each in estimates.all if each.is_repeatable}
    repeated = {trial.confirms for trial in trials if is_repeat(trial)} | {
        number for number, count in counts.items() if count
    }
    if len(repeated) < top:
        own = sorted(
            (number for number in first if number in allowed and number not in repeated), key=first.__getitem__
        )
        if own:
            return own[0]
    candidates = [each for each in estimates.all if each.number in allowed]
    if not candidates or (estimates.degrees and not _can_change(estimates, n_left)):
        return None
    gains = _gains(estimates, 1, counts)
    best = max(candidates, key=lambda each: gains[each.number])
    return best.number if gains[best.number] > -math.inf else None


def _can_change(estimates: Estimates, n_left: int) -> bool:
    """Return True if all remaining repeats of one assignment can change the best trial for a noticeable gain."""
    limit = MIN_GAIN * math.sqrt(estimates.noise)
    repeatable = [each.number for each in estimates.all if each.is_repeatable]
    if not limit:
        return False
    gains = _gains(estimates, max(n_left, 1), {})
    return any(gains[number] > math.log(limit) for number in repeatable)


def _gains(estimates: Estimates, n: int, counts: dict[int, int]) -> dict[int, float]:
    """Return the logarithm of the expected gain of n more repeats of each assignment: the knowledge gradient.

    The gain is the decrease of the lowest expected value. Source: Frazier, Powell and Dayanik, A
    knowledge-gradient policy for sequential information collection, 2008.

    Args:
        estimates: The estimates.
        n: Number of repeats.
        counts: Number of an assignment's trial -> repeats that have not ended. They reduce the variance.
    """
    order = sorted(each.expected for each in estimates.all)
    gains = {}
    for each in estimates.all:
        n_open = counts.get(each.number, 0)
        variance = each.variance
        if n_open:
            variance *= _share(estimates.noise / n_open, variance)
        deviation = math.sqrt(variance * _share(variance, estimates.noise / n))
        gap = abs(each.expected - (order[1] if each.expected == order[0] else order[0]))
        gains[each.number] = (
            _log_expected_excess(gap / deviation) + math.log(deviation) if deviation else -math.inf
        )
    return gains


def _log_expected_excess(z: float) -> float:
    """Return log E[max(x - z, 0)] of a standard normal x, for z >= 0."""
    if z < 5.0:
        return math.log(NORMAL.pdf(z) - z * NORMAL.cdf(-z))
    # the difference of the exact form loses all its digits
    return -0.5 * z * z - 0.5 * math.log(2.0 * math.pi) - 2.0 * math.log(z) - math.log1p(3.0 / (z * z))


def _share(variance: float, other: float) -> float:
    """Return variance / (variance + other), also if both are 0."""
    return variance / (variance + other) if variance else 0.0


def _variance(values: Sequence[float], center: float) -> float:
    try:
        return mean([(value - center) ** 2 for value in values])
    except OverflowError:
        return math.inf


def interval_of(values: Sequence[float], noise: float, degrees: int) -> tuple[float, float] | None:
    """Return the 95 % confidence interval of a mean.

    Args:
        values: One or more values.
        noise: The variance of one value.
        degrees: Degrees of freedom of the noise.

    Returns:
        The lowest and the highest mean; None if the noise is unknown.
    """
    if not degrees or not math.isfinite(noise):
        return None
    half = t_quantile(degrees) * math.sqrt(noise / len(values))
    return mean(values) - half, mean(values) + half


def t_quantile(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's distribution, with an error below 0.2 %.

    Source: Abramowitz and Stegun, 26.7.5.
    """
    if degrees <= len(T_QUANTILES):
        return T_QUANTILES[degrees - 1]
    z = NORMAL.inv_cdf(0.975)
    first = (z**3 + z) / 4.0
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96.0
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384.0
    return z + first / degrees + second / degrees**2 + third / degrees**3


def check_confirm(config: SweepConfig, template: JobTemplate) -> None:
    """Raise ConfigError if the job confirms the best trials of a sweep that cannot have a best trial."""
    if template.confirm is None:
        return
    if config.metric is None:
        raise ConfigError(
            "confirm: needs one metric in sweep.yaml to compare trials by; add it, or remove confirm from job.yaml"
        )
    n = template.confirm.trials
    for key, cap in (("run_cap", config.run_cap), ("budget.trials", template.budget.get("trials"))):
        if cap is not None and cap < n + 2:
            raise ConfigError(
                f"confirm: its {n} repeats leave fewer than two of the {cap:g} trials of {key} for the search; "
                f"raise {key}, or set confirm: {{trials: {max(int(cap) // 5, 1)}}}"
            )
