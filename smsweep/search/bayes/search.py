"""Bayesian optimisation, W&B's `method: bayes`: each trial maximises the expected improvement."""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

import numpy as np
from threadpoolctl import ThreadpoolController

from smsweep.core.budget import SearchCost
from smsweep.core.sweep import Metric
from smsweep.core.trial import History, Params
from smsweep.search.bayes.acquisition import design_point, log_belief_inside, log_expected_improvement, maximise
from smsweep.search.bayes.beliefs import Beliefs
from smsweep.search.bayes.cost import CostModel
from smsweep.search.bayes.feasibility import FeasibilityModel
from smsweep.search.bayes.gaussian_process import Posterior, fit
from smsweep.search.bayes.observations import (
    N_START,
    VIEWS,
    Evidence,
    Kind,
    Ledger,
    Observations,
    View,
    by_distance,
    observed,
    targets,
    thinned,
)
from smsweep.search.coverage import coverage_of
from smsweep.space.belief import Belief
from smsweep.space.space import SearchSpace
from smsweep.space.unit_cube import Array, Cube

MIN_START, MAX_START = 6, 12  # limits of the space-filling start, which has two trials more than dimensions
INNER = 0.8  # middle part of each edge that the start covers: optima at the border are rare
N_NEAR = 8  # best observations around which the acquisition is searched
MAX_FITTED = 90  # observations for the choice of the model; each costs tens of times more than below
MAX_BELIEVED = 128  # observations for the posterior; its cost grows with their square
REFIT = 20  # the model is chosen again when the observations have grown by 1/20
GUESS = 0.1  # variance that each guessed coordinate adds to a target
OUTLOOK_FROM = 18  # minimum number of trials for an outlook; with many parameters, 3 * d + 6
MIN_GAIN = 2e-3  # share of the gain so far; a smaller expected gain is not worth a trial
LIKELY = math.log(0.5)  # log probability from which on params count as feasible
UNLIKELY = math.log(0.05)  # log probability below which params are proposed only if no others are left
FAR_OUT = 1e3  # weight of the difference below it
DRAWS = 32  # random draws before a free assignment is chosen directly


