"""The contract of a search method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from smsweep.core.sweep import Metric, SweepConfig
from smsweep.core.trial import History, MetricStats, Params, Trial, TrialState
from smsweep.search.base import SearchStrategy, outlook
from smsweep.search.registry import SearchSpec, build_strategy
from smsweep.space.distribution import is_number
from smsweep.space.distributions import Categorical, Constant, IntUniform, Uniform
from smsweep.space.space import SearchSpace
from smsweep.space.structure import Allowed, Condition

FINITE = SearchSpace(
    {"a": Categorical(values=(1, "two", None)), "b": SearchSpace({"c": IntUniform(min=1, max=3)})}
)
MIXED = SearchSpace({**FINITE.parameters, "rate": Uniform(min=1e-3, max=0.5), "fixed": Constant(value=7)})
CONSTRAINED = (
    SearchSpace(FINITE.parameters, constraints=("a != 'two' or b.c < 3",)),
    SearchSpace(MIXED.parameters, constraints=("rate * b.c < 0.1", "not (a == 1 and b.c > 1)")),
)
CONDITIONAL = (
    SearchSpace(FINITE.parameters, (Condition(parameter="b", when={"a": Allowed(values=("two", None))}),)),
    SearchSpace(
        MIXED.parameters,
        (
            Condition(parameter="rate", when={"b.c": Allowed(min=2)}),
            Condition(parameter="b.c", when={"a": Allowed(values=(1, "two"))}),
        ),
        ("rate * b.c < 0.5",),
    ),
)
ENDS = (TrialState.FINISHED, TrialState.FAILED, TrialState.STOPPED, TrialState.KILLED, TrialState.CRASHED)


class SearchContract:
    """Tests that every search method passes.

    Attributes:
        spec: The search method.
        options: The keys of `method_options`.
        metrics: The metrics of the sweep. A method that needs one metric gets the first.
        spaces: The spaces that the method can search.
    """

    spec: ClassVar[SearchSpec]
    options: ClassVar[Mapping[str, Any]] = {}
    metrics: ClassVar[Sequence[Metric]] = (Metric(name="loss"),)
    spaces: ClassVar[Sequence[SearchSpace]] = (FINITE, MIXED)

    def strategy(self, space: SearchSpace, seed: int = 0) -> SearchStrategy:
        """Return a new strategy for a space."""
        one = self.metrics[0] if len(self.metrics) == 1 else None
        several = tuple(self.metrics) if one is None else ()
        config = SweepConfig(
            method=self.spec.name, space=space, metric=one, metrics=several, method_options=self.options
        )
        return build_strategy(self.spec, config, seed)

    def test_suggests_params_of_the_space(self) -> None:
        for space in self.spaces:
            made = self.strategy(space).suggest(History(), 5)
            assert 1 <= len(made) <= 5
            for params in made:
                _check_params(space, params)

    def test_suggests_at_most_as_many_trials_as_asked(self) -> None:
        for space in self.spaces:
            assert self.strategy(space).suggest(History(), 0) == []
            assert len(self.strategy(space).suggest(History(), 1)) == 1

    def test_same_history_and_seed_give_same_params(self) -> None:
        for space in self.spaces:
            history = self._searched(space, 6)
            assert self.strategy(space, 3).suggest(history, 3) == self.strategy(space, 3).suggest(history, 3)

    def test_trials_at_once_equal_trials_one_by_one(self) -> None:
        for space in self.spaces:
            history = self._searched(space, 4)
            at_once = self.strategy(space).suggest(history, 3)
            strategy, one_by_one = self.strategy(space), []
            for _ in at_once:
                made = strategy.suggest(history, 1)
                history.update(Trial(number=history.next_number, params=params) for params in made)
                one_by_one += made
            assert one_by_one == at_once

    def test_new_instance_agrees_with_one_that_followed_the_search(self) -> None:
        for space in self.spaces:
            history, old = History(), self.strategy(space)
            for number in range(6):
                fresh = self.strategy(space).suggest(history, 1)
                made = old.suggest(history, 1)
                assert made == fresh
                for params in made:
                    history.update([self._ended(number, params)])

    def test_suggest_does_not_change_the_history(self) -> None:
        for space in self.spaces:
            history = self._searched(space, 4)
            before = list(history)
            self.strategy(space).suggest(history, 2)
            assert list(history) == before

    def test_trials_without_metrics_are_accepted(self) -> None:
        for space in self.spaces:
            params = self.strategy(space).suggest(History(), 3)
            states = (TrialState.FAILED, TrialState.RUNNING, TrialState.KILLED)
            history = History(
                Trial(number=number, params=each, state=state)
                for number, (each, state) in enumerate(zip(params, states, strict=False))
            )
            for suggested in self.strategy(space).suggest(history, 1):
                _check_params(space, suggested)

    def test_prior_trials_of_another_space_are_accepted(self) -> None:
        for space in self.spaces:
            prior = [replace(self._ended(0, {"another": 1.5}), state=TrialState.FINISHED)]
            for suggested in self.strategy(space).suggest(History(prior=prior), 1):
                _check_params(space, suggested)

    def test_outlook_is_a_text(self) -> None:
        for space in self.spaces:
            history, strategy = self._searched(space, 6), self.strategy(space)
            strategy.suggest(history, 1)
            assert isinstance(outlook(strategy, history), str)

    def _searched(self, space: SearchSpace, n: int) -> History:
        """Return a history of ended trials that the search itself proposed."""
        history = History()
        for number, params in enumerate(self.strategy(space, seed=1).suggest(history, n)):
            history.update([self._ended(number, params)])
        return history

    def _ended(self, number: int, params: Params) -> Trial:
        value = math.sin(number + 1.0)
        stats = {metric.name: MetricStats().add(value) for metric in self.metrics}
        return Trial(
            number=number, params=params, state=ENDS[number % len(ENDS)], metrics=stats, curve=(value + 1, value)
        )


def _check_params(space: SearchSpace, params: Params) -> None:
    """Raise AssertionError unless the params have a valid value for each leaf that exists, and no other keys."""
    values = space.flatten(params)
    assert space.nest(values) == params, f"keys that the space does not have: {params}"
    assert space.is_feasible(params), f"{params} break a constraint"
    exists = space.structure.existing(values) if space.structure is not None else [True] * len(values)
    for (path, leaf), value, has_value in zip(space.leaves, values, exists, strict=True):
        if not has_value:
            continue
        nearest = leaf.ppf(leaf.cdf(value))
        is_inside = math.isclose(value, nearest, rel_tol=1e-6) if is_number(value) else value == nearest
        assert is_inside, f"{'.'.join(path)}: {value!r} is not in the space"
