"""Random sweep configs: valid configs, and configs with one error."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

Config = dict[str, Any]

WORDS = ("alpha", "beta_2", "lr", "opt.name", "hidden", "x-y", "batch_size", "drop_out", "_private")
WEIGHTS = ([0.2, 0.3, 0.5], [1, 0, 0], [0.25, 0.25, 0.5], [0.5, 0.5, 0.5])
JUNK: tuple[Any, ...] = (None, True, False, "", "text", "3", 0, 1, -1, 2.5, [], [1], {}, {"a": 1}, "1e-5")
KEYS = (
    *(
        "name",
        "goal",
        "target",
        "type",
        "eta",
        "s",
        "min",
        "max",
        "q",
        "mu",
        "values",
        "value",
        "parameters",
        "metric",
    ),
    *("distribution", "settings", "launch", "tags", "prior_runs", "impute", "strict", "source", "foo", "run_cap"),
)


def number(rng: random.Random) -> int | float:
    return rng.choice([rng.randint(-3, 9), round(rng.uniform(-3, 9), 3)])


def bounds(rng: random.Random) -> Config:
    if rng.random() < 0.3:
        low, high = sorted(rng.sample(range(-5, 20), 2))
        return {"min": low, "max": high}
    low_float = round(rng.uniform(0.001, 2), 4)
    return {"min": low_float, "max": low_float + round(rng.uniform(0.1, 3), 4)}


def value(rng: random.Random) -> Any:
    return rng.choice([1, 2.5, "adam", True, None, [1, 2], {"k": 1}, "1e-5", 0])


def distribution(rng: random.Random) -> Config:
    kind = rng.choice(
        [
            *("uniform", "int_uniform", "q_uniform", "log_uniform", "log_uniform_values", "q_log_uniform"),
            *("q_log_uniform_values", "inv_log_uniform", "inv_log_uniform_values", "normal", "q_normal"),
            *("log_normal", "q_log_normal", "beta", "q_beta"),
        ]
    )
    spec: Config = {"distribution": kind}
    if "uniform" in kind:
        spec |= {"min": 1, "max": rng.randint(2, 9)} if kind == "int_uniform" else bounds(rng)
    elif "normal" in kind and rng.random() < 0.7:
        spec |= {"mu": number(rng), "sigma": rng.choice([0, 1, 0.5])}
    elif "beta" in kind and rng.random() < 0.7:
        spec |= {"a": rng.choice([0.5, 2, 1]), "b": rng.choice([0.5, 2, 1])}
    if kind.startswith("q_") and rng.random() < 0.7:
        spec["q"] = rng.choice([1, 2, 0.5])
    return spec


def parameter(rng: random.Random, depth: int = 0) -> Config:
    makers: list[Callable[[], Config]] = [
        lambda: {"value": value(rng)},
        lambda: {"values": [value(rng) for _ in range(rng.randint(1, 4))]},
        lambda: {"values": ["a", "b", "c"], "probabilities": rng.choice(WEIGHTS)},
        lambda: bounds(rng),
        lambda: distribution(rng),
        lambda: distribution(rng),
        lambda: bounds(rng) if rng.random() < 0.7 else {"min": number(rng), "max": number(rng)},
    ]
    if depth < 2:
        makers.append(lambda: {"parameters": parameters(rng, depth + 1)})
    return rng.choice(makers)()


def parameters(rng: random.Random, depth: int = 0) -> Config:
    return {name: parameter(rng, depth) for name in rng.sample(WORDS, rng.randint(1, 3))}


def metric(rng: random.Random) -> Config:
    section: Config = {"name": rng.choice(["loss", "val.acc"])}
    options: dict[str, list[Any]] = {
        "goal": ["minimize", "maximize"],
        "target": [0.1, 3],
        "impute": ["latest", "best", "worst"],
        "impute_while_running": ["latest", "best", "worst", "false"],
    }
    return section | {key: rng.choice(words) for key, words in options.items() if rng.random() < 0.3}


def early_terminate(rng: random.Random) -> Config:
    span = rng.choice([{"min_iter": rng.randint(1, 9)}, {"max_iter": rng.choice([2, 27]), "s": rng.randint(1, 3)}])
    options: dict[str, list[Any]] = {"eta": [2, 3, 1.5], "strict": [True, False], "s": [2, 2.5], "max_iter": [9]}
    extra = {key: rng.choice(words) for key, words in options.items() if rng.random() < 0.1}
    return {"type": "hyperband", **span, **extra}


def config(rng: random.Random) -> Config:
    created: Config = {
        "method": rng.choice(["grid", "random", "random", "random", "bayes", "custom"]),
        "parameters": parameters(rng),
    }
    if created["method"] == "bayes" or rng.random() < 0.5:
        created["metric"] = metric(rng)
    options: dict[str, Callable[[], Any]] = {
        "program": lambda: "train.py",
        "command": lambda: ["${env}", "python", "${program}", 3, "${args}"],
        "early_terminate": lambda: early_terminate(rng),
        "run_cap": lambda: rng.choice([1, 20, 2.0]),
        "name": lambda: "a name",
        "project": lambda: "p",
        "controller": lambda: {"type": rng.choice(["local", "cloud"])},
        "kind": lambda: "sweep",
        "apiVersion": lambda: "v1",
        "scheduler": lambda: {"engine": rng.choice(["wandb", "optuna", "ax"])},
        "metrics": lambda: [metric(rng), metric(rng)],
    }
    chances = {"scheduler": 0.04, "metrics": 0.04}
    return created | {key: make() for key, make in options.items() if rng.random() < chances.get(key, 0.15)}


def mutate(whole: Config, rng: random.Random) -> Config:
    """Return a copy with one random change."""
    changed = copy.deepcopy(whole)
    place: Any = changed
    while rng.random() < 0.6:
        deeper = [
            item
            for item in (place.values() if isinstance(place, dict) else place)
            if item and isinstance(item, (dict, list))
        ]
        if not deeper:
            break
        place = rng.choice(deeper)
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    key: Any = rng.choice(keys) if keys else None
    action = rng.choice(["drop", "misspell", "junk", "add"])
    if key is None or (action == "add" and isinstance(place, dict)):
        _ = place.update({rng.choice(KEYS): rng.choice(JUNK)}) if isinstance(place, dict) else place.append(1)
    elif action == "drop":
        del place[key]
    elif action == "misspell" and isinstance(place, dict):
        place[f"{key[:1]}{key}"] = place.pop(key)
    else:
        place[key] = rng.choice(JUNK)
    return changed


def cases(n: int, seed: int = 0) -> list[Config]:
    rng = random.Random(seed)
    created = []
    for _ in range(n):
        case = config(rng)
        for _ in range(rng.choice([0, 0, 1, 1, 2])):
            case = mutate(case, rng)
        created.append(case)
    return created
