"""Our grid has the cells of W&B in the same order, and skips the same cells."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Mapping
from typing import Any

import pytest

from smsweep.core.trial import History, Trial, TrialState
from smsweep.search.grid_and_random import GridSearch
from smsweep.space.distribution import identity
from smsweep.space.space import SearchSpace
from tests.oracle.sweeps_cases import Parameter, ask, distribution_of, grid_parameter, nested, space_of

pytestmark = pytest.mark.oracle

N_GRIDS = 1_000
MAX_CELLS = 200

# W&B's name for each of our states, and states that only W&B has
STATES: tuple[tuple[TrialState, str], ...] = (
    (TrialState.PENDING, "pending"),
    (TrialState.RUNNING, "running"),
    (TrialState.STOPPING, "running"),
    (TrialState.FINISHED, "finished"),
    (TrialState.FAILED, "failed"),
    (TrialState.CRASHED, "crashed"),
    (TrialState.STOPPED, "killed"),
    (TrialState.KILLED, "killed"),
    (TrialState.PENDING, "preempted"),
    (TrialState.RUNNING, "preempting"),
)


def changed(rng: random.Random, value: Any) -> Any:
    """Return the value as a script or a database can return it. W&B may or may not treat it as equal."""
    choices: list[Any] = [value, str(value), [value], None]
    if isinstance(value, (int, float)) and value == value and abs(value) != float("inf"):
        choices += [float(value), int(value), bool(value), value + 1]
    if isinstance(value, dict):
        choices += [{**value, "added": 1}, {**value, "k": 99}, dict(reversed(value.items())), {}]
    return rng.choice(choices)


def past(rng: random.Random, space: SearchSpace) -> list[Any]:
    """Return the params of earlier runs: cells of the grid, some of them changed."""
    runs = []
    size = space.grid_size or 0
    for _ in range(rng.choice([0, 1, 3, size // 2, size, 2 * size])):
        params = space.grid_cell(rng.randrange(size))
        if rng.random() < 0.4:
            alter(rng, params)
        runs.append(params)
    return runs


def alter(rng: random.Random, params: dict[str, Any]) -> None:
    name = rng.choice(sorted(params))
    what = rng.random()
    if what < 0.2:
        del params[name]
    elif what < 0.4:
        params["unasked"] = rng.random()
    elif isinstance(params[name], dict) and params[name] and what < 0.8:
        alter(rng, params[name])
    else:
        params[name] = changed(rng, params[name])


def random_case(rng: random.Random) -> dict[str, Any]:
    """Return a grid that W&B can list, and earlier runs."""
    while True:
        parameters = nested(rng, grid_parameter)
        space = space_of(parameters)
        if 1 <= (space.grid_size or 0) <= MAX_CELLS:
            break
    runs = [{"params": params, "state": rng.choice(STATES)[1]} for params in past(rng, space)]
    return {"parameters": parameters, "runs": [run for run in runs if is_readable(space, run["params"])], "n": 250}


def is_readable(space: SearchSpace, params: Mapping[str, Any]) -> bool:
    """Return True if W&B can read a run. W&B raises an error for a scalar in place of nested params."""
    for path, _ in space.leaves:
        level: Any = params
        for name in path[:-1]:
            level = level.get(name, {})
            if not isinstance(level, dict):
                return False
    return True


def history_of(runs: list[dict[str, Any]]) -> History:
    ours = {theirs: state for state, theirs in STATES}
    return History(
        Trial(number=number, params=run["params"], state=ours[run["state"]]) for number, run in enumerate(runs)
    )


def exactly(value: Any) -> str:
    """Return a form in which 1, 1.0 and True differ, NaN equals NaN, and the order of keys has no effect."""
    return json.dumps(value, sort_keys=True)


def has_equal_values(parameters: Mapping[str, Any]) -> bool:
    return any(
        has_equal_values(item["parameters"])
        if "parameters" in item
        else len({identity(value) for value in item.get("values", ())}) < len(item.get("values", ()))
        for item in parameters.values()
    )


@pytest.fixture(scope="module")
def cases() -> list[dict[str, Any]]:
    rng = random.Random(20)
    return [random_case(rng) for _ in range(N_GRIDS)]


@pytest.fixture(scope="module")
def answers(cases: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    return ask("grid", cases)


def test_remaining_cells_and_their_order_are_those_of_wandb(
    cases: list[dict[str, Any]], answers: list[list[dict[str, Any]]]
) -> None:
    differences = []
    for case, theirs in zip(cases, answers, strict=True):
        space = space_of(case["parameters"])
        ours = GridSearch(space).suggest(history_of(case["runs"]), case["n"])
        # if equal values are listed, W&B uses the last: see INTENDED
        if has_equal_values(case["parameters"]):
            same = [space.grid_index(cell) for cell in ours] == [space.grid_index(cell) for cell in theirs]
        else:
            same = exactly(ours) == exactly(theirs)
        if not same:
            differences.append((case, ours, theirs))
    assert not differences


def test_generated_grids_cover_all_kinds(cases: list[dict[str, Any]], answers: list[list[dict[str, Any]]]) -> None:
    sizes = [space_of(case["parameters"]).grid_size or 0 for case in cases]
    partly_seen = [size for size, rest in zip(sizes, answers, strict=True) if 0 < len(rest) < size]
    assert len(partly_seen) > 200
    assert sum(not rest for rest in answers) > 20
    assert sum(has_equal_values(case["parameters"]) for case in cases) > 20
    assert max(sizes) > 50


def test_cells_one_by_one_equal_cells_at_once(cases: list[dict[str, Any]]) -> None:
    for case in cases[:50]:
        space = space_of(case["parameters"])
        history = history_of(copy.deepcopy(case["runs"]))
        at_once = GridSearch(space).suggest(history, 250)
        strategy, one_by_one = GridSearch(space), []
        while suggested := strategy.suggest(history, 1):
            one_by_one.extend(suggested)
            history.update([Trial(number=history.next_number, params=suggested[0])])
        assert exactly(one_by_one) == exactly(at_once)


INTENDED: tuple[tuple[Parameter, list[Any], list[Any], str], ...] = (
    (
        {"distribution": "categorical", "values": [1, 2, 1.0]},
        [1.0, 2],
        [1, 2],
        "of equal values W&B proposes the last in the first one's place; the first is what the user put there",
    ),
)


@pytest.mark.parametrize(("item", "theirs", "ours", "why"), INTENDED)
def test_wandb_defect_is_not_copied(item: Parameter, theirs: list[Any], ours: list[Any], why: str) -> None:
    [answer] = ask("grid", [{"parameters": {"p": item}, "runs": [], "n": 10}])
    assert exactly([params["p"] for params in answer]) == exactly(theirs), why
    leaf = distribution_of(item)
    assert exactly([leaf.grid_value(i) for i in range(leaf.grid_size or 0)]) == exactly(ours), why
