"""Params as W&B's sweep param file, byte for byte as W&B's agent writes it (through PyYAML).

YAML is written by hand here, because a job's Python need not have PyYAML and the shape is narrow: block mappings
and block lists of plain values. One liberty: PyYAML folds long texts at 80 columns, this keeps them on one line,
which reads back as the same value.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

# Texts that YAML 1.1 would read as something else than text, and PyYAML therefore quotes.
_NOT_TEXT = re.compile(
    r"""~|null|Null|NULL|<<|=|
    yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF|
    [-+]?0b[01_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+|
    [-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|
    [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)|
    \d{4}-\d\d-\d\d|\d{4}-\d\d?-\d\d?(?:[Tt]|[\ \t]+)\d\d?:\d\d:\d\d(?:\.\d*)?(?:[\ \t]*(?:Z|[-+]\d\d?(?::\d\d)?))?
    """,
    re.VERBOSE | re.ASCII,
)
_PRINTABLE = re.compile("[\n\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]*")
_BREAKS = "\n\x85\u2028\u2029"
_ESCAPES = {
    "\0": "0", "\x07": "a", "\x08": "b", "\x09": "t", "\x0a": "n", "\x0b": "v", "\x0c": "f", "\x0d": "r",
    "\x1b": "e", '"': '"', "\\": "\\", "\x85": "N", "\xa0": "_", "\u2028": "L", "\u2029": "P",
}  # fmt: skip


def param_document(params: Mapping[str, Any]) -> str:
    """Return the file's text. params: by top-level key, in the order W&B would show."""
    if not params:
        return "wandb_version: 1"
    values = {name: {"value": value} for name, value in params.items()}
    return "wandb_version: 1\n\n" + "".join(_mapping(values, 0))


def _mapping(mapping: Mapping[str, Any], indent: int) -> Iterator[str]:
    for name, value in mapping.items():
        yield from _entry(" " * indent + _key(name), value, indent)


def _key(name: object) -> str:
    text = _scalar(name, is_key=True)
    # PyYAML's limit for a key that needs no `? ` in front
    return f"{text}:" if not isinstance(name, str) or len(name) < 128 else f"? {text}\n:"


def _entry(head: str, value: Any, indent: int) -> Iterator[str]:
    if isinstance(value, dict) and value:
        yield head + "\n"
        yield from _mapping(value, indent + 2)
    elif isinstance(value, (list, tuple)) and value:
        yield head + "\n"
        yield from _list(value, indent)
    else:
        yield f"{head} {_scalar(value)}\n"


def _list(items: list[Any] | tuple[Any, ...], indent: int) -> Iterator[str]:
    for item in items:
        head = " " * indent + "- "
        if isinstance(item, (dict, list, tuple)) and item:
            # A block inside a list starts on the line of its dash.
            inner = _mapping(item, indent + 2) if isinstance(item, dict) else _list(item, indent + 2)
            yield head + "".join(inner)[indent + 2 :]
        else:
            yield head + _scalar(item) + "\n"


def _scalar(value: object, *, is_key: bool = False) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, str):
        return _text(value, is_key=is_key)
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, (list, tuple)):
        return "[]"
    return str(value)


def _float(value: float) -> str:
    if value != value:
        return ".nan"
    if value in (float("inf"), float("-inf")):
        return ".inf" if value > 0 else "-.inf"
    text = repr(value).lower()
    # YAML 1.1 reads an exponent only after a point: 1e-05 would come back as text.
    return text.replace("e", ".0e", 1) if "e" in text and "." not in text else text


def _text(text: str, *, is_key: bool) -> str:
    """Choose the plainest style that reads back as this text: as it is, in single quotes, in double quotes."""
    if not _PRINTABLE.fullmatch(text) or _has_odd_spaces(text) or (is_key and _has_break(text)):
        return _double_quoted(text)
    if _is_plain(text):
        return text
    if _has_break(text):
        return _double_quoted(text)
    return "'" + text.replace("'", "''") + "'"


def _is_plain(text: str) -> bool:
    if not text or _has_break(text) or _NOT_TEXT.fullmatch(text) or text[0] == " " or text[-1] == " ":
        return False
    if text.startswith(("---", "...")) or text[0] in "#,[]{}&*!|>'\"%@`":
        return False
    if text[0] in "-?:" and (len(text) == 1 or text[1] == " "):
        return False
    return ": " not in text and not text.endswith(":") and " #" not in text


def _has_break(text: str) -> bool:
    return any(character in _BREAKS for character in text)


def _has_odd_spaces(text: str) -> bool:
    """Whether spaces touch line breaks in a way only double quotes keep."""
    return any(f" {mark}" in text for mark in _BREAKS)


def _double_quoted(text: str) -> str:
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return "\\" + _ESCAPES[character]
    if (
        " " <= character <= "~"
        or "\xa0" < character <= "\ud7ff"
        or ("\ue000" <= character <= "\ufffd" and character != "\ufeff")
    ):
        return character
    code = ord(character)
    return f"\\x{code:02X}" if code <= 0xFF else f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"
