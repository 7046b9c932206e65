"""What one key of a sweep.yaml demands of another. W&B mostly says nothing here, and does something else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from smsweep.config_files.document import Path, Problems
from smsweep.runtime.job.command_macros import item_warnings
from smsweep.space.distributions import Constant, Distribution
from smsweep.space.space import SearchSpace

# engine -> the methods that it serves
ENGINES = {"wandb": ("grid", "random", "bayes"), "optuna": ("custom",), "ax": ("custom",)}

# Keys that W&B's own tools write or read though its schema has none of them; nothing here depends on them.
IGNORED = {
    "settings": "W&B's command line keeps its own settings there",
    "launch": "W&B Launch keeps its job's settings there; the job's settings are job.yaml's here",
    "imports": "W&B's old launch form",
    "tags": "W&B ignores it too; tags of the training jobs are job.yaml's",
}
# Rules of early_terminate that W&B does not know -> the keys that mean something to them.
OWN_RULES: Mapping[str, tuple[str, ...]] = {
    "asha": ("min_iter", "max_iter", "eta", "strict"),
    "median": ("min_iter", "min_trials"),
    "forecast": ("min_iter", "eta", "min_trials"),
}

LAUNCH = ("job", "image_uri")  # in W&B's schema, for W&B Launch


def check_rules(data: Mapping[str, Any], problems: Problems) -> None:
    """Note what does not go together. data: the document, of which anything may still be of the wrong type."""
    _check_metrics(data, problems)
    _check_early_terminate(data, problems)
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


def _leaves(space: SearchSpace, path: Path) -> Iterator[tuple[Path, Distribution]]:
    for name, item in space.parameters.items():
        if isinstance(item, SearchSpace):
            yield from _leaves(item, (*path, name, "parameters"))
        else:
            yield (*path, name), item


def _check_metrics(data: Mapping[str, Any], problems: Problems) -> None:
    method = data.get("method")
    if "metric" in data and "metrics" in data:
        problems.add(("metrics",), "cannot stand beside metric; keep one of the two")
    elif "metrics" in data and method in ("grid", "random", "bayes"):
        problems.add(("metrics",), f"needs method: custom, got {method}; for one metric write metric")
    for index, name in _repeated_names(data.get("metrics")):
        text = f"{name!r} is there twice; give each metric once, with one goal"
        problems.add(("metrics", index, "name"), text)
    if method == "bayes" and "metric" not in data and "metrics" not in data:
        problems.add(
            ("metric",), "missing; bayes needs a metric to make better: add metric: {name: ..., goal: ...}"
        )


def _repeated_names(metrics: object) -> Iterator[tuple[int, str]]:
    seen = set()
    for index, metric in enumerate(metrics if isinstance(metrics, list) else ()):
        name = metric.get("name") if isinstance(metric, dict) else None
        if isinstance(name, str) and name in seen:
            yield index, name
        seen.add(name if isinstance(name, str) else None)


def _check_early_terminate(data: Mapping[str, Any], problems: Problems) -> None:
    section = data.get("early_terminate")
    if not isinstance(section, dict):
        return
    path = ("early_terminate",)
    if "metrics" in data:
        problems.add(
            path, "compares trials by one metric, not by metrics; remove it, or write stop_if in job.yaml"
        )
    elif "metric" not in data:
        problems.add(path, "needs a metric to compare trials by; add metric: {name: ..., goal: ...}")
    rule = section.get("type")
    if isinstance(rule, str) and rule in OWN_RULES:
        _check_own_rule(section, rule, problems)
        return
    if "min_trials" in section:
        problems.add((*path, "min_trials"), "is for types median and forecast; remove it")
    if "min_iter" not in section and "max_iter" not in section:
        problems.add(path, "needs min_iter, or max_iter and s")
    if "max_iter" in section and "s" not in section:
        problems.add((*path, "max_iter"), "needs s beside it, the number of checks; or give min_iter alone")
    if "max_iter" not in section and "min_iter" in section and "s" in section:
        problems.warn((*path, "s"), "not used without max_iter, from which it counts checks down, as in W&B")
    if "max_iter" in section and "min_iter" in section:
        problems.warn((*path, "min_iter"), "not used: max_iter and s go first, as in W&B")
    max_iter, eta = section.get("max_iter"), section.get("eta", 3)
    if isinstance(max_iter, int) and isinstance(eta, (int, float)) and eta > 1 and max_iter < eta:
        problems.add(
            (*path, "max_iter"), f"leaves no check: max_iter {max_iter} is less than eta {eta}; raise max_iter"
        )


def _check_own_rule(section: Mapping[str, Any], rule: str, problems: Problems) -> None:
    path = ("early_terminate",)
    problems.warn((*path, "type"), f"{rule} is smsweep's own: W&B knows hyperband only and would stop nothing")
    if "min_iter" not in section:
        problems.add(path, f"{rule} needs min_iter, the number of values before the first check")
    for key in section:
        if key in ("min_iter", "max_iter", "s", "eta", "strict", "min_trials") and key not in OWN_RULES[rule]:
            problems.add((*path, key), f"means nothing to {rule}; remove it")
    min_iter, max_iter = section.get("min_iter"), section.get("max_iter")
    if isinstance(min_iter, int) and isinstance(max_iter, int) and max_iter <= min_iter:
        problems.add((*path, "max_iter"), f"leaves no check: it must be above min_iter {min_iter}")


def _check_scheduler(data: Mapping[str, Any], problems: Problems) -> None:
    scheduler = data.get("scheduler")
    if not isinstance(scheduler, dict):
        return
    path = ("scheduler",)
    engine, method = scheduler.get("engine"), data.get("method")
    if isinstance(engine, str) and engine in ENGINES and isinstance(method, str) and method not in ENGINES[engine]:
        methods = " or ".join(ENGINES[engine])
        problems.add((*path, "engine"), f"{engine} needs method: {methods}, got {method}")
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
