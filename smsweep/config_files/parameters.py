"""Read a sweep's `parameters` into a search space."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Any, cast

from smsweep.config_files.document import Path, Problems, non_finite, show, suggest
from smsweep.config_files.sweep_rules import SweepSection
from smsweep.config_files.validation import fix_for, unknown_key
from smsweep.config_files.validation import keys_of as section_keys
from smsweep.errors import SpaceError
from smsweep.space.distributions import DISTRIBUTIONS, Distribution
from smsweep.space.space import SearchSpace
from smsweep.util.sections import is_number

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")  # W&B's schema
LISTS = ("values", "probabilities")
NUMBERS = ("min", "max", "q", "mu", "sigma", "a", "b")
SUCH_AS = "name at least one, such as lr: {min: 0.001, max: 0.1}"
DEPRECATED = ("log_uniform", "inv_log_uniform", "q_log_uniform")

# Keys that need an explicit distribution -> the distribution to propose.
_NEEDS_DISTRIBUTION = {"q": "q_uniform", "mu": "normal", "sigma": "normal", "a": "beta", "b": "beta"}


def keys_of(kind: str) -> dict[str, bool]:
    """Return the keys of a distribution besides `distribution`, and whether each is required."""
    init = (field for field in fields(cast(Any, DISTRIBUTIONS[kind])) if field.init)
    return {field.name: field.default is MISSING for field in init}


def read_space(data: Any, path: Path, problems: Problems) -> SearchSpace | None:
    """Return the search space of a `parameters` mapping, and add its errors to `problems`.

    Parameters with errors are left out. Returns None if the mapping is missing or empty.
    """
    if not isinstance(data, dict):
        problems.add(path, f"expected a mapping of names to parameters, got {show(data)}; {SUCH_AS}")
        return None
    if not data:
        problems.add(path, f"no parameters; {SUCH_AS}")
        return None
    items: dict[str, Distribution | SearchSpace] = {}
    for name, item in data.items():
        if not NAME.match(name):
            advice = "use letters, digits, _ . - and begin with a letter or _"
            problems.add((*path, name), f"{name!r} cannot name a parameter; {advice}")
        parameter = _read_parameter(item, (*path, name), problems)
        if parameter is not None:
            items[name] = parameter
    return SearchSpace(items)


def check_names(data: Any, path: Path, problems: Problems) -> None:
    """Add an error for parameters whose flat names are equal (nested parameters are joined with dots)."""
    seen: dict[str, Path] = {}
    for name, place in _flat_names(data, path):
        if name in seen:
            problems.add(place, f"has the flat name {name}, like another parameter; rename one of them")
        seen[name] = place


def _flat_names(data: Any, path: Path, prefix: str = "") -> Iterator[tuple[str, Path]]:
    for name, item in data.items() if isinstance(data, dict) else ():
        if isinstance(item, dict) and "parameters" in item:
            yield from _flat_names(item["parameters"], (*path, name, "parameters"), f"{prefix}{name}.")
        else:
            yield prefix + name, (*path, name)


def _read_parameter(item: Any, path: Path, problems: Problems) -> Distribution | SearchSpace | None:
    if not isinstance(item, dict):
        problems.add(path, f"expected a mapping, got {show(item)}; {_fix_for(item, path)}")
        return None
    if "parameters" in item:
        for key in (key for key in item if key != "parameters"):
            problems.add((*path, key), "cannot be combined with parameters; remove it")
        return read_space(item["parameters"], (*path, "parameters"), problems)
    kind = _kind(item, path, problems)
    if kind is None or not _has_shape(kind, item, path, problems):
        return None
    return _build(kind, item, path, problems)


def _fix_for(item: Any, path: Path) -> str:
    """Return the fix for a parameter that is not a mapping, such as a key with the wrong indentation."""
    name = path[-1]
    if name in ("distribution", "value", "values", "probabilities", "min", "max") and item is not None:
        return "indent it below its parameter"
    is_of_sweep = len(path) == 2 and name in section_keys(SweepSection)
    own = f"to set the sweep's {name}, move it out of parameters; for a parameter " if is_of_sweep else ""
    proposal = "values: [...]" if isinstance(item, list) else f"value: {'...' if item is None else show(item)}"
    return f"{own}write {{{proposal}}}"


def _kind(item: Mapping[str, Any], path: Path, problems: Problems) -> str | None:
    """Return the name of the distribution; if it is not explicit, infer it as W&B does."""
    if "distribution" in item:
        kind = item["distribution"]
        if isinstance(kind, str) and kind in DISTRIBUTIONS:
            return kind
        text = f"unknown distribution {show(kind)}; {suggest(kind, DISTRIBUTIONS)}"
        problems.add((*path, "distribution"), text)
        return None
    if "value" in item:
        for key in ("values", "min", "max"):
            if key in item:
                problems.add((*path, key), "cannot be combined with value; keep one of the two")
        return None if {"values", "min", "max"} & set(item) else "constant"
    if "values" in item or "probabilities" in item:
        return "categorical_w_probabilities" if "probabilities" in item else "categorical"
    for key, proposal in _NEEDS_DISTRIBUTION.items():
        if key in item:
            problems.add((*path, key), f"needs a distribution; add distribution: {proposal}")
            return None
    if "min" in item or "max" in item:
        return _range_kind(item, path, problems)
    known = [*keys_of("categorical_w_probabilities"), *keys_of("q_uniform"), "value", "distribution", "parameters"]
    for key in item:
        problems.add((*path, key), unknown_key(key, known))
    if not item:
        problems.add(path, "an empty parameter; give value, values, or min and max")
    return None


def _range_kind(item: Mapping[str, Any], path: Path, problems: Problems) -> str | None:
    bounds = [item[key] for key in ("min", "max") if key in item]
    n_whole = sum(isinstance(bound, int) for bound in bounds)
    if n_whole == 1 and len(bounds) == 2 and all(is_number(bound) for bound in bounds):
        low, high = bounds
        advice = "write both as whole numbers for int_uniform, or both with a point for uniform"
        problems.add(path, f"min {low} and max {high} do not show whether values are whole numbers; {advice}")
        return None
    return "int_uniform" if n_whole == len(bounds) else "uniform"


def _has_shape(kind: str, item: Mapping[str, Any], path: Path, problems: Problems) -> bool:
    """Add errors for unknown and missing keys and wrong types. Return True if there are none."""
    keys = keys_of(kind)
    notes: list[tuple[Path, str]] = []
    for key, value in item.items():
        if key == "distribution":
            continue
        if key not in keys:
            hint = suggest(key, keys) or "remove it"
            notes.append(((*path, key), f"not a key of {kind}; {hint}"))
        elif key in NUMBERS and not is_number(value):
            notes.append(((*path, key), f"expected a number, got {show(value)}{fix_for('a number', value)}"))
        elif key in LISTS and not isinstance(value, list):
            notes.append(((*path, key), f"expected a list, got {show(value)}; write [a, b, c]"))
    for key, required in keys.items():
        if required and key not in item:
            notes.append(((*path, key), f"missing; {kind} needs {' and '.join(k for k, r in keys.items() if r)}"))
    for place, text in notes:
        problems.add(place, text)
    # infinities and NaN are reported once for the whole document
    return not notes and not any(non_finite(item))


def _build(kind: str, item: Mapping[str, Any], path: Path, problems: Problems) -> Distribution | None:
    arguments = {
        key: tuple(value) if key in LISTS else value for key, value in item.items() if key != "distribution"
    }
    try:
        distribution = DISTRIBUTIONS[kind](**arguments)
    except SpaceError as err:
        problems.add(path, str(err))
        return None
    except OverflowError:
        problems.add(path, f"{kind} needs numbers that a float can represent (up to about 1e308)")
        return None
    if kind in DEPRECATED:
        low, high = cast(Any, distribution).bounds
        if math.isfinite(low) and math.isfinite(high):
            problems.warn(
                path,
                f"{kind} uses min and max as exponents of e, so values are between {low:.4g} and {high:.4g}; "
                f"{kind}_values uses the values themselves (W&B deprecates {kind})",
            )
    return distribution
