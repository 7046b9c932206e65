"""The keys of a sweep.yaml, as in W&B's schema, and the rules between them. Parameters are in parameters.py.

In most of the cases that a rule refuses, W&B reports nothing and behaves differently.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, WithJsonSchema, field_validator

from smsweep.config_files.document import Path, Problems
from smsweep.runtime.job.command_macros import item_warnings
from smsweep.search.ax_space import why_not_in_wandb
from smsweep.search.registry import METHODS, SearchSpec
from smsweep.space.distributions import Constant, Distribution
from smsweep.space.space import SearchSpace
from smsweep.stopping.registry import RULES, StoppingSpec
from smsweep.util.sections import Count, Number, Section, Text

# Keys that W&B's own tools use, although its schema does not have them. smsweep ignores them.
IGNORED = {
    "settings": "W&B's command line stores its own settings in it",
    "launch": "W&B Launch stores its job settings in it; smsweep has job.yaml",
    "imports": "W&B's old launch form",
    "tags": "W&B ignores it, too; set tags of the training jobs in job.yaml",
}
# Labels, which W&B's server accepts without a value. smsweep ignores a blank one.
MAY_BE_BLANK = ("name", "description", "project", "entity", "job", "image_uri", "apiVersion")
# Distributions that W&B's scheduler converts for Optuna.
OF_OPTUNA = (
    *("constant", "categorical", "int_uniform", "uniform", "q_uniform"),
    *("log_uniform_values", "q_log_uniform_values"),
)
WANDB_METHODS = ("grid", "random", "bayes")
WANDB_RULE = "hyperband"
LAUNCH = ("job", "image_uri")  # in W&B's schema, for W&B Launch
Engine = Literal["wandb", "optuna", "ax"]  # W&B's
Impute = Literal["latest", "best", "worst"]


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
            problems.warn((key,), "is for W&B Launch and has no effect; set up the jobs in job.yaml")
    for key, why in IGNORED.items():
        if key in data:
            problems.warn((key,), f"has no effect in smsweep ({why})")
    if "prior_runs" in data:
        problems.add(
            ("prior_runs",),
            "not a key of a sweep config, and W&B ignores it; pass prior runs when you create the sweep",
        )


def check_space(space: SearchSpace, method: object, problems: Problems) -> None:
    """Add errors for parameters that the method cannot search. space: the parameters without other errors."""
    for path, leaf in _leaves(space, ("parameters",)):
        if method == "grid" and leaf.grid_size is None:
            problems.add(path, in_grid(leaf.kind))
        elif method == "grid" and leaf.kind == "q_uniform":
            problems.warn(path, "a grid over q_uniform excludes max, as in W&B; list the values to include it")
    is_whole = not problems.any_in(("parameters",))
    if method == "bayes" and is_whole and all(isinstance(leaf, Constant) for _, leaf in _leaves(space, ())):
        problems.add(
            ("parameters",), "bayes has nothing to search, because every parameter is a constant; give a range"
        )


def warn_of_engine(space: SearchSpace, scheduler: object, problems: Problems) -> None:
    """Warn of parameters that smsweep's engine accepts, and W&B's scheduler refuses when it starts."""
    engine = scheduler.get("engine") if isinstance(scheduler, dict) else None
    if engine not in ("optuna", "ax"):
        return
    for path, leaf in _leaves(space, ("parameters",)):
        refused = why_not_in_wandb(leaf) if engine == "ax" else leaf.kind if leaf.kind not in OF_OPTUNA else ""
        if len(path) > 2:
            problems.warn(
                path, f"W&B's scheduler refuses nested parameters with engine {engine}; smsweep searches them"
            )
        elif refused:
            problems.warn(path, f"W&B's scheduler refuses {refused} with engine {engine}; smsweep draws from it")


def in_grid(kind: str) -> str:
    """Return the error for a distribution that a grid cannot list."""
    return f"a grid cannot list {kind}; give values, or use method random or bayes"


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
        problems.add(("metrics",), "cannot be combined with metric; keep one of the two")
    elif "metrics" in data and method in WANDB_METHODS:
        problems.add(("metrics",), f"needs method: custom, got {method}; for one metric use `metric`")
    for index, name in _repeated_names(data.get("metrics")):
        text = f"{name!r} occurs twice; list each metric once"
        problems.add(("metrics", index, "name"), text)
    if "metric" in _needs(methods, method) and "metric" not in data and "metrics" not in data:
        problems.add(("metric",), f"missing; {method} needs a metric: add metric: {{name: ..., goal: ...}}")


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
                path, "needs a single metric, but the sweep has metrics; remove it, or use stop_if in job.yaml"
            )
        elif "metric" not in data:
            problems.add(path, "needs a metric to compare trials; add metric: {name: ..., goal: ...}")
    if isinstance(rule, str) and rule != WANDB_RULE and rule in rules:
        origin = f"{rule} exists only in smsweep" if rule in RULES.builtin else f"{rule} is the rule of a plug-in"
        problems.warn((*path, "type"), f"{origin}; W&B has only hyperband and stops nothing")
    if rule != WANDB_RULE:
        return
    if "max_iter" not in section and "min_iter" in section and "s" in section:
        problems.warn((*path, "s"), "has no effect without max_iter, as in W&B")
    if "max_iter" in section and "min_iter" in section:
        problems.warn((*path, "min_iter"), "has no effect: max_iter and s take precedence, as in W&B")


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
            problems.add((*path, key), "names a function in source; add source: file.py")
        elif key in scheduler and "source" not in scheduler:
            text = (
                "names a sampler of Optuna, which smsweep accepts; W&B needs source, and a function with this name"
            )
            problems.warn((*path, key), text)
    if engine == "ax" and "search_space" in scheduler:
        problems.warn((*path, "search_space"), "has no effect with engine ax, as in W&B; remove it")
    controller = data.get("controller")
    if isinstance(controller, dict) and controller.get("type") == "local":
        problems.add(("controller",), "type local cannot be combined with scheduler; remove controller")
    if "early_terminate" in data:
        problems.add(
            ("early_terminate",),
            "cannot be combined with scheduler, which stops trials itself; remove one of the two",
        )


def _check_command(data: Mapping[str, Any], problems: Problems) -> None:
    """Warn about macros that W&B does not expand or replaces by nothing, because both are easy to miss."""
    command = data.get("command")
    names = data["parameters"] if isinstance(data.get("parameters"), dict) else ()
    first = next((item for item in command if item != "${env}"), "") if isinstance(command, list) else ""
    if isinstance(first, str) and first.startswith("${args"):
        text = "starts with params, but W&B adds no program before them; start with ${interpreter}, ${program}"
        problems.warn(("command",), text)
    for index, item in enumerate(command if isinstance(command, list) else ()):
        for warning in item_warnings(item, names) if isinstance(item, str) else ():
            problems.warn(("command", index), warning)


class MetricSection(Section):
    """The metric that the search optimizes."""

    name: Text = Field(description="the metric's name as the script logs it; nested names with dots, a.b")
    goal: Literal["minimize", "maximize"] = Field("minimize", description="direction of improvement")
    target: Number | None = Field(None, description="start no new trials after a trial has reached this value")
    impute: Impute = Field("worst", description="value of a failed trial in a bayes search")
    impute_while_running: Annotated[
        Literal["latest", "best", "worst", "false"],
        WithJsonSchema({"enum": ["latest", "best", "worst", "false", False]}),
    ] = Field("false", description="value of a running trial in a bayes search")

    @field_validator("impute_while_running", mode="before")
    @classmethod
    def _from_boolean(cls, value: Any) -> Any:
        return "false" if value is False else value  # W&B expects the string, which few users quote


class EarlyTerminateSection(Section):
    """Stop poor trials early. The stopping rule defines the other keys."""

    model_config = ConfigDict(extra="allow")

    type: Text = Field(description="hyperband; or asha, median or forecast, which only smsweep has")


class SchedulerSection(Section):
    """A user-defined search. smsweep validates the section and passes it on."""

    engine: Engine = Field(description="the engine that proposes params: wandb, optuna or ax")
    source: Text | None = Field(None, description="Python file with the functions")
    optimizer: Text | None = Field(None, description="function in source that returns the study")
    search_space: Text | None = Field(None, description="function in source that defines the space")


class ControllerSection(Section):
    """Where W&B runs its controller. smsweep always runs its own."""

    model_config = ConfigDict(extra="allow")

    type: Literal["local", "cloud"] = Field(description="local or cloud")


class SweepSection(Section):
    """A W&B sweep configuration, as smsweep accepts it."""

    method: Text = Field(description="how params are chosen: grid, random, bayes or custom")
    method_options: dict[str, Any] | None = Field(None, description="options of the search method of a plug-in")
    parameters: Any = Field(None, description="the search space: a mapping of names to values or ranges")
    metric: MetricSection | None = Field(None, description="the metric that the search optimizes")
    metrics: list[MetricSection] | None = Field(
        None, min_length=2, description="two or more metrics, for method custom only"
    )
    early_terminate: EarlyTerminateSection | None = Field(None, description="when to stop a trial early")
    run_cap: Count | None = Field(None, description="largest number of trials, over all agents")
    program: Text | None = Field(None, description="the training script")
    command: list[Any] | None = Field(
        None, min_length=1, description="the command of a trial, one item per argument, with W&B's macros"
    )
    name: Text | None = Field(None, description="name in lists")
    description: Text | None = Field(None, description="free text")
    project: Text | None = Field(None, description="W&B project")
    entity: Text | None = Field(None, description="W&B user or team")
    scheduler: SchedulerSection | None = Field(None, description="a user-defined search")
    controller: ControllerSection | None = Field(None, description="where W&B runs its controller")
    kind: Literal["sweep"] | None = Field(None, description="the constant `sweep`")
    api_version: Text | None = Field(None, alias="apiVersion", description="version of the schema")
    job: Text | None = Field(None, description="for W&B Launch; not used by smsweep")
    image_uri: Text | None = Field(None, description="for W&B Launch; not used by smsweep")
