"""What one key of a sweep.yaml demands of another. W&B mostly says nothing here, and does something else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from smsweep.config_files.document import Path, Problems
from smsweep.config_files.sweep_models import Engine
from smsweep.runtime.job.command_macros import item_warnings
from smsweep.search.registry import METHODS, SearchSpec
from smsweep.space.distributions import Constant, Distribution
from smsweep.space.space import SearchSpace
from smsweep.stopping.registry import RULES, StoppingSpec

# Keys that W&B's own tools write or read though its schema has none of them; nothing here depends on them.
IGNORED = {
    "settings": "W&B's command line keeps its own settings there",
    "launch": "W&B Launch keeps its job's settings there; the job's settings are job.yaml's here",
    "imports": "W&B's old launch form",
    "tags": "W&B ignores it too; tags of the training jobs are job.yaml's",
}
WANDB_METHODS = ("grid", "random", "bayes")
WANDB_RULE = "hyperband"
LAUNCH = ("job", "image_uri")  # in W&B's schema, for W&B Launch


def check_rules(data: Mapping[str, Any], problems: Problems, *, is_stored: bool = False) -> None:
    """Add the problems of keys that do not fit each other.

    Args:
        data: The document. Any value can still have the wrong type.
        problems: Receives the problems.
        is_stored: The document was valid when its sweep was created. Plug-ins are not imported.
    """
    _check_metrics(data, METHODS.builtin if is_stored else METHODS, problems)
    _check_early_terminate(data, RULES.builtin if is_stored else RULES, problems)
    _check_scheduler(data, problems)
    _check_command(data, problems)
    for key in LAUNCH:
        if key in data:
            problems.warn((key,), "is for W&B Launch and not used here; job.yaml says how a trial's job runs")
    for key, why in IGNORED.items():
        if key in data:
            problems.warn((key,), f"not used here ({why})")
    if "prior_runs" in data:
        problems.add(
            ("prior_runs",),
            "no key of a sweep's config, and W&B ignores it; name prior runs when creating the sweep",
        )


def check_space(space: SearchSpace, method: object, problems: Problems) -> None:
    """Note parameters that the method cannot search. space: without those that are already noted."""
    for path, leaf in _leaves(space, ("parameters",)):
        if method == "grid" and leaf.grid_size is None:
            problems.add(path, f"a grid cannot list {leaf.kind}; give values, or use method random or bayes")
        elif method == "grid" and leaf.kind == "q_uniform":
            problems.warn(path, "a grid over q_uniform stops before max, as W&B's does; list values to include it")
    is_whole = not problems.any_in(("parameters",))
    if method == "bayes" and is_whole and all(isinstance(leaf, Constant) for _, leaf in _leaves(space, ())):
        problems.add(("parameters",), "bayes has nothing to search: every parameter is a constant")


def _needs(registry: Mapping[str, SearchSpec] | Mapping[str, StoppingSpec], name: object) -> Sequence[str]:
    """Return the needs of a registry's entry, () if it has no entry of that name."""
    return registry[name].needs if isinstance(name, str) and name in registry else ()


def _leaves(space: SearchSpace, path: Path) -> Iterator[tuple[Path, Distribution]]:
    for name, item in space.parameters.items():
        if isinstance(item, SearchSpace):
            yield from _leaves(item, (*path, name, "parameters"))
        else:
            yield (*path, name), item


def _check_metrics(data: Mapping[str, Any], methods: Mapping[str, SearchSpec], problems: Problems) -> None:
    method = data.get("method")
    if "metric" in data and "metrics" in data:
        problems.add(("metrics",), "cannot stand beside metric; keep one of the two")
    elif "metrics" in data and method in WANDB_METHODS:
        problems.add(("metrics",), f"needs method: custom, got {method}; for one metric write metric")
    for index, name in _repeated_names(data.get("metrics")):
        text = f"{name!r} is there twice; give each metric once, with one goal"
        problems.add(("metrics", index, "name"), text)
    if "metric" in _needs(methods, method) and "metric" not in data and "metrics" not in data:
        problems.add(
            ("metric",), f"missing; {method} needs a metric to make better: add metric: {{name: ..., goal: ...}}"
        )


def _repeated_names(metrics: object) -> Iterator[tuple[int, str]]:
    seen = set()
    for index, metric in enumerate(metrics if isinstance(metrics, list) else ()):
        name = metric.get("name") if isinstance(metric, dict) else None
        if isinstance(name, str) and name in seen:
            yield index, name
        seen.add(name if isinstance(name, str) else None)


def _check_early_terminate(data: Mapping[str, Any], rules: Mapping[str, StoppingSpec], problems: Problems) -> None:
    section = data.get("early_terminate")
    if not isinstance(section, dict):
        return
    path = ("early_terminate",)
    rule = section.get("type")
    if not isinstance(rule, str) or "metric" in _needs(rules, rule):
        if "metrics" in data:
            problems.add(
                path, "compares trials by one metric, not by metrics; remove it, or write stop_if in job.yaml"
            )
        elif "metric" not in data:
            problems.add(path, "needs a metric to compare trials by; add metric: {name: ..., goal: ...}")
    if isinstance(rule, str) and rule != WANDB_RULE and rule in rules:
        warning = f"{rule} is smsweep's own" if rule in RULES.builtin else f"{rule} is a plug-in's rule"
        problems.warn((*path, "type"), f"{warning}: W&B knows hyperband only and would stop nothing")
    if rule != WANDB_RULE:
        return
    if "max_iter" not in section and "min_iter" in section and "s" in section:
        problems.warn((*path, "s"), "not used without max_iter, from which it counts checks down, as in W&B")
    if "max_iter" in section and "min_iter" in section:
        problems.warn((*path, "min_iter"), "not used: max_iter and s go first, as in W&B")


def _check_scheduler(data: Mapping[str, Any], problems: Problems) -> None:
    scheduler = data.get("scheduler")
    if not isinstance(scheduler, dict):
        return
    path = ("scheduler",)
    engine, method = scheduler.get("engine"), data.get("method")
    methods = WANDB_METHODS if engine == "wandb" else ("custom",)
    if engine in get_args(Engine) and isinstance(method, str) and method not in methods:
        problems.add((*path, "engine"), f"{engine} needs method: {' or '.join(methods)}, got {method}")
    for key in ("optimizer", "search_space"):
        is_sampler = key == "optimizer" and engine == "optuna" and str(scheduler.get(key)).endswith("Sampler")
        if key in scheduler and "source" not in scheduler and not is_sampler:
            problems.add((*path, key), "names a function of source; add source: file.py")
    controller = data.get("controller")
    if isinstance(controller, dict) and controller.get("type") == "local":
        problems.add(("controller",), "type local cannot stand beside scheduler; remove controller")
    if "early_terminate" in data:
        problems.add(("early_terminate",), "cannot stand beside scheduler, which ends trials itself; remove one")


def _check_command(data: Mapping[str, Any], problems: Problems) -> None:
    """Warn of macros that W&B leaves as they are or replaces by nothing: both are easy to miss."""
    command = data.get("command")
    names = data["parameters"] if isinstance(data.get("parameters"), dict) else ()
    first = next((item for item in command if item != "${env}"), "") if isinstance(command, list) else ""
    if isinstance(first, str) and first.startswith("${args"):
        text = "begins with params, and W&B puts no program in front; begin with ${interpreter}, ${program}"
        problems.warn(("command",), text)
    for index, item in enumerate(command if isinstance(command, list) else ()):
        for warning in item_warnings(item, names) if isinstance(item, str) else ():
            problems.warn(("command", index), warning)
