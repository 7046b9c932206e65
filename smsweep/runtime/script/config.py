"""The run's config and summary.

The config has the script's own values, and the sweep's values, which take precedence and are locked. The
summary has the last value of each metric, and the values that the script sets.
"""

from __future__ import annotations

from _collections_abc import Mapping  # as collections.abc, but does not import collections

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any


class Values(Mapping):  # type: ignore[type-arg]  # Mapping[str, Any] needs Python 3.9
    """A mapping with attribute access. Changes to a copy of a config or summary are not reported."""

    _what = "it"  # its name in an error message
    _values: dict[str, Any]

    def __init__(self, what: str, values: dict[str, Any]) -> None:
        self.__dict__.update(_what=what, _values=values)  # __setattr__ would store them as values

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._values[key] = value

    def __getattr__(self, key: str) -> Any:
        values = self.__dict__.get("_values", {})
        if key not in values:
            raise AttributeError(f"{self._what} has no {key!r}; it has: {', '.join(values) or 'nothing'}")
        return values[key]

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)

    def __reduce__(self) -> Any:
        """Support copies, and pickling for another process."""
        return Values, (self._what, dict(self._values))


class Config(Values):
    """A mapping with attribute access, like `wandb.config`.

    The sweep's values are locked: a write to them is ignored, with a warning the first time. Other keys can be
    changed without W&B's `allow_val_change=True`.
    """

    _locked: frozenset[str]
    _warned: set[str]
    _warn: Callable[[str], None]

    def __init__(self, locked: Mapping[str, Any], warn: Callable[[str], None]) -> None:
        super().__init__("config", dict(locked))
        self.__dict__.update(_locked=frozenset(locked), _warned=set(), _warn=warn)

    def __setitem__(self, key: str, value: Any) -> None:
        if not self._is_locked(key):
            self._values[key] = value

    def update(self, values: Any = (), allow_val_change: object = None, **more: Any) -> None:
        """Set several values.

        Args:
            values: A mapping, pairs, or an argparse Namespace.
            allow_val_change: Ignored.
            **more: Further values by name.
        """
        for key, value in {**as_mapping(values), **more}.items():
            self[key] = value

    def setdefaults(self, values: Any) -> None:
        """Set only the keys that do not exist yet."""
        for key, value in as_mapping(values).items():
            self._values.setdefault(key, value)

    def as_dict(self) -> dict[str, Any]:
        """Return a copy as a dict."""
        return dict(self._values)

    def add_defaults(self, values: Any) -> None:
        """Add the script's defaults below the sweep's values, also in nested dicts. Does not warn."""
        for key, value in as_mapping(values).items():
            self._values[key] = merge(value, self._values[key]) if key in self._locked else value

    def _is_locked(self, key: str) -> bool:
        if key in self._locked and key not in self._warned:
            self._warned.add(key)
            self._warn(f"Config item '{key}' was locked by 'sweep' (ignored update).")
        return key in self._locked


def as_mapping(values: Any) -> dict[str, Any]:
    """Return the content of a mapping, pairs or a namespace. Raises TypeError or ValueError for anything else."""
    if isinstance(values, Mapping):
        return dict(values)
    if hasattr(values, "__dict__"):
        return dict(vars(values))
    return dict(values)


def merge(under: Any, over: Any) -> Any:
    """Return `over`; of two mappings, return `under` updated with `over`, key by key."""
    if not (isinstance(under, Mapping) and isinstance(over, Mapping)):
        return over
    return {**under, **{key: merge(under.get(key), value) for key, value in over.items()}}


class Summary(Values):
    """A mapping with attribute access, like `wandb.summary`. A value that the script sets is reported at once."""

    _report: Callable[[Mapping[str, Any]], None]

    def __init__(self, report: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__("summary", {})
        self.__dict__.update(_report=report)  # __setattr__ would store it as a value

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def update(self, values: Any) -> None:
        """Set several values and report them."""
        values = as_mapping(values)
        self._values.update(values)
        self._report(values)

    def follow(self, values: Mapping[str, Any]) -> None:
        """Add logged metrics, which are reported already."""
        self._values.update(values)