class BayesSearch:
    """Fits a Gaussian process to the trials, and proposes the point of the highest expected improvement.

    The first trials are spread evenly over the space. Pending trials count with their expected result, so that
    parallel trials explore different regions. An assignment that any trial holds is not proposed again, so a
    finite space can be used up. All random numbers depend only on the seed and the trial's number.

    Args:
        space: The parameters.
        metric: The metric to improve.
        seed: The seed of all draws.
        cost: The cost to save; None to count trials only.
        beliefs: Name of a parameter, nested names joined by dots -> where its optimum is expected.
        constraints: The outcome constraints that the best trial must meet.
    """

    def __init__(
        self,
        space: SearchSpace,
        metric: Metric,
        seed: int = 0,
        cost: SearchCost | None = None,
        beliefs: Mapping[str, Belief] | None = None,
        constraints: Sequence[str] = (),
    ) -> None:
        self._space = space
        self._seed = seed
        self._cube = Cube(space)
        self._beliefs = Beliefs(beliefs or {}, space, self._cube)
        self._feasibility = FeasibilityModel(constraints, self._cube) if constraints else None
        self._ledger = Ledger(self._cube, metric)
        self._costs = CostModel(cost, self._cube) if cost is not None else None
        self._coverage = coverage_of(space)
        self._n_start = min(max(self._cube.d + 2, MIN_START), MAX_START)

    def suggest(self, history: History, n: int) -> list[Params]:
        evidence = self._ledger.follow(history)
        if self._costs is not None:
            self._costs.follow(history)
        if self._feasibility is not None:
            self._feasibility.follow(history)
        if self._coverage is not None:
            self._coverage.follow(history)
        suggested: list[Params] = []
        held: list[Hashable] = []
        for number in range(history.next_number, history.next_number + n):
            with one_thread():
                params = self._first_free(self._points(evidence, number), number, evidence)
            if params is None:
                break
            suggested.append(params)
            evidence.append(Evidence(kind=Kind.PENDING, params=params, cube=self._cube, number=number))
            if self._coverage is not None:
                held.append(self._coverage.cell_of(params))
                self._coverage.hold(held[-1:])
        if self._coverage is not None:
            self._coverage.release(held)  # the caller decides which of them become trials
        return suggested

    def outlook(self, history: History) -> str:
        """Return a hint if the space is used up, or if the most likely model expects too little gain."""
        evidence = self._ledger.follow(history)
        if self._coverage is not None:
            self._coverage.follow(history)
            if self._coverage.is_used_up:
                return f"all {self._coverage.size} assignments of the space have been tried"
        known = observed(evidence)
        n_valued = int(known.sets_scale.sum())
        if self._feasibility is not None or not self._cube.d or n_valued < max(OUTLOOK_FROM, 3 * self._cube.d + 6):
            return ""
        values = known.values[known.sets_scale]
        spread = float(np.median(values[:N_START]) - values.min())
        if spread <= 0.0:
            return ""
        with one_thread():
            gain = self._expected_gain(known, np.random.default_rng([self._seed, n_valued])) / spread
        if gain > MIN_GAIN:
            return ""
        return (
            f"after {n_valued} trials the model expects less than {MIN_GAIN:.1%} of the gain so far from one more "
            "trial; more trials are unlikely to find better params"
        )

    def _points(self, evidence: Sequence[Evidence], number: int) -> Iterator[Array]:
        """Yield points for the trial of that number, best first, then random points without end."""
        rng = np.random.default_rng([self._seed, number])
        known = observed(evidence)
        n_valued = int(known.sets_scale.sum())
        if not self._cube.d:
            pass  # only constants: there is one point
        elif n_valued < self._n_start // 2 or max(number, n_valued) < self._n_start:
            point = design_point(number, self._cube.d, self._seed)
            is_guided = self._beliefs.guide(number, known)
            # if all trials fail, the inner part is perhaps the reason
            n_ended = sum(item.kind is not Kind.PENDING for item in evidence) if not n_valued else 0
            inner = 1.0 if n_ended >= self._n_start else INNER
            placed = self._beliefs.placed(point, inner) if is_guided else 0.5 + inner * (point - 0.5)
            yield self._cube.nearest_feasible(self._cube.snap(placed[None])[0], rng)
        else:
            pending = [item.place[0] for item in evidence if item.kind is Kind.PENDING]
            yield from self._promising(known, pending, number, rng)
        while True:
            yield self._cube.draw(1, rng)[0]

    def _promising(
        self, known: Observations, pending: list[Array], number: int, rng: np.random.Generator
    ) -> Array:
        """Return points with a high expected improvement, best first."""
        view = VIEWS[number % len(VIEWS)]
        model = fit(*self._data(known.settled(REFIT), view, MAX_FITTED), self._cube.kinds).draw(rng)
        data = self._data(known, view, MAX_BELIEVED)
        belief = Posterior(model, *data, self._cube.kinds)
        # the best noisy value was partly luck, so improve on the predicted means instead
        points = data[0]
        mean, _ = belief.predict(points)
        log_feasible = self._feasibility.log_probability() if self._feasibility is not None else None
        is_feasible = np.ones(len(points), dtype=bool)
        if self._feasibility is not None and log_feasible is not None:
            violating = self._feasibility.violating()
            is_feasible = log_feasible(points) > LIKELY
            is_feasible &= [point.tobytes() not in violating for point in points]
        best = float(mean[is_feasible].min()) if is_feasible.any() else None
        near = points[np.lexsort((mean, ~is_feasible))[:N_NEAR]]
        is_guided = self._beliefs.guide(number, known)
        if is_guided:
            near = self._beliefs.with_peak(near)
        if pending:
            belief = belief.believing(np.array(pending))

        weight = self._costs.weight(number) if self._costs is not None else 0.0
        log_cost = self._costs.predictor() if self._costs is not None and weight else None

        has_own_prior = self._cube.is_nominal | self._beliefs.is_believed if is_guided else self._cube.is_nominal

        def score(at: Array) -> Array:
            expected, deviation = belief.predict(at)
            # as long as no params are likely feasible, search for such params, where little is known
            improvement = (
                np.log(deviation) if best is None else log_expected_improvement(expected, deviation, best)
            )
            if log_feasible is not None:
                probability = log_feasible(at)
                # when little is left to gain, params that are hardly feasible would look best
                improvement = improvement + probability + FAR_OUT * np.minimum(probability - UNLIKELY, 0.0)
            if log_cost is not None:
                improvement = improvement - weight * log_cost(at)
            if is_guided:
                improvement = improvement + self._beliefs.log_weight(at, len(known))
            return improvement + log_belief_inside(at, has_own_prior, len(known))

        excluded = {point.tobytes() for point in (*points, *pending)}
        return maximise(score, self._cube, near, excluded, rng)

    def _expected_gain(self, known: Observations, rng: np.random.Generator) -> float:
        """Return the expected improvement of the objective at the best point."""
        model = fit(*self._data(known.settled(REFIT), by_distance, MAX_FITTED), self._cube.kinds).likeliest()
        points, y, doubt = self._data(known, by_distance, MAX_BELIEVED)
        belief = Posterior(model, points, y, doubt, self._cube.kinds)
        mean, _ = belief.predict(points)
        near = points[np.argsort(mean, kind="stable")[:N_NEAR]]

        def score(at: Array) -> Array:
            return log_expected_improvement(*belief.predict(at), float(mean.min()))

        best = maximise(score, self._cube, near, (), rng)
        values = known.values[known.sets_scale]
        # the view is linear between the best value and the median
        targets_of = by_distance(values)
        gap = float(np.median(targets_of) - targets_of.min())
        share = math.exp(float(score(best[:1])[0])) / gap if gap > 0.0 else 0.0
        return share * float(np.median(values) - values.min())

    @staticmethod
    def _data(known: Observations, view: View, limit: int) -> tuple[Array, Array, Array]:
        """Return points, targets and extra variances of at most `limit` observations."""
        y, doubt = targets(known, view)
        chosen = thinned(known.values, limit)
        places = [known.evidence[i].place for i in chosen.tolist()]
        guessed = GUESS * np.array([n_guesses for _, n_guesses in places])
        return np.array([point for point, _ in places]), y[chosen], doubt[chosen] + guessed

    def _first_free(self, points: Iterator[Array], number: int, evidence: Sequence[Evidence]) -> Params | None:
        """Return the params at the first point that no trial holds; None if the space is used up."""
        if self._coverage is None and self._cube.is_conditional.any():
            # a branch without continuous parameters can repeat, although the space is infinite
            held = {item.point.tobytes() for item in evidence}
            for _, point in zip(range(DRAWS), points, strict=False):
                if point.tobytes() not in held:
                    break
            return self._cube.decode(point)
        if self._coverage is None:
            return self._cube.decode(next(points))
        if self._coverage.is_used_up:
            return None
        for _, point in zip(range(DRAWS), points, strict=False):
            params = self._cube.decode(point)
            if self._coverage.cell_of(params) not in self._coverage:
                return params
        if self._coverage.size is None:
            return params
        rng = np.random.default_rng([self._seed, number])
        return self._space.assignment(self._coverage.free(int(rng.integers(self._coverage.n_free))))


def one_thread() -> AbstractContextManager[object]:
    """Return a context in which numpy's linear algebra uses one thread.

    Matrices of a hundred rows do not benefit from more threads. If trainings keep the cores busy, more threads
    wait for each other, and a suggestion takes twenty times as long.
    """
    limit: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return limit


@functools.cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # searches all loaded libraries, so only once
