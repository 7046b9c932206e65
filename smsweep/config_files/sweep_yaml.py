"""Read a W&B sweep config, from a YAML file or from a dict, into a SweepConfig."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smsweep.config_files.document import Document, Problems, non_finite, show
from smsweep.config_files.from_python import from_mapping
from smsweep.config_files.parameters import SUCH_AS, check_names, read_space
from smsweep.config_files.sweep_rules import (
    IGNORED,
    MAY_BE_BLANK,
    MetricSection,
    SweepSection,
    check_rules,
    check_space,
    in_grid,
    warn_of_engine,
)
from smsweep.config_files.validation import check, keys_of, not_a_choice
from smsweep.config_files.yaml_reader import read_file, read_yaml
from smsweep.core.sweep import DEFAULT_COMMAND, EarlyTerminate, Goal, Metric, SweepConfig
from smsweep.search.registry import METHODS, is_method, method_names
from smsweep.space.space import SearchSpace
from smsweep.stopping.registry import RULES


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedSweep:
    """A sweep's config and the warnings for its author."""

    config: SweepConfig
    warnings: tuple[str, ...]  # one line each, with file and line if known
    text: str  # the YAML to store with the sweep; it reads as the same config


def read_sweep(path: Path) -> ParsedSweep:
    """Read a sweep.yaml. Raises NotFound, or ConfigError with all errors of the file."""
    return _parse(read_file(path))


def parse_sweep(
    document: Mapping[str, Any] | str, *, name: str = "<sweep>", is_stored: bool = False
) -> ParsedSweep:
    """Read a config from a dict, which is not modified, or from YAML text.

    Args:
        document: The config.
        name: Replaces the file name in messages about a text.
        is_stored: The config was valid when its sweep was created. Its plug-ins are neither imported nor required,
            so that a sweep can still be read after its plug-in was removed.

    Raises:
        ConfigError: With all errors of the document.
        UsageError: The config names a plug-in that is broken.
    """
    return _parse(read_yaml(document, name) if isinstance(document, str) else from_mapping(document), is_stored)


def _parse(document: Document, is_stored: bool = False) -> ParsedSweep:
    data, problems = document.data, Problems(document)
    if not isinstance(data, dict):
        description = "an empty file" if data is None and document.name else show(data)
        problems.add((), f"expected keys such as method and parameters, got {description}")
        problems.raise_errors()
    for path in non_finite(data):
        problems.add(
            path,
            "not a finite number; as a value of a parameter, quote it; float('inf') in the script reads the text",
        )
    separate = {*IGNORED, "prior_runs", "parameters"}  # keys that other functions check
    known = {key: value for key, value in data.items() if key not in separate and not _is_blank(key, value)}
    section = check(SweepSection, known, (), problems)
    check_rules(data, problems, is_stored=is_stored)
    method_options = _method_options(data, problems, is_stored)
    early_terminate = _early_terminate(data, problems, is_stored)
    space = _read_space(data, problems)
    problems.raise_errors()
    assert section is not None and space is not None
    return ParsedSweep(
        config=_config(section, space, method_options, early_terminate, data),
        warnings=problems.warnings,
        text=document.text,
    )


def _is_blank(key: object, value: object) -> bool:
    """Return True for a label without a value, which is ignored."""
    return key in MAY_BE_BLANK and (value is None or (isinstance(value, str) and not value.strip()))


def _read_space(data: Mapping[str, Any], problems: Problems) -> SearchSpace | None:
    scheduler = data.get("scheduler")
    if isinstance(scheduler, dict) and "search_space" in scheduler and scheduler.get("engine") != "ax":
        if "parameters" in data:
            problems.warn(("parameters",), "has no effect beside scheduler.search_space, as in W&B; remove it")
        return SearchSpace({})
    if "parameters" not in data:
        problems.add(("parameters",), f"missing; {SUCH_AS}")
        return None
    space = read_space(data["parameters"], ("parameters",), problems)
    if space is not None:
        check_space(space, data.get("method"), problems)
        warn_of_engine(space, scheduler, problems)
    if data.get("method") == "grid":
        for path in _unread_probabilities(data["parameters"], space, ("parameters",)):
            problems.add(path, in_grid("categorical_w_probabilities"))
    check_names(data["parameters"], ("parameters",), problems)
    return space


