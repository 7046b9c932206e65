"""Wrap modules of other packages when the script imports them, without importing them earlier."""

from __future__ import annotations

import functools
import sys
from importlib.machinery import PathFinder

from smsweep.runtime.script.messages import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType
    from typing import Any

    Wrap = Callable[[Any], None]


def on_import(wrappers: Mapping[str, Wrap]) -> None:
    """Watch the imports of this process. Call the wrapper of each named module after the module is loaded."""
    for name in [name for name in wrappers if name in sys.modules]:
        _wrap(wrappers[name], sys.modules[name])
    sys.meta_path.insert(0, _Finder(wrappers))


class _Finder:
    """Finds the modules to wrap in the places where Python finds them."""

    def __init__(self, wrappers: Mapping[str, Wrap]) -> None:
        self._wrappers = wrappers

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        wrap = self._wrappers.get(name)
        spec = PathFinder.find_spec(name, path) if wrap else None
        if wrap is None or spec is None or spec.loader is None:
            return None
        spec.loader.exec_module = functools.partial(_load, spec.loader.exec_module, wrap)  # type: ignore[method-assign]
        return spec


def _load(exec_module: Callable[[ModuleType], None], wrap: Wrap, module: ModuleType) -> None:
    exec_module(module)
    _wrap(wrap, module)


def _wrap(wrap: Wrap, module: ModuleType) -> None:
    try:
        wrap(module)
    except AttributeError as err:  # an unknown version of the library: the script continues without its metrics
        warn(f"cannot follow {module.__name__.partition('.')[0]}'s metrics: {err}")
