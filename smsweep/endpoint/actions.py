"""The API calls that a fault can meet, by the names in AWS's own models."""

from __future__ import annotations

import functools
from difflib import get_close_matches
from fnmatch import fnmatchcase

from botocore.loaders import Loader

# Whose protocol names the action in a header.
SERVICES = ("sagemaker", "batch", "logs", "secretsmanager", "ssm", "sqs", "events", "pricing")


@functools.cache
def known_actions() -> frozenset[str]:
    models = (Loader().load_service_model(service, "service-2") for service in SERVICES)
    return frozenset(name for model in models for name in model["operations"])


def checked_action(name: str) -> str:
    """Return the name of a call. Raises ValueError for one that there is not."""
    if name not in known_actions():
        near = get_close_matches(name, sorted(known_actions()), n=1)
        cure = f"; did you mean {near[0]}?" if near else f" of {', '.join(SERVICES)}"
        raise ValueError(f"{name} is no API call{cure}")
    return name


def checked_pattern(pattern: str) -> str:
    """Return a pattern for names of calls. Raises ValueError for one that no name matches."""
    if not any(fnmatchcase(name, pattern) for name in known_actions()):
        checked_action(pattern)
    return pattern
