"""`smsweep.judge` stops the same trials as W&B's `stop_runs` for the same config and rows."""

from __future__ import annotations

import random
from typing import Any

import pytest

from smsweep import judge
from tests.oracle.sweeps_cases import ask

pytestmark = pytest.mark.oracle

N_SWEEPS = 1_500
JUNK: tuple[Any, ...] = (float("nan"), float("inf"), float("-inf"), None, True, False, "0.1", [0.1], 10**400)
STATES = ("pending", "finished", "failed", "crashed", "killed")
NAMES = ("loss", "val.loss", "val/loss", "val.mean.loss", "Best loss (%)")

Row = dict[str, Any]


def random_rule(rng: random.Random) -> dict[str, Any]:
    eta: float = rng.choice([2, 3, 4, 1.5, 2.7, 3.0, 1.01, rng.uniform(1.1, 12)])
    given: dict[str, Any] = rng.choice([{}, {"eta": eta}, {"eta": eta}])
    strict: dict[str, Any] = rng.choice([{}, {"strict": True}, {"strict": False}])
    counted_up = {"min_iter": rng.randint(1, 6)}
    # at least one band: max_iter over eta is at least 1
    counted_down = {"max_iter": rng.randint(int(given.get("eta", 3)) + 1, 81), "s": rng.randint(1, 8)}
    bands: dict[str, Any] = rng.choice([counted_up, counted_down, counted_down, {**counted_up, **counted_down}])
    return {"type": "hyperband", **bands, **given, **strict}


def nested(name: str, value: Any) -> Row:
    """Return the row as logged by a script that nests its metrics."""
    head, _, rest = name.partition(".")
    return {head: nested(rest, value) if rest else value}


def flat(row: Row) -> Row:
    """Return the row as stored by W&B's server."""
    stored: Row = {}
    for name, value in row.items():
        inner = {f"{name}.{key}": item for key, item in flat(value).items()} if isinstance(value, dict) else None
        stored |= {name: value} if inner is None else inner
    return stored


def random_rows(rng: random.Random, name: str) -> list[Row]:
    level, slope = rng.gauss(0, 1), rng.gauss(0, 0.1)
    rows: list[Row] = []
    for step in range(rng.choice([0, 1, 2, 3, 9, rng.randint(0, 60)])):
        if rng.random() < 0.2:
            rows.append(rng.choice([{}, {"other": 1.0}, nested(name, rng.choice(JUNK)), {"loss_": step}]))
        value = level + slope * step + rng.gauss(0, 0.2)
        rounded = rng.choice([value, round(value, 1), round(value)])  # rounding makes ties, and ints
        rows.append({"epoch": step, **rng.choice([nested(name, rounded), {name: rounded}])})
    return rows


def random_trial(rng: random.Random, name: str) -> dict[str, Any]:
    trial: dict[str, Any] = {"state": rng.choice(["running", "running", rng.choice(STATES)])}
    shape = rng.random()
    if shape > 0.05:
        trial["history"] = random_rows(rng, name)
    if shape < 0.3:
        trial["summary"] = {name: rng.gauss(0, 3)}  # sometimes the only value of the metric
    return trial


def random_case(rng: random.Random) -> dict[str, Any]:
    name = rng.choice(NAMES)
    goal: dict[str, Any] = rng.choice([{}, {"goal": "minimize"}, {"goal": "maximize"}])
    config = {
        "method": "random",
        "parameters": {"p": {"min": 0.0, "max": 1.0}},
        "metric": {"name": name, **goal},
        "early_terminate": random_rule(rng),
    }
    return {"config": config, "trials": [random_trial(rng, name) for _ in range(rng.randint(0, 30))]}


def for_wandb(case: dict[str, Any]) -> dict[str, Any]:
    runs = [
        {
            "state": trial["state"],
            "history": [flat(row) for row in trial.get("history", [])],
            "summary": trial.get("summary", {}),
        }
        for trial in case["trials"]
    ]
    return {"config": case["config"], "runs": runs}


def test_judge_stops_same_trials_as_wandb() -> None:
    rng = random.Random(8)
    cases = [random_case(rng) for _ in range(N_SWEEPS)]
    answers = ask("stop", [for_wandb(case) for case in cases])
    differences = []
    for case, theirs in zip(cases, answers, strict=True):
        decisions = judge(case["config"], case["trials"])
        if [decision.number for decision in decisions] != theirs:
            differences.append((case, decisions, theirs))
    assert not differences
    assert sum(len(theirs) for theirs in answers) > N_SWEEPS
    assert sum(not theirs for theirs in answers) > 50
