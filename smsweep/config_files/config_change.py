"""Changes of the config of a sweep after its creation, such as `run_cap=200` and `parameters.lr.max=0.1`."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from smsweep.config_files.document import show, suggest
from smsweep.config_files.from_python import from_mapping
from smsweep.config_files.job_models import JobSection
from smsweep.config_files.job_yaml import at_place, parse_job
from smsweep.config_files.search_rules import check_search_values
from smsweep.config_files.sweep_rules import SweepSection
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.config_files.validation import keys_of
from smsweep.config_files.yaml_reader import read_yaml
from smsweep.core.budget import budgets_of
from smsweep.core.confirm import check_confirm
from smsweep.core.job import JobTemplate
from smsweep.core.sweep import Sweep, SweepConfig
from smsweep.errors import ConfigError, StoreConflict, UsageError
from smsweep.search.registry import CUSTOM, check_search, make_strategy
from smsweep.stopping.registry import make_rule
from smsweep.store import notes
from smsweep.store.base import Store

OF_SWEEP = ("early_terminate", "parameters", "run_cap")  # keys of sweep.yaml that can change
OF_JOB = ("budget", "stop_if")  # keys of job.yaml that can change
PARALLEL = "parallel"  # the slots of the agents that run now; no key of a file
CHANGEABLE = sorted((*OF_SWEEP, *OF_JOB, PARALLEL))
NEED_REQUEST = ("sagemaker", "batch")  # backends whose jobs have checkpoints only if a config asks for them
_CHANGE = re.compile(r"([^=\s]+?)\s*(\+=|-=|=)(.*)", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A change of one key."""

    key: str  # with dots: parameters.lr.max
    value: Any  # None removes the key
    operator: str = "="  # "+=" and "-=" add and drop items of a list


def parse_change(text: str) -> Change:
    """Parse `KEY=VALUE`, `KEY+=VALUE` or `KEY-=VALUE`. The value is YAML.

    Raises:
        UsageError: If the text has no key or no operator.
        ConfigError: If the value is not valid YAML.
    """
    match = _CHANGE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a change; write KEY=VALUE, such as run_cap=200")
    key, operator, value = match.groups()
    document = read_yaml(value.strip(), key)
    if document.errors:
        raise ConfigError([f"{key}: {text}" for _, text in document.errors])
    return Change(key=key, operator=operator, value=document.data)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangedConfig:
    """The texts of a sweep after a change, and the keys that differ."""

    sweep_yaml: str
    job_yaml: str
    changes: Mapping[str, Any]  # key -> new value, or None if it was removed; empty if nothing differs


def change_config(store: Store, sweep_id: str, changes: Iterable[Change], changed_by: str) -> Sweep:
    """Change the config of a stored sweep. If another process changes it at the same time, change its result.

    Args:
        store: The store that has the sweep.
        sweep_id: Id of the sweep.
        changes: Applied in their order, all or none.
        changed_by: The user, as USER@HOST.

    Returns:
        The sweep, with the next revision if a value differs.

    Raises:
        NotFound: If there is no such sweep.
        ConfigError: If a key cannot change, or the changed config is invalid.
        StoreConflict: If the agent of a detached sweep refused the change.
    """
    wanted = list(changes)
    while True:
        sweep = store.get_sweep(sweep_id)
        changed = changed_config(sweep, wanted, sum(store.count_trials(sweep_id).values()))
        if not changed.changes:
            return sweep
        if notes.WANDB_SWEEP.get(store, sweep_id) and any(_section(key) in OF_SWEEP for key in changed.changes):
            raise ConfigError(
                f"{', '.join(changed.changes)}: W&B decides this for sweep {sweep_id}; change it at W&B"
            )
        _check_promotion(store, sweep, changed)
        try:
            return store.change_config(
                sweep_id,
                sweep.config_revision + 1,
                sweep_yaml=changed.sweep_yaml,
                job_yaml=changed.job_yaml,
                changes=changed.changes,
                changed_by=changed_by,
            )
        except StoreConflict:
            if store.get_sweep(sweep_id).config_revision == sweep.config_revision:
                raise  # the agent of a detached sweep refused the change


