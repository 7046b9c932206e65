"""The run's config: the script's own values, and the sweep's, which win and stay."""

from __future__ import annotations

from collections.abc import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any


class Values(Mapping):  # type: ignore[type-arg]  # Mapping[str, Any] needs Python 3.9
    """A mapping with attribute access. A copy of a config or summary is just that: nobody hears of changes."""

    _what = "it"  # for its error
    _values: dict[str, Any]

    def __init__(self, what: str, values: dict[str, Any]) -> None:
        self.__dict__.update(_what=what, _values=values)  # past __setattr__, which would take these for values

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
        """Let it be copied, and pickled for another process."""
        return Values, (self._what, dict(self._values))


class Config(Values):
    """A mapping with attribute access, as `wandb.config` is.

    What the sweep set is locked: later writes to it are ignored, with a warning the first time. Any other key may
    change freely, where W&B asks for `allow_val_change=True`.
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
        """Set several at once. values: a mapping, pairs, or an argparse Namespace. allow_val_change: unused."""
        for key, value in {**as_mapping(values), **more}.items():
            self[key] = value

    def setdefaults(self, values: Any) -> None:
        """Set only the keys that are not there yet."""
        for key, value in as_mapping(values).items():
            self._values.setdefault(key, value)

    def as_dict(self) -> dict[str, Any]:
        return dict(self._values)

    def add_defaults(self, values: Any) -> None:
        """Put the script's defaults under the sweep's values, into nested dicts too, without a word."""
        for key, value in as_mapping(values).items():
            self._values[key] = merge(value, self._values[key]) if key in self._locked else value

    def _is_locked(self, key: str) -> bool:
        if key in self._locked and key not in self._warned:
            self._warned.add(key)
            self._warn(f"Config item '{key}' was locked by 'sweep' (ignored update).")
        return key in self._locked


def as_mapping(values: Any) -> dict[str, Any]:
    """Return a mapping's, pairs' or a namespace's contents. Raises TypeError or ValueError for anything else."""
    if isinstance(values, Mapping):
        return dict(values)
    if hasattr(values, "__dict__"):
        return dict(vars(values))
    return dict(values)


def merge(under: Any, over: Any) -> Any:
    """Lay one value over the other: of two mappings key by key."""
    if not (isinstance(under, Mapping) and isinstance(over, Mapping)):
        return over
    return {**under, **{key: merge(under.get(key), value) for key, value in over.items()}}
