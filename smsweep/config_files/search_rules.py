"""Rules between `search` in job.yaml and the parameters of sweep.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from smsweep.config_files.document import Document, Problems, show, suggest
from smsweep.core.job import SearchSettings
from smsweep.search.start_points import named_values
from smsweep.space.distribution import can_have, identity
from smsweep.space.space import SearchSpace


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
        path, leaf = ("search", "beliefs", name), leaves.get(name)
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
            problems.add(("search", "start_points", index, *key), text)
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