def _check_promotion(store: Store, sweep: Sweep, changed: ChangedConfig) -> None:
    """Raise ConfigError if a change turns on promotions, and jobs that run already can have no checkpoints."""
    if not any(_section(key) == "early_terminate" for key in changed.changes):
        return
    before, after = sweep.config.early_terminate, parse_sweep(changed.sweep_yaml).config.early_terminate
    promoted, promotes = (bool(rule and rule.promotes) for rule in (before, after))
    has_checkpoints = "CheckpointConfig" in sweep.job.request or sweep.job.request.get("EnableManagedSpotTraining")
    if promoted or not promotes or has_checkpoints:
        return
    backends = {spec.name: spec.backend for spec in sweep.job.places}
    agents = [agent for agent in store.list_agents(sweep.id) if not agent.is_lost]
    at = {backends.get(name, name) for agent in agents for name in agent.slots}
    at |= {trial.place for trial in store.list_trials(sweep.id)}
    if at := {place for place in at if re.split("[@:/]", place)[0] in NEED_REQUEST}:
        raise ConfigError(
            f"early_terminate.promote: the sweep runs jobs without checkpoints at {', '.join(sorted(at))}, which "
            "cannot resume after a pause; create a sweep that uses the results of this one: "
            f"smsweep sweep sweep.yaml --prior-run {sweep.id}"
        )


def changed_config(sweep: Sweep, changes: Iterable[Change], n_trials: int = 0) -> ChangedConfig:
    """Return the config of a sweep after changes, which are checked as a new sweep is.

    Args:
        sweep: The sweep, which is not modified.
        changes: Applied in their order.
        n_trials: Number of its trials. The start points of earlier trials can be outside of the new space.

    Raises:
        ConfigError: If a key cannot change, or the changed config is invalid.
    """
    of_sweep = copy.deepcopy(dict(sweep.config.document))
    of_job = copy.deepcopy(dict(sweep.job.document))
    before = {**of_job, **of_sweep}
    before = copy.deepcopy({key: before[key] for key in CHANGEABLE if key in before})
    keys, made = [], {}
    for change in changes:
        _check_key(change.key, sweep.id)
        if change.key == PARALLEL:
            made[PARALLEL] = _n_slots(change)
            continue
        _apply(of_sweep if _section(change.key) in OF_SWEEP else of_job, change)
        keys.append(change.key)
    after = {**of_job, **of_sweep}
    made |= {key: _find(after, key) for key in keys if not _is_same(_find(before, key), _find(after, key))}
    config, job = sweep.config, sweep.job
    sweep_yaml, job_yaml = sweep.sweep_yaml, sweep.job_yaml
    if any(_section(key) in OF_SWEEP for key in made):
        parsed = parse_sweep(of_sweep)
        config, sweep_yaml = parsed.config, parsed.text
    if any(_section(key) in OF_JOB for key in made):
        parsed_job = parse_job(of_job)
        job, job_yaml = parsed_job.template, parsed_job.text
    if made:
        settings = replace(job.search, start_points=job.search.start_points[n_trials:])
        check_search_values(settings, config.space, from_mapping(of_job))
        _check_together(config, sweep.seed, job)
    return ChangedConfig(sweep_yaml=sweep_yaml, job_yaml=job_yaml, changes=made)


def _n_slots(change: Change) -> int:
    value = change.value
    if change.operator != "=":
        raise ConfigError(f"{PARALLEL}: has no items to add or drop; set it with {PARALLEL}=NUMBER")
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{PARALLEL}: expected a whole number above 0, got {show(value)}")
    return value


def _section(key: str) -> str:
    return key.partition(".")[0]


