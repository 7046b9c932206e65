"""Write params as W&B's sweep param file, byte for byte as W&B's agent writes it with PyYAML.

This module writes YAML itself, because a job's Python may not have PyYAML, and the file needs only block mappings
and block lists of plain values. One difference: PyYAML folds long strings at 80 columns; this module keeps them on
one line. Both read as the same value.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

# Strings that YAML 1.1 reads as another type, so that PyYAML quotes them.
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
_BREAKS = re.compile("[\n\x85\u2028\u2029]+")
_BREAK_BY_SPACE = re.compile("[\n\x85\u2028\u2029] | [\n\x85\u2028\u2029]")
MAX_SIMPLE_KEY = 122  # characters; PyYAML's limit of 127 counts the tag `!!str`, too
_ESCAPES = {
    "\0": "0", "\x07": "a", "\x08": "b", "\x09": "t", "\x0a": "n", "\x0b": "v", "\x0c": "f", "\x0d": "r",
    "\x1b": "e", '"': '"', "\\": "\\", "\x85": "N", "\xa0": "_", "\u2028": "L", "\u2029": "P",
}  # fmt: skip


def param_document(params: Mapping[str, Any]) -> str:
    """Return the text of the file. params: by top-level key, in the order of the file."""
    if not params:
        return "wandb_version: 1"
    values = {name: {"value": value} for name, value in params.items()}
    return "wandb_version: 1\n\n" + "".join(_mapping(values, 0))


def _mapping(mapping: Mapping[str, Any], indent: int) -> Iterator[str]:
    pad = " " * indent
    for name, value in mapping.items():
        key = _scalar(name, indent + 2)
        if 0 < len(name) <= MAX_SIMPLE_KEY and not _BREAKS.search(name):
            yield f"{pad}{key}:" + _value(value, indent)
        else:
            yield f"{pad}? {key}\n{pad}: " + _after_mark(value, indent)


def _list(items: Sequence[Any], indent: int) -> Iterator[str]:
    for item in items:
        yield " " * indent + "- " + _after_mark(item, indent)


def _value(value: Any, indent: int) -> str:
    """Return the text after `key:`, including the line end."""
    if value and isinstance(value, dict):
        return "\n" + "".join(_mapping(value, indent + 2))
    if value and isinstance(value, (list, tuple)):
        return "\n" + "".join(_list(value, indent))
    return f" {_scalar(value, indent + 2)}\n"


def _after_mark(value: Any, indent: int) -> str:
    """Return the text after `- ` or `: `, where a block starts on the same line."""
    if value and isinstance(value, dict):
        return "".join(_mapping(value, indent + 2))[indent + 2 :]
    if value and isinstance(value, (list, tuple)):
        return "".join(_list(value, indent + 2))[indent + 2 :]
    return _scalar(value, indent + 2) + "\n"


def _scalar(value: object, indent: int) -> str:
    """Return a scalar or an empty collection. indent: of the lines after the first, if any."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, str):
        return _text(value, indent)
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
    # YAML 1.1 reads an exponent only after a decimal point: 1e-05 would be read as a string.
    return text.replace("e", ".0e", 1) if "e" in text and "." not in text else text


def _text(text: str, indent: int) -> str:
    """Return the text in the simplest style that reads as this text: plain, single-quoted or double-quoted."""
    if not _PRINTABLE.fullmatch(text) or _BREAK_BY_SPACE.search(text):
        return _double_quoted(text)
    if _is_plain(text):
        return text
    return "'" + _BREAKS.sub(lambda run: _broken(run[0], indent), text.replace("'", "''")) + "'"


def _is_plain(text: str) -> bool:
    if not text or _BREAKS.search(text) or _NOT_TEXT.fullmatch(text) or text[0] == " " or text[-1] == " ":
        return False
    if text.startswith(("---", "...")) or text[0] in "#,[]{}&*!|>'\"%@`":
        return False
    if text[0] in "-?:" and (len(text) == 1 or text[1] == " "):
        return False
    return ": " not in text and not text.endswith(":") and " #" not in text


def _broken(breaks: str, indent: int) -> str:
    """Return line breaks as single quotes need them: a single newline would be read as a space."""
    return ("\n" if breaks[0] == "\n" else "") + breaks + " " * indent


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
