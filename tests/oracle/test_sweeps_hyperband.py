"""Our hyperband stops the same trials as W&B's."""

from __future__ import annotations

import random
from typing import Any

import pytest

from smsweep.core.sweep import Goal, Metric
from smsweep.core.trial import History, Trial, TrialState, is_number
from smsweep.stopping.base import HyperbandOptions
from smsweep.stopping.successive_halving import Hyperband
from tests.oracle.sweeps_cases import ask

pytestmark = pytest.mark.oracle

N_SWEEPS = 1_500
JUNK: tuple[Any, ...] = (float("nan"), float("inf"), "0.1", None, True)

# W&B has no state like our STOPPING: it would stop such a run again
STATES: tuple[tuple[TrialState, str], ...] = (
    (TrialState.PENDING, "pending"),
    (TrialState.RUNNING, "running"),
    (TrialState.FINISHED, "finished"),
    (TrialState.FAILED, "failed"),
    (TrialState.CRASHED, "crashed"),
    (TrialState.KILLED, "killed"),
)


def random_rule(rng: random.Random) -> dict[str, Any]:
    eta: float = rng.choice([2, 3, 4, 1.5, 2.7, 3.0, 10])
    strict: dict[str, Any] = rng.choice([{}, {"strict": True}, {"strict": False}])
    given: dict[str, Any] = rng.choice([{}, {"eta": eta}, {"eta": eta}])
    if rng.random() < 0.5:
        return {"type": "hyperband", "min_iter": rng.randint(1, 6), **given, **strict}
    # at least one band: max_iter over eta is at least 1
    low = int(given.get("eta", 3)) + 1
    return {"type": "hyperband", "max_iter": rng.randint(low, 81), "s": rng.randint(1, 5), **given, **strict}


def random_run(rng: random.Random) -> dict[str, Any]:
    level, slope = rng.gauss(0, 1), rng.gauss(0, 0.1)
    rows: list[dict[str, Any]] = []
    for step in range(rng.choice([0, 1, 2, 3, 9, rng.randint(0, 60)])):
        if rng.random() < 0.1:
            rows.append(rng.choice([{"other": 1.0}, {"loss": rng.choice(JUNK)}]))
        value = level + slope * step + rng.gauss(0, 0.2)
        # rounding makes ties
        rows.append({"loss": rng.choice([value, round(value, 1), round(value)])})
    return {"history": rows, "state": rng.choice(["running", "running", rng.choice(STATES)[1]])}


def random_case(rng: random.Random) -> dict[str, Any]:
    goal: dict[str, Any] = rng.choice([{}, {"goal": "minimize"}, {"goal": "maximize"}])
    return {
        "config": {
            "method": "grid",
            "parameters": {"p": {"values": [1]}},
            "metric": {"name": "loss", **goal},
            "early_terminate": random_rule(rng),
        },
        "runs": [random_run(rng) for _ in range(rng.randint(1, 30))],
    }


def stopping_rule(theirs: dict[str, Any]) -> Hyperband:
    goal = Goal(theirs["metric"].get("goal", "minimize"))
    options = {key: value for key, value in theirs["early_terminate"].items() if key != "type"}
    return Hyperband(Metric(name="loss", goal=goal), HyperbandOptions(**options))


def trials_of(runs: list[dict[str, Any]]) -> list[Trial]:
    ours = {theirs: state for state, theirs in STATES}
    return [
        Trial(
            number=number,
            params={},
            state=ours[run["state"]],
            curve=tuple(row["loss"] for row in run["history"] if is_number(row.get("loss"))),
        )
        for number, run in enumerate(runs)
    ]


def test_stopped_trials_are_those_of_wandb() -> None:
    rng = random.Random(5)
    cases = [random_case(rng) for _ in range(N_SWEEPS)]
    answers = ask("stop", cases)
    differences = []
    for case, theirs in zip(cases, answers, strict=True):
        decisions = stopping_rule(case["config"]).judge(History(trials_of(case["runs"])))
        if [decision.number for decision in decisions] != theirs:
            differences.append((case, decisions, theirs))
    assert not differences
    assert sum(len(theirs) for theirs in answers) > N_SWEEPS
    assert sum(not theirs for theirs in answers) > 50
