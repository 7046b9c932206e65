"""What a plain word of YAML means: numbers, booleans and null as in YAML 1.2, all else is text."""

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

MAX_DIGITS = 400  # of a whole number; a float ends at 309

# YAML 1.1, as wandb reads it, has more words that are not text. Tag -> what its values are.
_OLD_KINDS = {
    "tag:yaml.org,2002:bool": "the boolean",
    "tag:yaml.org,2002:timestamp": "the date",
    "tag:yaml.org,2002:int": "the number",
    "tag:yaml.org,2002:float": "the number",
}
_OLD_READER = yaml.SafeLoader("")


def read_scalar(word: str) -> Any:
    """Return the value of an unquoted word. Raises ValueError for a number too long to be one."""
    if word in NULLS:
        return None
    if word in BOOLS:
        return BOOLS[word]
    if INT.match(word) or OCTAL.match(word) or HEX.match(word):
        if len(word) > MAX_DIGITS:
            raise ValueError(f"a number of {len(word)} digits is too long")
        return int(word, _base(word))
    if FLOAT.match(word):
        return float(word)
    if SPECIAL.match(word):
        return float(word.replace(".", ""))
    return word


def read_tagged(tag: str, word: str) -> Any:
    """Return the value of a word behind `!!str`, `!!int`, ... Raises ValueError when it is not of that kind.

    tag: a key of TAGS.
    """
    if tag == "str":
        return word
    value = read_scalar(word)
    if type(value) not in TAGS[tag]:
        raise ValueError(f"{word!r} is not of type {tag}, as its tag says")
    return float(value) if tag == "float" else value


def other_reading(word: str) -> tuple[str, str] | None:
    """Say what wandb reads in an unquoted word where it differs: ("the boolean", "true"). None where it does not.

    Numbers such as 1e-5, which YAML 1.1 takes for text, are no difference: wandb hands them on unquoted, and they
    end as numbers.
    """
    node = yaml.ScalarNode(_old_tag(word), word)
    kind = _OLD_KINDS.get(node.tag)
    if kind is None:
        return None
    try:
        old = _OLD_READER.yaml_constructors[node.tag](_OLD_READER, node)
    except (ValueError, OverflowError):  # 2020-13-45 looks like a date and is none
        return None
    ours = read_scalar(word)
    if type(old) is type(ours) and (old == ours or old != old):
        return None
    return kind, str(old).lower() if isinstance(old, bool) else str(old)


def is_text_to_pyyaml(word: str) -> bool:
    """Tell a number that PyYAML, which wants a point and a sign (1.0e-5), takes for text: 1e-5."""
    return bool(FLOAT.match(word)) and _old_tag(word) == "tag:yaml.org,2002:str"


def _old_tag(word: str) -> str:
    tag: str = _OLD_READER.resolve(yaml.ScalarNode, word, (True, False))  # type: ignore[no-untyped-call]  # PyYAML's stubs
    return tag


def _base(word: str) -> int:
    return {"0o": 8, "0x": 16}.get(word[:2], 10)