def _unread_probabilities(
    data: object, space: SearchSpace | None, path: tuple[str, ...]
) -> Iterator[tuple[str, ...]]:
    """Yield the parameters with probabilities that have other errors, so that all errors are reported at once."""
    for name, item in data.items() if isinstance(data, dict) else ():
        known = space.parameters.get(name) if space else None
        if not isinstance(item, dict):
            continue
        if "probabilities" in item and known is None:
            yield (*path, name)
        nested = known if isinstance(known, SearchSpace) else None
        yield from _unread_probabilities(item.get("parameters"), nested, (*path, name, "parameters"))


def _config(
    section: SweepSection,
    space: SearchSpace,
    method_options: Mapping[str, Any],
    early_terminate: EarlyTerminate | None,
    data: Mapping[str, Any],
) -> SweepConfig:
    return SweepConfig(
        method=section.method,
        space=space,
        metric=_metric(section.metric) if section.metric else None,
        metrics=tuple(_metric(metric) for metric in section.metrics or ()),
        method_options=method_options,
        early_terminate=early_terminate,
        run_cap=section.run_cap,
        program=section.program,
        command=tuple(str(item) for item in section.command) if section.command else DEFAULT_COMMAND,
        name=section.name,
        description=section.description,
        project=section.project,
        entity=section.entity,
        scheduler=section.scheduler.model_dump(exclude_none=True) if section.scheduler else None,
        document=data,
    )


def _metric(section: MetricSection) -> Metric:
    return Metric(
        name=section.name,
        goal=Goal(section.goal),
        target=section.target,
        impute=section.impute,
        impute_while_running=section.impute_while_running,
    )


def _method_options(data: Mapping[str, Any], problems: Problems, is_stored: bool) -> Mapping[str, Any]:
    """Return the checked options of the search method, {} if there are none."""
    method, options = data.get("method"), data.get("method_options", {})
    if not isinstance(method, str) or not isinstance(options, dict) or is_stored:
        return options if isinstance(options, dict) else {}
    if not is_method(method):
        problems.add(("method",), not_a_choice(method, method_names()))
        return {}
    spec = METHODS.get(method)
    if spec is None or spec.model is None:
        if "method_options" in data:
            problems.add(("method_options",), f"{method} has no options; remove it")
        return {}
    checked = check(spec.model, options, ("method_options",), problems)
    return options if checked is not None else {}


def _early_terminate(data: Mapping[str, Any], problems: Problems, is_stored: bool) -> EarlyTerminate | None:
    """Return the section with the checked options of its rule, None if there is no valid one."""
    section = data.get("early_terminate")
    rule = section.get("type") if isinstance(section, dict) else None
    if not isinstance(section, dict) or not isinstance(rule, str):
        return None
    options = {key: value for key, value in section.items() if key != "type"}
    if is_stored and rule not in RULES.builtin:
        return EarlyTerminate(type=rule, options=options)
    path = ("early_terminate",)
    if rule not in RULES:
        problems.add((*path, "type"), not_a_choice(rule, list(RULES)))
        return None
    model = RULES[rule].model
    known = keys_of(model) if model is not None else []
    models = [spec.model for spec in RULES.builtin.values()]
    others = {key for other in models if other is not None for key in keys_of(other)}
    for key in options.keys() & others - set(known):
        problems.add((*path, key), f"has no effect on {rule}; remove it")
        del options[key]
    if model is None:
        for key in options:
            problems.add((*path, key), f"unknown key; {rule} has no options; remove it")
        return EarlyTerminate(type=rule)
    checked = check(model, options, path, problems)
    return EarlyTerminate(type=rule, options=options) if checked is not None else None
