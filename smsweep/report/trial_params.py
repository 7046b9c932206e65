"""Params of a trial without nesting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return params with nested names joined by dots, as columns of a table have them."""
    found: dict[str, Any] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found
