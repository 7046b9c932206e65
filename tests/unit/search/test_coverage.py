from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from smsweep.core.trial import History, Params, Trial
from smsweep.search.coverage import BULK, Coverage
from tests.unit.search.histories import add, remove

SIZE = 300


def cell_of(params: Params) -> int | None:
    cell = params["cell"]
    return cell if isinstance(cell, int) else None


class CoverageMachine(RuleBasedStateMachine):
    """A coverage that follows a history always equals a new coverage of the same history."""

    numbers: Bundle[int] = Bundle("numbers")

    def __init__(self) -> None:
        super().__init__()
        self.history = History(prior=[Trial(number=0, params={"cell": 7})])
        self.coverage = Coverage(SIZE, cell_of)

    @rule(target=numbers, cell=st.integers(0, SIZE - 1) | st.none())
    def add_one(self, cell: int | None) -> int:
        return add(self.history, {"cell": cell})

    @rule(first=st.integers(0, SIZE - BULK))
    def add_many(self, first: int) -> None:
        for cell in range(first, first + BULK):
            add(self.history, {"cell": cell})

    @rule(number=numbers)
    def take_out(self, number: int) -> None:
        remove(self.history, number)

    @rule(number=numbers, cell=st.integers(0, SIZE - 1))
    def change(self, number: int, cell: int) -> None:
        self.history.update([Trial(number=number, params={"cell": cell})])

    @rule()
    def follow(self) -> None:
        self.coverage.follow(self.history)

    @invariant()
    def free_cells_are_those_that_no_trial_holds(self) -> None:
        self.coverage.follow(self.history)
        held = {7} | {cell_of(trial.params) for trial in self.history}
        free = [cell for cell in range(SIZE) if cell not in held]
        assert [self.coverage.free(k) for k in range(self.coverage.n_free)] == free
        assert all((cell in self.coverage) == (cell in held) for cell in range(SIZE))


TestCoverage = pytest.mark.slow(CoverageMachine.TestCase)


def test_another_history_resets_the_coverage() -> None:
    coverage = Coverage(2, cell_of)
    coverage.follow(History([Trial(number=0, params={"cell": 0})]))
    coverage.follow(History([Trial(number=0, params={"cell": 1})]))
    assert [coverage.free(k) for k in range(coverage.n_free)] == [0]


def test_infinite_space_is_never_used_up() -> None:
    history, coverage = History(), Coverage(None, cell_of)
    number = add(history, {"cell": 3})
    coverage.follow(history)
    assert (3 in coverage, 4 in coverage, coverage.is_used_up) == (True, False, False)
    remove(history, number)
    coverage.follow(history)
    assert 3 not in coverage
    with pytest.raises(ValueError, match="infinite"):
        assert coverage.n_free


def test_cell_is_free_after_both_of_its_trials_are_removed() -> None:
    history, coverage = History(), Coverage(1, cell_of)
    numbers = [add(history, {"cell": 0}) for _ in range(2)]
    for number, n_free in zip(numbers, (0, 1), strict=True):
        remove(history, number)
        coverage.follow(history)
        assert coverage.n_free == n_free