def _check_key(key: str, sweep_id: str) -> None:
    section = _section(key)
    if section in CHANGEABLE and (section != PARALLEL or key == PARALLEL):
        return
    if section in keys_of(SweepSection) or section in keys_of(JobSection):
        raise ConfigError(
            f"{key}: cannot change after the sweep was created; create a sweep that uses the results of this one: "
            f"smsweep sweep sweep.yaml --prior-run {sweep_id}"
        )
    raise ConfigError(f"{key}: unknown key; {suggest(section, CHANGEABLE)}")


def _check_together(config: SweepConfig, seed: int, job: JobTemplate) -> None:
    """Raise ConfigError if both configs are valid, but no trial can run with them."""
    check_confirm(config, job)
    check_search(config, job.search)
    if config.method != CUSTOM:  # a search program needs consent before it runs
        make_strategy(config, seed, job)
    make_rule(config, job.stop_if)
    _check_budget(job)


def _check_budget(job: JobTemplate) -> None:
    """Raise ConfigError if a budget does not cover one trial, at any place with a known price."""
    placed = [parse_job(at_place(job.document, spec.overlay)).template for spec in job.places] or [job]
    if "usd" in job.budget and not any(each.price or each.asks_price for each in placed):
        raise ConfigError(
            "budget.usd: the trials of this sweep have no price, and price_per_hour cannot change; use "
            "budget.hours or budget.trials"
        )
    for each in placed:
        caps = {what: cap for what, cap in job.budget.items() if what != "usd" or each.price}
        budgets_of(replace(each, budget=caps))


def _path(document: Mapping[str, Any], key: str) -> list[str]:
    """Return the steps of a key with dots. The names of parameters can have dots, too."""
    parts, path = key.split("."), []
    level: Any = document
    while parts:
        known = level if isinstance(level, Mapping) else {}
        n = next((n for n in range(len(parts), 1, -1) if ".".join(parts[:n]) in known), 1)
        path.append(".".join(parts[:n]))
        level, parts = known.get(path[-1]), parts[n:]
    return path


def _find(document: Mapping[str, Any], key: str) -> Any:
    """Return a copy of the value of a key; None if it does not exist."""
    value: Any = document
    for name in _path(document, key):
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return copy.deepcopy(value)


def _apply(document: dict[str, Any], change: Change) -> None:
    """Change a document."""
    *parents, name = _path(document, change.key)
    value = change.value if change.operator == "=" else _changed_list(_find(document, change.key), change)
    level: Any = document
    for depth, parent in enumerate(parents, 1):
        if value is None and parent not in level:
            return
        level = level.setdefault(parent, {})
        if not isinstance(level, dict):
            raise ConfigError(
                f"{change.key}: {'.'.join(parents[:depth])} is {show(level)} and has no keys; set it as a whole"
            )
    if value is None:
        if name not in level and parents == ["parameters"]:
            raise ConfigError(f"{change.key}: unknown parameter; {suggest(name, level)}")
        level.pop(name, None)
        if document.get("budget") == {}:
            del document["budget"]
    else:
        level[name] = copy.deepcopy(value)


def _changed_list(items: Any, change: Change) -> list[Any]:
    """Return a list with items added or dropped."""
    if change.key == "stop_if" and not isinstance(items, list):
        items = [] if items is None else [items]  # the file accepts one condition without a list
    if not isinstance(items, list):
        about = "has no value" if items is None else f"is {show(items)}, not a list"
        raise ConfigError(f"{change.key}: {about}; set it with {change.key}=VALUE")
    wanted = change.value if isinstance(change.value, list) else [change.value]
    if change.operator == "+=":
        return [*items, *(item for item in wanted if not any(_is_same(item, each) for each in items))]
    for item in wanted:
        if not any(_is_same(item, each) for each in items):
            known = ", ".join(map(show, items))
            raise ConfigError(f"{change.key}: has no {show(item)} to drop; it has {known}")
    return [each for each in items if not any(_is_same(item, each) for item in wanted)]


def _is_same(a: Any, b: Any) -> bool:
    """Return True if two values of a config are equal, and none of them is a bool where the other is a number."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_is_same, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_is_same(a[key], b[key]) for key in a)
    return type(a) is type(b) and bool(a == b)
