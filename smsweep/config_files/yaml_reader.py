"""Read YAML into plain data with the line of every key. Refuses YAML features that a config does not need.

Plain scalars have the meaning of YAML 1.2: numbers, booleans and null; everything else is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any, ClassVar

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from smsweep.config_files.document import Document, Path, show, show_path
from smsweep.errors import ConfigError, NotFound

MAX_BYTES = 1 << 20
MAX_DEPTH = 64  # nesting of mappings and lists
MAX_VALUES = 100_000  # each alias counts in full, so that a small file cannot expand to a huge one

_PLAIN = "plain"  # tag for a scalar without quotes and without an explicit tag
_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
_OPEN = "a quote that is never closed"
_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # as PyYAML counts lines
_ODD_BREAK = re.compile("[\x85\u2028\u2029]")  # line breaks in YAML that editors do not show
_STANDARD = "tag:yaml.org,2002:"

_ADVICE = {
    "found character '\\t' that cannot start any token": "a tab cannot indent or start a value; use spaces",
    "mapping values are not allowed here": "a ':' where no key can be; quote the text, or check the indentation",
    _OPEN: f"{_OPEN}; close it, or double a ' within '...'",
    _TOO_DEEP: f"{_TOO_DEEP}; a config needs only a few",
    "but found another document": "a second document ('---'); keep one document in the file",
}
NULLS = frozenset({"", "~", "null", "Null", "NULL"})
BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
INT = re.compile(r"[-+]?[0-9]+\Z")
OCTAL = re.compile(r"0o[0-7]+\Z")
HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
SPECIAL = re.compile(r"([-+]?)\.(inf|Inf|INF|nan|NaN|NAN)\Z")
TAGS = {"str": (str,), "int": (int,), "float": (float, int), "bool": (bool,), "null": (type(None),)}
MAX_DIGITS = 400  # of a whole number; a float has at most 309
# YAML 1.1, which wandb reads, has more scalars that are not text. Tag -> description of its values.
_OLD_KINDS = {
    "tag:yaml.org,2002:bool": "the boolean",
    "tag:yaml.org,2002:timestamp": "the date",
    "tag:yaml.org,2002:int": "the number",
    "tag:yaml.org,2002:float": "the number",
}
_OLD_READER = yaml.SafeLoader("")


def read_file(path: FilePath) -> Document:
    """Read a YAML file. Raises NotFound if it does not exist, ConfigError if it is not valid."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError as err:
        raise NotFound(f"{path}: no such file") from err
    except OSError as err:
        raise ConfigError(f"{path}: cannot be read: {err.strerror}") from err
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_BYTES:,} bytes; a config is a few lines of text")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = raw.count(b"\n", 0, err.start) + 1
        byte = f"0x{raw[err.start]:02x}"
        raise ConfigError(f"{path}:{line}: not UTF-8 (byte {byte}); save the file as UTF-8") from err
    return read_yaml(text, str(path))


def read_yaml(text: str, name: str) -> Document:
    """Read a YAML text. An empty text gives None.

    Repeated keys are in the document's errors, so that they are reported together with other errors.

    Args:
        text: The YAML.
        name: Name of the file in messages.

    Raises:
        ConfigError: If the text is not valid.
    """
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{name}: larger than {MAX_BYTES:,} characters; a config is a few lines of text")
    builder = _Builder(name)
    root = _compose(text, name)
    if root is None:
        return Document(data=None, text=text, name=name)
    data = builder.build(root, ())
    if builder.problems:  # the data are incomplete, so further checks would mislead
        problems = sorted([*builder.problems, *builder.repeats])
        raise ConfigError([f"{name}:{line}: {text}" for line, text in problems])
    return Document(
        data=data,
        text=text,
        name=name,
        lines=builder.lines,
        errors=tuple(builder.repeats),
        warnings=tuple(builder.warnings),
    )


def _compose(text: str, name: str) -> Node | None:
    try:
        loader = _Loader(text)
        return loader.get_single_node()
    except yaml.MarkedYAMLError as err:
        for number, row in enumerate(text.split("\n"), 1):
            if odd := _ODD_BREAK.search(row):
                raise ConfigError(
                    f"{name}:{number}: character U+{ord(odd[0]):04X} ends a line; remove it"
                ) from err
        rows = _BREAK.split(text)
        if number := _line_without_colon(rows, err):
            raise ConfigError(
                f"{name}:{number}: {show(rows[number - 1].strip())} has no ':'; write KEY: VALUE"
            ) from err
        is_open = err.context == "while scanning a quoted scalar" and "end of stream" in (err.problem or "")
        mark = err.context_mark if is_open else err.problem_mark or err.context_mark
        line = mark.line + 1 if mark else 1
        problem = _OPEN if is_open else err.problem or err.context or "unreadable"
        raise ConfigError(f"{name}:{line}: {_ADVICE.get(problem, f'not valid YAML: {problem}')}") from err
    except ReaderError as err:
        line = text.count("\n", 0, err.position) + 1
        raise ConfigError(
            f"{name}:{line}: character U+{ord(text[err.position]):04X} is not allowed in YAML; remove it"
        ) from err
    except (ValueError, OverflowError) as err:  # PyYAML passes an escape such as "\UFFFFFFFF" to chr()
        raise ConfigError(f"{name}:1: an escape in double quotes is not a character; correct it") from err


