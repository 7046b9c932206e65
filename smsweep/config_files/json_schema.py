"""The JSON Schema of sweep.yaml for editors, generated from the models and the table of distributions.

The published file, sweep_schema.json, is `schema_text()`; a test compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from smsweep.config_files.parameters import DEPRECATED, LISTS, NAME, keys_of
from smsweep.config_files.sweep_rules import IGNORED, LAUNCH, MAY_BE_BLANK, EarlyTerminateSection, SweepSection
from smsweep.search.registry import METHODS
from smsweep.space.distributions import DISTRIBUTIONS
from smsweep.stopping.registry import RULES

SCHEMA_FILE = Path(__file__).with_name("sweep_schema.json")

# Distributions that can be omitted, because the keys identify them.
INFERRED = ("constant", "categorical", "categorical_w_probabilities", "int_uniform", "uniform")


def schema_text() -> str:
    """Return the JSON Schema as the text of sweep_schema.json."""
    return json.dumps(sweep_schema(), indent=2) + "\n"


def sweep_schema() -> dict[str, Any]:
    """Return the JSON Schema. It cannot express all rules, such as min < max."""
    schema = SweepSection.model_json_schema(by_alias=True, schema_generator=_Generator)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "W&B sweep configuration"
    schema["properties"]["parameters"]["$ref"] = "#/$defs/parameters"
    for key in LAUNCH:
        schema["properties"][key]["deprecated"] = True
    for key in MAY_BE_BLANK:
        label = schema["properties"][key]
        label.pop("minLength")
        label["type"] = ["string", "null"]
    for key, why in IGNORED.items():
        schema["properties"][key] = {"description": f"not used by smsweep ({why})", "deprecated": True}
    methods = [name for name, spec in METHODS.builtin.items() if not spec.is_engine]
    schema["properties"]["method"]["anyOf"] = [{"enum": [*methods, "custom"]}, {"type": "string"}]  # a plug-in's
    schema["$defs"]["EarlyTerminateSection"] = _early_terminate()
    schema["anyOf"] = [{"required": ["parameters"]}, {"required": ["scheduler"]}]
    schema["$defs"] |= _parameter_definitions()
    return schema


def _early_terminate() -> dict[str, Any]:
    """Return the schema of the section: the keys of each built-in rule, and any keys for the rule of a plug-in."""
    own = EarlyTerminateSection.model_json_schema()
    kind = own["properties"]["type"]
    rules = []
    for name, spec in RULES.builtin.items():
        model = spec.model.model_json_schema(schema_generator=_Generator) if spec.model is not None else {}
        rules.append(
            {
                "title": name,
                "description": spec.summary,
                "properties": {"type": {**kind, "const": name}, **model.get("properties", {})},
                "required": ["type", *model.get("required", [])],
                "additionalProperties": False,
            }
        )
    plugin = {"properties": {"type": {**kind, "not": {"enum": list(RULES.builtin)}}}, "required": ["type"]}
    return {"type": "object", "description": own["description"], "anyOf": [*rules, plugin]}


def _parameter_definitions() -> dict[str, Any]:
    nested = {
        "type": "object",
        "description": "nested parameters",
        "properties": {"parameters": {"$ref": "#/$defs/parameters"}},
        "required": ["parameters"],
        "additionalProperties": False,
    }
    kinds = {kind: _distribution(kind) for kind in DISTRIBUTIONS}
    return {
        "parameters": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": "^" + NAME.pattern.replace(r"\Z", "$")},
            "additionalProperties": {"anyOf": [{"$ref": f"#/$defs/{kind}"} for kind in (*kinds, "nested")]},
        },
        "nested": nested,
        **kinds,
    }


def _distribution(kind: str) -> dict[str, Any]:
    keys = keys_of(kind)
    required = [key for key, is_required in keys.items() if is_required]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"distribution": {"const": kind}, **{key: _key(kind, key) for key in keys}},
        "required": required if kind in INFERRED else ["distribution", *required],
        "additionalProperties": False,
    }
    return schema | {"deprecated": True} if kind in DEPRECATED else schema


def _key(kind: str, key: str) -> Mapping[str, Any]:
    if key == "value":
        return {}
    if key in LISTS:
        items = {"items": {"type": "number", "minimum": 0}} if key == "probabilities" else {}
        return {"type": "array", "minItems": 1, **items}
    if kind == "int_uniform":
        return {"type": "integer"}
    if key in ("q", "a", "b") or (key == "min" and kind.endswith("_values")):
        return {"type": "number", "exclusiveMinimum": 0}
    return {"type": "number", "minimum": 0} if key == "sigma" else {"type": "number"}


class _Generator(GenerateJsonSchema):
    """Leaves out null: in the models it means an absent key, and in a document it is an error."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default") is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False
