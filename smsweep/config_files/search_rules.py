"""Check `search` in job.yaml against the parameters of sweep.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from smsweep.config_files.document import Document, Problems, show, suggest
from smsweep.core.job import SearchSettings
from smsweep.core.sweep import SweepConfig, with_structure
from smsweep.errors import SpaceError
from smsweep.search.start_points import given_values, named_values
from smsweep.space.distribution import can_have, identity
from smsweep.space.space import SearchSpace
from smsweep.space.structure import structure_problems

SEARCH = "search"  # the section of job.yaml


def check_search_values(settings: SearchSettings, space: SearchSpace, document: Document) -> None:
    """Raise ConfigError with all values of `search` that the space does not have.

    Args:
        settings: The section.
        space: The parameters of sweep.yaml.
        document: The job.yaml, for the lines of the errors.
    """
    problems = Problems(document)
    leaves = {".".join(path): leaf for path, leaf in space.leaves}
    for name, belief in settings.beliefs.items():
        path, leaf = (SEARCH, "beliefs", name), leaves.get(name)
        if leaf is None:
            problems.add(path, f"not a parameter of sweep.yaml; {suggest(name, leaves)}")
        elif leaf.size == 1:
            problems.add(path, "the search does not vary this parameter; remove the belief")
        elif not can_have(leaf, belief.around):
            problems.add(
                (*path, "around"), f"{show(belief.around)} is not a value of {name}; give a value that it can have"
            )
    for index, point in enumerate(settings.start_points):
        for key, text in params_problems(point, space):
            problems.add((SEARCH, "start_points", index, *key), text)
    problems.raise_errors()


def params_problems(params: Mapping[str, Any], space: SearchSpace) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the problems of params in which values can be missing: the key of each, and what is wrong.

    Args:
        params: Values of some parameters; dotted names and nested names are equivalent.
        space: The parameters.
    """
    leaves = {".".join(path): leaf for path, leaf in space.leaves}
    named = named_values(space, params)
    if not named:
        yield (), "no values; give the value of at least one parameter"
    for name, value in named.items():
        key, leaf = (name,) if name in params else tuple(name.split(".")), leaves.get(name)
        if leaf is None:
            yield key, f"not a parameter of sweep.yaml; {suggest(name, leaves)}"
        elif not (identity(leaf.value_at(0)) == identity(value) if leaf.size == 1 else can_have(leaf, value)):
            yield key, f"{show(value)} is not a value of {name}; give a value that it can have"


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
        problems.add((SEARCH, *place), text)
    problems.raise_errors()
    structured = with_structure(config, settings)
    space, is_grid = structured.space, config.method == "grid"
    for index, constraint in enumerate(settings.constraints):
        alone = SearchSpace(space.parameters, space.conditions, (constraint,))
        if text := unsatisfiable(alone, is_grid=is_grid):
            problems.add((SEARCH, "constraints", index), f"{constraint!r}: {text}")
    if not problems.any_in(()) and (text := unsatisfiable(space, is_grid=is_grid)):
        problems.add((SEARCH, "constraints" if settings.constraints else "conditions"), text)
    problems.raise_errors()
    for index, point in enumerate(settings.start_points):
        if text := conflict(point, space):
            problems.add((SEARCH, "start_points", index), text)
    problems.raise_errors()
    return structured


def conflict(point: Mapping[str, Any], space: SearchSpace) -> str:
    """Return which rule excludes all params with the given values; "" if such params exist.

    Args:
        point: Values of some parameters; dotted names and nested names are equivalent.
        space: The parameters, with conditions and constraints.
    """
    given = given_values(space, point)
    if _is_possible(space, given):
        return ""
    single = [(f"{each}", SearchSpace(space.parameters, (each,))) for each in space.conditions]
    single += [
        (f"{text!r}", SearchSpace(space.parameters, space.conditions, (text,))) for text in space.constraints
    ]
    broken = [text for text, alone in single if not _is_possible(alone, given)]
    rule = broken[0] if broken else "all conditions and constraints together"
    return f"no params with these values meet {rule}; change the values"


def _is_possible(space: SearchSpace, given: Sequence[Any]) -> bool:
    try:
        space.draws_of(given=given).check()
    except SpaceError:
        return False
    return True


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
