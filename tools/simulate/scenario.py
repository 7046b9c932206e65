"""What a seed simulates: a sweep, its agents, its users and its faults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools.simulate.account import JobRates
from tools.simulate.world import AFTER, KILL, LOSE, REFUSE, STALL, TWICE, World

MAX_RUN_S = 240
RETRIES = {"crashed": 2, "user": 1, "internal": 2, "capacity": 3}  # failure class -> retries


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """A place of the agents. price: dollars per hour."""

    name: str
    slots: int
    quota: int
    price: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """One simulation."""

    config: Mapping[str, Any]  # the sweep.yaml
    regions: tuple[Region, ...]  # at least one
    agents: int
    skews_s: tuple[float, ...]  # of the clock of each agent's machine
    usd: float | None  # the budget
    trial_cap: int | None
    repeats: int
    stop_if: tuple[str, ...]
    commands: tuple[tuple[float, str], ...]  # (time, what a user does)
    jobs: JobRates
    faults: Mapping[str, float]  # fault -> probability per call
    calm_s: float  # no faults from this time on
    limits_failures: bool  # agents give up after many failures


def draw(seed: int) -> Scenario:
    """Return the scenario of a seed."""
    rng = World(seed=seed, rates={}, calm_s=0, end_s=0).rng("scenario")
    parameters: dict[str, Any] = {"x": {"values": list(range(rng.randint(1, 4)))}}
    if rng.random() < 0.5:
        parameters["y"] = {"values": ["a", "b"]}
    config: dict[str, Any] = {
        "program": "train.py",
        "method": rng.choice(["grid", "grid", "random"]),
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": parameters,
    }
    if config["method"] == "random" or rng.random() < 0.2:
        config["run_cap"] = rng.randint(1, 6)
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
    worst_usd = max(region.price for region in regions) * MAX_RUN_S / 3600
    commands = []
    for _ in range(rng.choice([0, 0, 1, 2, 3])):
        verb = rng.choice(["pause", "pause", "retry", "retry", "shut down", "interrupt", "stop", "cancel"])
        commands.append((rng.uniform(0, 600), verb))
    is_calm = rng.random() < 0.1
    scale = 0.0 if is_calm else rng.choice([0.3, 1.0, 3.0])
    return Scenario(
        config=config,
        regions=regions,
        agents=n_agents,
        skews_s=tuple(rng.choice([0, 0, 0, -400.0, 50.0, 3000.0]) for _ in range(n_agents)),
        usd=worst_usd * rng.uniform(1, 6) if rng.random() < 0.4 else None,
        trial_cap=rng.randint(1, 5) if rng.random() < 0.15 else None,
        repeats=rng.choice([1, 1, 1, 2]),
        stop_if=("loss > 90",) if rng.random() < 0.5 else (),
        commands=tuple(sorted(commands)),
        jobs=JobRates(),
        faults={
            KILL: 0.004 * scale,
            AFTER: 0.004 * scale,
            REFUSE: 0.006 * scale,
            LOSE: 0.006 * scale,
            TWICE: 0.004 * scale,
            STALL: 0.002 * scale,
        },
        calm_s=1200.0,
        limits_failures=rng.random() < 0.1,
    )
