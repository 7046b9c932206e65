"""What a seed simulates: a sweep, its agents, its users and its faults."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools.simulate.account import JobRates
from tools.simulate.world import AFTER, DISK, KILL, LOSE, REFUSE, STALE, STALL, TWICE, World

MAX_RUN_S = 240
RETRIES = {"crashed": 2, "user": 1, "internal": 2, "capacity": 3}  # failure class -> retries
COMMANDS = (
    *("pause", "pause", "retry", "retry", "shut down", "interrupt", "stop", "cancel"),
    *("set", "set", "set", "set", "order drain", "order stop", "order parallel"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """A place of the agents. price: dollars per hour."""

    name: str
    slots: int
    quota: int
    price: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """What a user does."""

    at_s: float  # infinite for the moment when an agent marks the sweep finished
    verb: str  # "set": `smsweep set`; "order ...": `smsweep agents set|drain|stop`; otherwise see `Users`
    changes: tuple[str, ...] = ()  # of "set": KEY=VALUE
    slots: int = 0  # of "order parallel"


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """One simulation."""

    config: Mapping[str, Any]  # the sweep.yaml
    job: Mapping[str, Any]  # the job.yaml
    regions: tuple[Region, ...]  # at least one
    agents: int
    starts_s: float  # the agents start within this time
    skews_s: tuple[float, ...]  # of the clock of each agent's machine
    commands: tuple[Command, ...]  # sorted by time
    jobs: JobRates
    faults: Mapping[str, float]  # fault -> probability per call
    calm_s: float  # no faults from this time on
    limits_failures: bool  # agents give up after many failures


def draw(seed: int) -> Scenario:
    """Return the scenario of a seed."""
    rng = World(seed=seed, rates={}, calm_s=0, end_s=0).rng("scenario")
    config = _config(rng)
    n_regions = rng.choice([1, 1, 2])
    regions = tuple(
        Region(
            name=name if n_regions > 1 else "",
            slots=rng.randint(1, 3),
            quota=rng.choice([1, 2, 8, 8]),
            price=rng.choice([1.0, 3.0]),
        )
        for name in ("near", "far")[:n_regions]
    )
    n_agents = rng.choice([1, 1, 2, 2, 3])
    job = _job(rng, regions)
    has_budget = "budget" in job
    commands = [
        _command(rng, config, regions, has_budget=has_budget) for _ in range(rng.choice([0, 0, 1, 2, 3, 4]))
    ]
    is_calm = rng.random() < 0.1
    scale = 0.0 if is_calm else rng.choice([0.3, 1.0, 3.0])
    return Scenario(
        config=config,
        job=job,
        regions=regions,
        agents=n_agents,
        starts_s=rng.choice([0.3, 30.0]),
        skews_s=tuple(rng.choice([0, 0, 0, -400.0, 50.0, 3000.0]) for _ in range(n_agents)),
        commands=tuple(sorted(commands, key=lambda command: command.at_s)),
        jobs=JobRates(),
        faults={
            KILL: 0.004 * scale,
            AFTER: 0.004 * scale,
            REFUSE: 0.006 * scale,
            LOSE: 0.006 * scale,
            TWICE: 0.004 * scale,
            STALL: 0.002 * scale,
            STALE: 0.002 * scale,
            DISK: 0.006 * scale,
        },
        calm_s=1200.0,
        limits_failures=rng.random() < 0.1,
    )


def _config(rng: random.Random) -> dict[str, Any]:
    parameters: dict[str, Any] = {"x": {"values": list(range(rng.randint(1, 4)))}}
    if rng.random() < 0.5:
        parameters["y"] = {"values": ["a", "b"]}
    config: dict[str, Any] = {
        "program": "train.py",
        "method": rng.choice(["grid", "grid", "grid", "random", "random", "bayes"]),
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": parameters,
    }
    if config["method"] != "grid":
        parameters["z"] = {"min": 0.0, "max": 1.0}
    if config["method"] != "grid" or rng.random() < 0.2:
        config["run_cap"] = rng.randint(1, 6)
    if rng.random() < 0.35:
        config["early_terminate"] = _early_terminate(rng)
    return config


def _early_terminate(rng: random.Random) -> dict[str, Any]:
    if rng.random() < 0.2:
        return {"type": "median", "min_iter": 1, "min_trials": 1}
    return {"type": "asha", "min_iter": 1, "eta": 2, "max_iter": 4, "promote": rng.random() < 0.8}


def _job(rng: random.Random, regions: tuple[Region, ...]) -> dict[str, Any]:
    job: dict[str, Any] = {
        "image_uri": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/train:1",
        "role": "arn:aws:iam::123456789012:role/trainer",
        "instance_type": "ml.m5.large",
        "max_run": MAX_RUN_S,
        "repeats": rng.choice([1, 1, 1, 2]),
        "retries": RETRIES,
    }
    if len(regions) == 1:
        job["price_per_hour"] = regions[0].price
    else:
        job["places"] = [
            {"backend": "sagemaker", "name": region.name, "slots": region.slots, "price_per_hour": region.price}
            for region in regions
        ]
    if rng.random() < 0.5:
        job["stop_if"] = ["loss > 90"]
    budget: dict[str, float] = {}
    if rng.random() < 0.4:
        budget["usd"] = _usd(rng, regions)
    if rng.random() < 0.15:
        budget["trials"] = rng.randint(1, 5)
    return job | ({"budget": budget} if budget else {})


def _usd(rng: random.Random, regions: tuple[Region, ...]) -> float:
    """Return a budget that covers at least one trial at any place."""
    return round(max(region.price for region in regions) * MAX_RUN_S / 3600 * rng.uniform(1, 6) + 0.001, 3)


def _command(
    rng: random.Random, config: Mapping[str, Any], regions: tuple[Region, ...], *, has_budget: bool
) -> Command:
    at_s, verb = rng.uniform(0, 600), rng.choice(COMMANDS)
    if verb in ("retry", "set") and rng.random() < 0.3:
        at_s = math.inf
    if verb == "order parallel":
        return Command(at_s=at_s, verb=verb, slots=rng.randint(1, 4))
    if verb != "set":
        return Command(at_s=at_s, verb=verb)
    makers = [
        lambda: f"run_cap={rng.randint(1, 8)}",
        lambda: f"parallel={rng.randint(1, 4)}",
        lambda: f"parameters.x.values={rng.sample(range(5), rng.randint(1, 4))}",
        lambda: f"parameters.x.values+={rng.randint(3, 5)}",
        lambda: f"parameters.x.values-={rng.randint(0, 2)}",
        lambda: rng.choice(["parameters.y={values: [a, b, c]}", "parameters.y=null"]),
        lambda: rng.choice([f"budget.usd={_usd(rng, regions)}", "budget.usd=null"]),
        lambda: rng.choice([f"budget.trials={rng.randint(1, 6)}", "budget.trials=null"]),
        lambda: rng.choice(["stop_if=[loss > 80]", "stop_if=null"]),
        lambda: (
            f"early_terminate={_yaml(_early_terminate(rng))}" if rng.random() < 0.7 else "early_terminate=null"
        ),
    ]
    if has_budget:
        makers += makers[6:8] * 2
    if config["method"] == "grid":
        makers.append(lambda: "run_cap=null")
    else:
        makers.append(lambda: f"parameters.z.max={rng.choice([0.2, 0.5, 2.0])}")
    changes = tuple(dict.fromkeys(rng.choice(makers)() for _ in range(rng.choice([1, 1, 2]))))
    return Command(at_s=at_s, verb=verb, changes=changes)


def _yaml(options: Mapping[str, Any]) -> str:
    texts = {key: str(value).lower() if isinstance(value, bool) else value for key, value in options.items()}
    return "{" + ", ".join(f"{key}: {value}" for key, value in texts.items()) + "}"
