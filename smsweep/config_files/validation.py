"""Check a document against pydantic models, and explain in smsweep's own messages what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from smsweep.config_files.document import Path, Problems, show, suggest
from smsweep.config_files.yaml_reader import is_text_to_pyyaml, read_scalar
from smsweep.util.sections import is_number, plain_message

ModelT = TypeVar("ModelT", bound=BaseModel)


def check(model: type[ModelT], data: Any, path: Path, problems: Problems) -> ModelT | None:
    """Return the data as a model; with errors, add them to `problems` and return None."""
    try:
        return model.model_validate(data)
    except ValidationError as err:
        for error in err.errors(include_url=False):
            key = error["ctx"]["key"] if error["type"] == "problem" else ""
            problems.add((*path, *error["loc"], *([key] if key else [])), _explain(model, error))
    return None


def _explain(model: type[BaseModel], error: ErrorDetails) -> str:
    kind, loc = error["type"], error["loc"]
    owner = _section_at(model, loc[:-1])
    if kind == "extra_forbidden":
        return unknown_key(loc[-1], keys_of(owner))
    if kind == "missing":
        return f"missing; {_describe(owner, loc)}"
    if kind == "literal_error":
        return not_a_choice(error["input"], re.findall(r"'([^']*)'", error["ctx"]["expected"]))
    if kind == "too_short":
        n = error["ctx"]["min_length"]
        return f"expected at least {n} item{'s' * (n > 1)}, got {error['ctx']['actual_length']}"
    if kind in ("hidden", "problem"):  # a hidden value may be a secret
        return error["msg"]
    if kind != "expected" and kind not in _TYPES:  # a constraint of a plug-in's model
        return f"{plain_message(error)}, got {show(error['input'])}"
    wanted = error["ctx"]["what"] if kind == "expected" else _TYPES[kind]
    if wanted == "a mapping" and isinstance(error["input"], (str, int, float)):
        return f"expected a mapping, got {show(error['input'])}{_as_mapping(model, loc, error['input'])}"
    return f"expected {wanted}, got {show(error['input'])}{fix_for(wanted, error['input'])}"


_TYPES = {
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "list_type": "a list",
    "bool_type": "true or false",
}
# Words that users write for a boolean, but that YAML 1.2 reads as text.
_WORDS = {"yes": "true", "on": "true", "true": "true", "no": "false", "off": "false", "false": "false"}


def unknown_key(key: object, known: list[str]) -> str:
    return f"unknown key; {suggest(key, known)}"


def one_of(choices: list[str]) -> str:
    """Return `a, b or c`."""
    *head, last = choices
    return f"{', '.join(head)} or {last}" if head else last


def not_a_choice(value: object, choices: list[str]) -> str:
    """Return the message for a value that must be one of the choices."""
    return f"expected {one_of(choices)}, got {show(value)}{_did_you_mean(value, choices)}"


def keys_of(section: type[BaseModel]) -> list[str]:
    """Return the keys of a section as users write them."""
    return [field.alias or name for name, field in section.model_fields.items()]


def _one_word(text: str) -> str:
    return text if len(text) < 40 and text.isprintable() else "..."


def _did_you_mean(value: object, choices: list[str]) -> str:
    hint = suggest(value, choices) if isinstance(value, str) else ""
    return f"; {hint}" if hint.startswith("did") else ""


def fix_for(wanted: str, value: object) -> str:
    """Return the fix for a value of the wrong kind, with a leading `;`; "" if there is none to propose."""
    if value is None:
        return "; give it a value, or remove the key"
    if "number" in wanted and isinstance(value, str) and is_number(read_scalar(value[:50])):
        is_pyyamls = is_text_to_pyyaml(value)
        return f"; remove the quotes{', or write numbers like 1.0e-5 for PyYAML' if is_pyyamls else ''}"
    if wanted.startswith("text") and isinstance(value, (bool, int, float)):
        return "; quote it"
    if wanted == "true or false" and isinstance(value, str) and value.lower() in _WORDS:
        return f"; write {_WORDS[value.lower()]} without quotes"
    if wanted == "a list" and isinstance(value, (str, int, float)):
        # In a list between brackets, YAML reads `{` as the start of a mapping.
        quoted = [f'"{word}"' if "{" in word else word for word in str(value).split()]
        words = ", ".join(quoted)
        return f"; write [{words if len(words) < 40 else '...'}]"
    return ""


def _as_mapping(model: type[BaseModel], loc: tuple[int | str, ...], value: str | float) -> str:
    """Return the long form of a value that should be a mapping, with a leading `;`; "" if there is none."""
    section = _section_at(model, loc)
    if section is _section_at(model, loc[:-1]):  # a mapping with arbitrary keys
        return ""
    keys = keys_of(section)
    if value in keys:
        inner = _section_at(section, (value,))
        return f"; write {{{value}: {'...' if inner is section else f'{{{keys_of(inner)[0]}: ...}}'}}}"
    try:
        section.model_validate({keys[0]: value})
    except ValidationError as err:
        if any(error["loc"][:1] == (keys[0],) for error in err.errors(include_url=False)):
            return ""
    return f"; write {{{keys[0]}: {_one_word(str(value))}}}"


def _describe(owner: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    for name, field in owner.model_fields.items():
        if loc[-1] in (name, field.alias):
            return field.description or "add it"
    return "add it"


def _section_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """Return the model of the mapping at loc."""
    section = model
    for step in loc:
        for name, field in section.model_fields.items():
            if step in (name, field.alias):
                section = next(_sections_in(field.annotation), section)
    return section


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _sections_in(part)
