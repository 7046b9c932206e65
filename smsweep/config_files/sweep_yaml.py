"""Read a W&B sweep config, from a YAML file or from a dict, into a SweepConfig."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smsweep.config_files.document import Document, Problems, non_finite, show
from smsweep.config_files.from_python import from_mapping
from smsweep.config_files.parameters import SUCH_AS, check_names, read_space
from smsweep.config_files.sweep_models import EarlyTerminateSection, MetricSection, SweepSection
from smsweep.config_files.sweep_rules import IGNORED, check_rules, check_space
from smsweep.config_files.validation import check
from smsweep.config_files.yaml_reader import read_file, read_yaml
from smsweep.core.sweep import DEFAULT_COMMAND, EarlyTerminate, Goal, Metric, SweepConfig
from smsweep.space.space import SearchSpace


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedSweep:
    """A sweep's config and the warnings for its author."""

    config: SweepConfig
    warnings: tuple[str, ...]  # one line each, with file and line if known
    text: str  # the YAML to store with the sweep; it reads as the same config


def read_sweep(path: Path) -> ParsedSweep:
    """Read a sweep.yaml. Raises NotFound, or ConfigError with all errors of the file."""
    return _parse(read_file(path))


def parse_sweep(document: Mapping[str, Any] | str, *, name: str = "<sweep>") -> ParsedSweep:
    """Read a config from a dict, which is not modified, or from YAML text.

    Args:
        document: The config.
        name: Replaces the file name in messages about a text.

    Raises:
        ConfigError: With all errors of the document.
    """
    return _parse(read_yaml(document, name) if isinstance(document, str) else from_mapping(document))


def _parse(document: Document) -> ParsedSweep:
    data, problems = document.data, Problems(document)
    if not isinstance(data, dict):
        found = "an empty file" if data is None and document.name else show(data)
        problems.add((), f"expected keys such as method and parameters, got {found}")
        problems.raise_errors()
    for path in non_finite(data):
        problems.add(
            path,
            "not a finite number; as a value of a parameter, quote it; float('inf') in the script reads the text",
        )
    separate = {*IGNORED, "prior_runs", "parameters"}  # keys that other functions check
    known = {key: value for key, value in data.items() if key not in separate}
    section = check(SweepSection, known, (), problems)
    check_rules(data, problems)
    space = _read_space(data, problems)
    problems.raise_errors()
    assert section is not None and space is not None
    return ParsedSweep(config=_config(section, space, data), warnings=problems.warnings, text=document.text)


def _read_space(data: Mapping[str, Any], problems: Problems) -> SearchSpace | None:
    scheduler = data.get("scheduler")
    if "parameters" not in data:
        if isinstance(scheduler, dict) and "search_space" in scheduler:
            return SearchSpace({})
        problems.add(("parameters",), f"missing; {SUCH_AS}")
        return None
    space = read_space(data["parameters"], ("parameters",), problems)
    if space is not None:
        check_space(space, data.get("method"), problems)
    check_names(data["parameters"], ("parameters",), problems)
    return space


def _config(section: SweepSection, space: SearchSpace, data: Mapping[str, Any]) -> SweepConfig:
    return SweepConfig(
        method=section.method,
        space=space,
        metric=_metric(section.metric) if section.metric else None,
        metrics=tuple(_metric(metric) for metric in section.metrics or ()),
        early_terminate=_early_terminate(section.early_terminate) if section.early_terminate else None,
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


def _early_terminate(section: EarlyTerminateSection) -> EarlyTerminate:
    return EarlyTerminate(
        type=section.type,
        min_iter=section.min_iter,
        max_iter=section.max_iter,
        s=section.s,
        eta=section.eta,
        strict=section.strict,
        min_trials=section.min_trials,
    )
