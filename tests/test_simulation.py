"""The simulation finds no violation in some seeds, finds a known bug, and repeats a seed exactly."""

from __future__ import annotations

import pytest

from tools.simulate.bugs import BUGS, late_agent_writes
from tools.simulate.run import Simulator


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return Simulator()


def test_invariants_hold(simulator: Simulator) -> None:
    results = [simulator.run(seed) for seed in range(100)]
    assert not [f"seed {result.seed}: {result.problem}" for result in results if result.problem]
    assert sum(len(result.faults) for result in results) > 100
    assert sum(result.jobs for result in results) > 300


def test_seed_repeats_exactly(simulator: Simulator) -> None:
    calls: list[list[str]] = [[], []]
    for trace in calls:
        simulator.run(3, trace=trace.append)
    assert calls[0] == calls[1]
    assert len(calls[0]) > 50


def test_known_bug_is_found_and_needs_its_fault(simulator: Simulator) -> None:
    with late_agent_writes():
        found = next(result for seed in range(100) if (result := simulator.run(seed)).problem)
        assert not simulator.run(found.seed, allowed=frozenset()).problem


def test_each_known_bug_says_when_it_was_fixed() -> None:
    assert all("fixed in" in (bug.__doc__ or "") or "found by" in (bug.__doc__ or "") for bug in BUGS)
    assert len(BUGS) == 10
