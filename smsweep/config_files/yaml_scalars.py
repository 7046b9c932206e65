"""The meaning of a plain YAML scalar: numbers, booleans and null as in YAML 1.2; everything else is text."""

from __future__ import annotations

import re
from typing import Any

import yaml

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
