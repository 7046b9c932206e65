"""Tables of implementations by name, imported at first use, with the plug-ins of other distributions."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, Protocol, TypeVar, cast

from smsweep.errors import SmsweepError, UsageError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Plugin:
    """An entry point of an installed distribution. Nothing of the distribution is imported before `load`."""

    group: str  # such as smsweep.backends
    name: str  # as sweep.yaml and the command line write it
    distributions: tuple[str, ...]  # NAME VERSION of each distribution that provides the name
    entry_point: EntryPoint

    def __str__(self) -> str:
        return f"plug-in {self.name} ({self.group}) of {' and '.join(self.distributions)}"

    def load(self) -> Any:
        """Import and return the object that the entry point names.

        Raises:
            UsageError: The import failed, or several distributions provide the name. The message names them.
        """
        if len(self.distributions) > 1:
            raise UsageError(f"{self}: the name must be unique; uninstall all but one of these distributions")
        try:
            return self.entry_point.load()
        except (Exception, SystemExit) as err:  # any exception of foreign code
            raise self.error(f"cannot import {self.entry_point.value}: {type(err).__name__}: {err}") from err

    def error(self, problem: str) -> UsageError:
        """Return the error for a problem with this plug-in; the message names the distribution and a fix."""
        name = self.distributions[0].split(" ")[0]
        return UsageError(f"{self}: {problem}; repair the distribution, or remove it: pip uninstall {name}")


@functools.cache
def load_plugins(group: str) -> Mapping[str, Plugin]:
    """Return the plug-ins of an entry-point group, by name.

    Reads the metadata of the installed distributions once per process, and imports none of them.

    Args:
        group: An entry-point group, such as `smsweep.backends`.
    """
    plugins: dict[str, Plugin] = {}
    for point in entry_points(group=group):
        owner = f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unknown distribution"
        others = plugins[point.name].distributions if point.name in plugins else ()
        if owner not in others:
            owners = (*others, owner)
            plugins[point.name] = Plugin(group=group, name=point.name, distributions=owners, entry_point=point)
    return plugins


def resolve(value: T | str) -> T:
    """Return a value, or import it if it is a place, written `package.module:name`."""
    resolved: T = import_object(value) if isinstance(value, str) else value
    return resolved


def import_object(place: str) -> Any:
    """Import and return the object at a place, written `package.module:name`."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


class SpecWithNeeds(Protocol):
    """An entry of a registry whose factory receives named values."""

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> Sequence[str]: ...

    @property
    def options(self) -> object: ...


def check_needs(spec: SpecWithNeeds, known: Sequence[str]) -> None:
    """Raise ValueError if a spec needs an unknown value, or `options` without an options model."""
    for need in spec.needs:
        if need not in known:
            raise ValueError(f"{spec.name}: unknown need {need!r}; choose from {', '.join(known)}")
    if ("options" in spec.needs) != (spec.options is not None):
        raise ValueError(f"{spec.name}: give options a model and list 'options' in needs, or do neither")


SpecT = TypeVar("SpecT")


class PluginRegistry(Mapping[str, SpecT], Generic[SpecT]):
    """Specs by name: the built-in ones first, then the plug-ins of an entry-point group.

    A plug-in's entry point names a spec of the same class. A plug-in cannot replace a built-in entry.
    Iteration and `in` import nothing. A lookup imports the plug-in of that name only, so a broken plug-in does not
    affect the others.
    """

    def __init__(
        self, group: str, spec_class: type[SpecT], builtin: Mapping[str, SpecT], *, reserved: Sequence[str] = ()
    ) -> None:
        """Create a registry.

        Args:
            group: The entry-point group of the plug-ins.
            spec_class: The class of the specs.
            builtin: The specs of smsweep, by name.
            reserved: More names that plug-ins cannot use.
        """
        self.group = group
        self._reserved = reserved
        self._class = spec_class
        self.builtin = builtin

    def __getitem__(self, name: str) -> SpecT:
        """Return the spec of that name.

        Raises:
            KeyError: No built-in entry and no plug-in has the name.
            UsageError: The plug-in cannot be loaded, or its entry point does not name a spec.
        """
        if name in self.builtin:
            return self.builtin[name]
        plugin = self._allowed()[name]
        spec = plugin.load()
        if not isinstance(spec, self._class):
            raise plugin.error(f"{plugin.entry_point.value} must be a {self._class.__name__}, got {spec!r:.100}")
        if getattr(spec, "name", name) != name:
            raise plugin.error(f"the name of {plugin.entry_point.value} must be {name!r}, got {spec.name!r}")  # type: ignore[attr-defined]
        return spec

    def __contains__(self, name: object) -> bool:
        return name in self.builtin or name in self._allowed()

    def __iter__(self) -> Iterator[str]:
        yield from self.builtin
        yield from sorted(self._allowed())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def create(self, name: str, factory: Any, **arguments: Any) -> Any:
        """Call the factory of an entry.

        Args:
            name: The name of the entry, for error messages.
            factory: A callable, or its place, written `package.module:name`.
            arguments: The keyword arguments of the factory.

        Raises:
            UsageError: The factory of a plug-in raised an exception that is not an error of smsweep.
        """
        with self.guard(name, "its factory"):
            make = resolve(factory)
            return make(**arguments)

    @contextmanager
    def guard(self, name: str, action: str) -> Iterator[None]:
        """Turn unexpected exceptions of a plug-in's code into errors that name the distribution.

        Args:
            name: The name of the entry. Exceptions of built-in entries are not changed.
            action: The code that runs, for the message.

        Raises:
            UsageError: The code of a plug-in raised an exception that is not an error of smsweep.
        """
        try:
            yield
        except SmsweepError:
            raise
        except Exception as err:
            if name not in self._allowed():
                raise
            problem = f"{action} raised {type(err).__name__}: {err}"
            raise self._allowed()[name].error(problem) from err

    def plugins(self) -> Sequence[tuple[Plugin, str]]:
        """Return each installed plug-in of the group with its problem, "" if there is none.

        Imports all plug-ins of the group.
        """
        return [(plugin, self._problem(plugin)) for _, plugin in sorted(load_plugins(self.group).items())]

    def usable(self) -> Iterator[str]:
        """Yield the names of all entries that can be used. Imports the plug-ins."""
        yield from self.builtin
        yield from (plugin.name for plugin, problem in self.plugins() if not problem)

    def _allowed(self) -> Mapping[str, Plugin]:
        """Return the plug-ins whose names smsweep itself does not use."""
        plugins = load_plugins(self.group)
        return {
            name: plugin
            for name, plugin in plugins.items()
            if name not in self.builtin and name not in self._reserved
        }

    def _problem(self, plugin: Plugin) -> str:
        if plugin.name not in self._allowed():
            return str(plugin.error("smsweep itself uses the name, so the plug-in is ignored"))
        try:
            self[plugin.name]
        except UsageError as err:
            return str(err)
        return ""


class LazyTable(Mapping[str, T], Generic[T]):
    """Maps names to objects. `in`, `len` and iteration import nothing.

    Args:
        places: Name -> "package.module:attribute".

    Raises:
        KeyError: By a lookup of an unknown name.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = dict(places)

    def __getitem__(self, name: str) -> T:
        module, _, attribute = self._places[name].partition(":")
        return cast(T, getattr(importlib.import_module(module), attribute))

    def __contains__(self, name: object) -> bool:
        return name in self._places  # the default of Mapping imports the object

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
