"""Convert a dict from Python to the same plain data that a YAML file gives, and write it as YAML."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar

import yaml

from smsweep.config_files.document import Document, Path, show, show_path
from smsweep.config_files.yaml_reader import (
    FLOAT,
    HEX,
    INT,
    MAX_DEPTH,
    MAX_VALUES,
    OCTAL,
    SPECIAL,
    is_text_to_pyyaml,
)
from smsweep.errors import ConfigError


def from_mapping(document: Mapping[str, Any]) -> Document:
    """Copy a dict into a document. Raises ConfigError for values that YAML cannot represent."""
    copier = _Copier()
    data = copier.copy(document, ())
    if copier.problems:
        raise ConfigError(copier.problems)
    return Document(data=data, text=to_yaml(data), warnings=tuple(copier.warnings.items()))


def to_yaml(data: Any) -> str:
    """Return plain data as YAML that smsweep's reader and W&B's read as exactly that data."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Copier:
    def __init__(self) -> None:
        self.problems: list[str] = []
        self.warnings: dict[Path, str] = {}
        self._n_values = 0

    def copy(self, value: Any, path: Path) -> Any:
        self._n_values += 1
        if len(path) > MAX_DEPTH:  # a dict that contains itself ends here too
            raise ConfigError(f"{show_path(path[:3])}...: nested deeper than {MAX_DEPTH} levels")
        if self._n_values > MAX_VALUES:
            raise ConfigError(f"{show_path(path)}: more than {MAX_VALUES:,} values")
        if isinstance(value, Mapping):
            return self._mapping(value, path)
        if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
            value = value.tolist()  # a scalar becomes a number, an array a list
        if isinstance(value, (list, tuple)):
            return [self.copy(item, (*path, index)) for index, item in enumerate(value)]
        return self._scalar(value, path)

    def _mapping(self, value: Mapping[Any, Any], path: Path) -> dict[str, Any]:
        copied = {}
        for key, item in value.items():
            if isinstance(key, str):
                copied[self._text(key, path)] = self.copy(item, (*path, str(key)))
            else:
                self._problem(path, f"a key must be text, got {show(key)}")
        return copied

    def _scalar(self, value: Any, path: Path) -> Any:
        if isinstance(value, Enum):
            value = value.value
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        # subclasses are converted to the plain type
        if isinstance(value, str):
            return self._text(value, path)
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value)
        self._problem(
            path, f"type {type(value).__name__} is not supported; use text, numbers, booleans, lists and dicts"
        )
        return None

    def _text(self, value: str, path: Path) -> str:
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            self._problem(path, "half a surrogate pair is not text; decode it first")
        if path[:1] == ("parameters",) and is_text_to_pyyaml(value):
            place = path[:-1] if isinstance(path[-1], int) else path
            text = f"contains {value!r} as text, as PyYAML reads it; write 1.0e-5, or pass the file's path"
            self.warnings.setdefault(place, text)
        return str.__str__(value)

    def _problem(self, path: Path, text: str) -> None:
        self.problems.append(f"{show_path(path)}: {text}" if path else text)


class _Dumper(yaml.SafeDumper):
    """Quotes all strings that one of the two readers would read as another type."""

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {  # type: ignore[misc]  # the stubs take it for an instance's
        first: list(resolvers) for first, resolvers in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        # inside single quotes these line ends would be read as spaces
        style = '"' if any(char in text for char in "\x85\u2028\u2029") else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)
for _tag, _pattern in (("int", INT), ("int", OCTAL), ("int", HEX), ("float", FLOAT), ("float", SPECIAL)):
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list("-+.0123456789"))
