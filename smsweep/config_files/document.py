"""A document as plain data, with the line of each key and the problems of the document."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from smsweep.errors import ConfigError

Path = tuple[str | int, ...]  # keys and list positions from the top of the document


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """The content of a YAML text or a dict: dicts with string keys, lists, strings, numbers, booleans and None."""

    data: Any
    text: str  # the YAML, as read or as written from the dict
    name: str = ""  # of the file; "" for a dict, which has no lines
    lines: Mapping[Path, int] = field(default_factory=dict)  # line of each key and list item, starting at 1
    errors: tuple[tuple[int, str], ...] = ()  # line and message of errors that still allow to check the data
    warnings: tuple[tuple[Path, str], ...] = ()  # of the reader

    def line(self, path: Path) -> int:
        """Return the line of a key, or of its nearest parent that has a line."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class Problems:
    """Collects the errors and warnings of a document, so that they are reported together, in order of line."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._errors: list[tuple[Path, str]] = []
        self._warnings: list[tuple[Path, str]] = list(document.warnings)

    def add(self, path: Path, text: str) -> None:
        """Add an error. text: what is wrong; how to fix it."""
        self._errors.append((path, text))

    def warn(self, path: Path, text: str) -> None:
        self._warnings.append((path, text))

    def any_in(self, path: Path) -> bool:
        """Return True if there is an error at a key or below it."""
        return any(place[: len(path)] == path for place, _ in self._errors)

    def raise_errors(self) -> None:
        """Raise ConfigError with all errors, if there are any."""
        errors = [(line, f"{self._document.name}:{line}: {text}") for line, text in self._document.errors]
        errors += self._lines(self._errors)
        if errors:
            raise ConfigError([text for _, text in sorted(errors, key=lambda error: error[0])])

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(text for _, text in self._lines(self._warnings))

    def _lines(self, notes: Iterable[tuple[Path, str]]) -> list[tuple[int, str]]:
        """Return each message once, with its line and key, in order of line."""
        lines = [(self._document.line(path), self._place(path) + text) for path, text in dict.fromkeys(notes)]
        return sorted(lines, key=lambda line: line[0])

    def _place(self, path: Path) -> str:
        key = f"{show_path(path)}: " if path else ""
        return f"{self._document.name}:{self._document.line(path)}: {key}" if self._document.name else key


def show_path(path: Path) -> str:
    """Return the path in the usual notation: parameters.lr.values[0]."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{_one_line(step)}" for step in path)
    return text.removeprefix(".")


def show(value: object) -> str:
    """Return a value as an error message shows it, in one short line."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, (list, tuple)):
        return "a list" if value else "an empty list"
    return _cut(repr(value))


def suggest(word: object, choices: Iterable[str]) -> str:
    """Return `did you mean x?` for a likely misspelling, otherwise a list of the choices."""
    known = sorted(choices)
    text = str(word).lower()
    near = difflib.get_close_matches(text, known, n=1, cutoff=0.6)
    near = near or [choice for choice in known if len(text) > 2 and choice.startswith(text)][:1]
    if near:
        return f"did you mean {near[0]}?"
    return f"choose from {', '.join(known)}" if known else ""


def non_finite(data: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of each infinity and NaN."""
    if isinstance(data, float) and not math.isfinite(data):
        yield path
    elif isinstance(data, dict):
        for key, value in data.items():
            yield from non_finite(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from non_finite(value, (*path, index))


def _one_line(key: str) -> str:
    return _cut(key if key.isprintable() and key else repr(key))


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