def _line_without_colon(rows: list[str], err: yaml.MarkedYAMLError) -> int:
    """Return the number of the line whose missing ':' PyYAML reports at the next line; 0 for another error."""
    if err.problem == "could not find expected ':'" and err.context_mark:
        number: int = err.context_mark.line + 1
        return number if ":" not in rows[number - 1] else 0
    if err.problem != "mapping values are not allowed here" or not err.problem_mark:
        return 0
    at: int = err.problem_mark.line
    filled = [n for n in range(at) if rows[n].strip() and not rows[n].lstrip().startswith("#")]
    before, row = [-1, -1, *filled][-2:]
    if row < 0 or ":" in rows[row] or rows[row].lstrip().startswith("-"):
        return 0
    # The line starts a mapping, or belongs to a text of several lines.
    is_first_key = before < 0 or rows[before].rstrip().endswith(":")
    return row + 1 if is_first_key or _indent(rows[row]) < _indent(rows[at]) else 0


def _indent(row: str) -> int:
    return len(row) - len(row.lstrip())


class _Loader(yaml.SafeLoader):
    """Composes nodes only; _Builder interprets them."""

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {  # type: ignore[misc]  # the stubs take it for an instance's
        None: [(_PLAIN, re.compile(""))]
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=_TOO_DEEP, problem_mark=self.get_mark())
        node: Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Builder:
    """Converts nodes to data. Collects errors, but raises at once if continuing could take too long."""

    def __init__(self, name: str) -> None:
        self.lines: dict[Path, int] = {}
        self.warnings: list[tuple[Path, str]] = []
        self.problems: list[tuple[int, str]] = []  # line, text
        self.repeats: list[tuple[int, str]] = []  # keys that occur again; the first one is used
        self._name = name
        self._n_values = 0
        self._open: list[Node] = []  # mappings and lists that contain the current node

    def build(self, node: Node, path: Path) -> Any:
        self.lines.setdefault(path, _line(node))
        self._count(node)
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        self._check_tag(node, path)
        self._enter(node, path)
        value = self._sequence(node, path) if isinstance(node, SequenceNode) else self._mapping(node, path)
        self._open.pop()
        return value

    def _sequence(self, node: SequenceNode, path: Path) -> list[Any]:
        items = []
        for index, item in enumerate(node.value):
            items.append(self.build(item, (*path, index)))
        return items

    def _mapping(self, node: Node, path: Path) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in self._entries(node, path):
            key = self._key(key_node, path)
            if key is None:
                continue
            place = (*path, key)
            if key in mapping:
                text = f"{show_path(place)}: occurs twice, first in line {self.lines[place]}; keep one"
                self.repeats.append((_line(key_node), text))
                continue
            self.lines[place] = _line(key_node)
            mapping[key] = self.build(value_node, place)
        return mapping

    def _entries(self, node: Node, path: Path) -> Iterator[tuple[Node, Node]]:
        """Yield the mapping's own entries, then those merged in by `<<` that it does not have itself."""
        merged: list[Node] = []
        own: set[str] = set()
        for key_node, value_node in node.value:
            if key_node.tag == _PLAIN and key_node.value == "<<":
                merged += value_node.value if isinstance(value_node, SequenceNode) else [value_node]
                continue
            own.add(str(key_node.value))
            yield key_node, value_node
        for source in merged:
            self._count(source)
            if not isinstance(source, MappingNode):
                self._problem(source, path, "<< needs a mapping or a list of mappings")
                continue
            self._enter(source, path)
            for key_node, value_node in self._entries(source, path):
                self._count(key_node)
                if str(key_node.value) not in own:
                    own.add(str(key_node.value))
                    yield key_node, value_node
            self._open.remove(source)

    def _enter(self, node: Node, path: Path) -> None:
        if node in self._open or len(self._open) == MAX_DEPTH:
            what = "contains itself" if node in self._open else _TOO_DEEP
            raise ConfigError(f"{self._name}:{_line(node)}: {show_path(path)}: {what}")
        self._open.append(node)

    def _key(self, node: Node, path: Path) -> str | None:
        if not isinstance(node, ScalarNode):
            self._problem(node, path, "a key cannot be a list or a mapping; use text")
            return None
        key = self._scalar(node, (*path, str(node.value)))
        if not isinstance(key, str):
            self._problem(node, (*path, str(node.value)), "a key must be text; quote it")
            return None
        return key

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        if not self._check_tag(node, path):
            return None
        try:
            word = _whole(node.value)
            if node.tag != _PLAIN:
                return read_tagged(node.tag.removeprefix(_STANDARD), word)
            value = read_scalar(word)
        except ValueError as err:
            self._problem(node, path, str(err))
            return None
        if other := other_reading(word):
            ours = "the text" if isinstance(value, str) else "the number"
            kind, theirs = other
            fix = f"write {theirs}, or quote it" if kind == "the boolean" else "quote it if it is text"
            self.warnings.append((path, f"{ours} {value!r} in smsweep, but {kind} {theirs} in W&B; {fix}"))
        return value

    def _check_tag(self, node: Node, path: Path) -> bool:
        """Return True for the tags of plain values; all other tags would make a reader build objects."""
        allowed = {
            ScalarNode: tuple(TAGS),
            SequenceNode: ("seq",),
            MappingNode: ("map",),
        }[type(node)]
        if node.tag == _PLAIN or node.tag in [_STANDARD + tag for tag in allowed]:
            return True
        name = f"!!{node.tag.removeprefix(_STANDARD)}" if node.tag.startswith(_STANDARD) else node.tag
        self._problem(node, path, f"the tag {name[:60]} is not allowed; write a plain value")
        return False

    def _problem(self, node: Node, path: Path, text: str) -> None:
        key = f"{show_path(path)}: " if path else ""
        self.problems.append((_line(node), key + text))

    def _count(self, node: Node) -> None:
        self._n_values += 1
        if self._n_values > MAX_VALUES:
            raise ConfigError(
                f"{self._name}:{_line(node)}: more than {MAX_VALUES:,} values, each alias counted in full"
            )


