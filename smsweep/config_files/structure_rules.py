"""Check the conditions and constraints of job.yaml against the parameters of sweep.yaml."""

from __future__ import annotations

from smsweep.config_files.document import Document, Problems
from smsweep.core.job import SearchSettings
from smsweep.core.sweep import SweepConfig, with_structure
from smsweep.errors import SpaceError
from smsweep.search.start_points import given_values
from smsweep.space.space import SearchSpace
from smsweep.space.structure import structure_problems

KEY = "search"


def check_structure(config: SweepConfig, settings: SearchSettings, document: Document) -> SweepConfig:
    """Return a sweep config with the conditions and constraints of its job.yaml.

    Args:
        config: The sweep config.
        settings: The section `search` of job.yaml.
        document: The job.yaml, for messages with lines.

    Raises:
        ConfigError: With all problems. Also if no params meet the constraints.
    """
    if not (settings.conditions or settings.constraints):
        return config
    problems = Problems(document)
    leaves = {".".join(path): leaf for path, leaf in config.space.leaves}
    for place, text in structure_problems(leaves, settings.conditions, settings.constraints):
        problems.add((KEY, *place), text)
    problems.raise_errors()
    structured = with_structure(config, settings)
    space, is_grid = structured.space, config.method == "grid"
    for index, constraint in enumerate(settings.constraints):
        alone = SearchSpace(space.parameters, space.conditions, (constraint,))
        if text := unsatisfiable(alone, is_grid=is_grid):
            problems.add((KEY, "constraints", index), f"{constraint!r}: {text}")
    if not problems.any_in(()) and (text := unsatisfiable(space, is_grid=is_grid)):
        problems.add((KEY, "constraints" if settings.constraints else "conditions"), text)
    problems.raise_errors()
    for index, point in enumerate(settings.start_points):
        try:
            space.draws_of(given=given_values(space, point)).check()
        except SpaceError:
            problems.add(
                (KEY, "start_points", index),
                "no params with these values meet the conditions and constraints; change the values",
            )
    problems.raise_errors()
    return structured


def unsatisfiable(space: SearchSpace, *, is_grid: bool) -> str:
    """Return why the search cannot propose params of a space; "" if it can."""
    size = space.grid_size if is_grid else space.size
    if size is not None:
        return "no params meet the constraints; relax one of them, or widen the parameters" if not size else ""
    if is_grid and all(leaf.grid_size is not None for _, leaf in space.leaves):
        return (
            "the grid has too many combinations of the constrained parameters to check; "
            "list fewer values, or use method random or bayes"
        )
    try:
        space.check_feasible()
    except SpaceError as err:
        return str(err)
    return ""
