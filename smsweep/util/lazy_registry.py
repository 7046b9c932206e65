"""Tables of implementations by name, each imported when somebody asks for it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class LazyTable(Mapping[str, T], Generic[T]):
    """Maps a name to an object given as "package.module:Name"; `in`, `len` and iteration import nothing.

    Raises KeyError for a name it does not have.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = dict(places)

    def __getitem__(self, name: str) -> T:
        module, _, attribute = self._places[name].partition(":")
        return cast(T, getattr(importlib.import_module(module), attribute))

    def __contains__(self, name: object) -> bool:
        return name in self._places  # Mapping's own would import

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