def _whole(word: str) -> str:
    """Join surrogate pairs from JSON escapes (characters beyond U+FFFF). Raises ValueError for a single one."""
    try:
        return word.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise ValueError("an escape is half of a surrogate pair; write the character itself") from None


def _line(node: Node) -> int:
    line: int = node.start_mark.line
    return line + 1


def read_scalar(word: str) -> Any:
    """Return the value of an unquoted scalar. Raises ValueError for a number that is too long."""
    if word in NULLS:
        return None
    if word in BOOLS:
        return BOOLS[word]
    if INT.match(word) or OCTAL.match(word) or HEX.match(word):
        if len(word) > MAX_DIGITS:
            raise ValueError(f"a number of {len(word)} digits is too long; shorten it")
        return int(word, _base(word))
    if FLOAT.match(word):
        return float(word)
    if SPECIAL.match(word):
        return float(word.replace(".", ""))
    return word


def read_tagged(tag: str, word: str) -> Any:
    """Return the value of a scalar with a tag `!!str`, `!!int`, ... Raises ValueError for another type.

    Args:
        tag: A key of TAGS.
        word: The scalar.
    """
    if tag == "str":
        return word
    value = read_scalar(word)
    if type(value) not in TAGS[tag]:
        raise ValueError(f"{word!r} is not of type {tag}, as its tag says")
    return float(value) if tag == "float" else value


def other_reading(word: str) -> tuple[str, str] | None:
    """Return kind and value of an unquoted scalar in wandb, ("the boolean", "true"), if it differs; else None.

    Numbers such as 1e-5, which YAML 1.1 reads as text, do not count as different: wandb passes them on unquoted,
    so the script reads them as numbers.
    """
    node = yaml.ScalarNode(_old_tag(word), word)
    kind = _OLD_KINDS.get(node.tag)
    if kind is None:
        return None
    try:
        old = _OLD_READER.yaml_constructors[node.tag](_OLD_READER, node)
    except (ValueError, OverflowError):  # 2020-13-45 has the form of a date but is not valid
        return None
    ours = read_scalar(word)
    if type(old) is type(ours) and (old == ours or old != old):
        return None
    return kind, str(old).lower() if isinstance(old, bool) else str(old)


def is_text_to_pyyaml(word: str) -> bool:
    """Return True for a number that PyYAML reads as text, such as 1e-5 (it needs a point and a sign: 1.0e-5)."""
    return bool(FLOAT.match(word)) and _old_tag(word) == "tag:yaml.org,2002:str"


def _old_tag(word: str) -> str:
    tag: str = _OLD_READER.resolve(yaml.ScalarNode, word, (True, False))  # type: ignore[no-untyped-call]  # PyYAML's stubs
    return tag


def _base(word: str) -> int:
    return {"0o": 8, "0x": 16}.get(word[:2], 10)
