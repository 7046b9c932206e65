"""Rules between `search` in job.yaml and the parameters of sweep.yaml."""

from __future__ import annotations

from smsweep.config_files.document import Document, Problems, show, suggest
from smsweep.core.job import SearchSettings
from smsweep.space.distribution import can_have
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
    problems.raise_errors()
