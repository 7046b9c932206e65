"""The published JSON Schemas: they match the types, and each command has one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from smsweep.cli.lazy_group import COMMANDS, load_command
from smsweep.services.views.json_schemas import DOCUMENTS, SCHEMA_FILE, json_schemas, schema_text
from tests.support.json_documents import check
from tests.support.markdown import ROOT


def test_shipped_file_is_up_to_date() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text()


def test_each_command_with_json_output_has_a_type() -> None:
    loaded = {f"smsweep {name}": load_command(name) for name in COMMANDS}
    with_json = {name for name, found in loaded.items() if any("--json" in each.opts for each in found.params)}
    assert len(with_json) > 20
    for name in with_json:
        assert any(known == name or known.startswith((f"{name} ", f"{name},")) for known in DOCUMENTS), name


def test_reference_page_lists_each_document() -> None:
    page = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    properties = json_schemas()["properties"]
    assert re.findall(r"^\| `(.+?)` \| (.+?) \|$", page, re.M) == [
        (name, type_of(properties[name])) for name in properties
    ]


def type_of(schema: Mapping[str, Any]) -> str:
    """Return the text of a schema in the table of the reference page."""
    if "anyOf" in schema:
        return ", ".join(map(type_of, schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list of {type_of(schema['items'])}"
    return f"`{schema['$ref'].rpartition('/')[2]}`" if "$ref" in schema else str(schema["type"])


def test_each_reference_has_a_definition() -> None:
    schemas = json_schemas()
    names = {text.partition('"')[0] for text in json.dumps(schemas).split('"#/$defs/')[1:]}
    assert names == set(schemas["$defs"])


@pytest.mark.parametrize(
    "text", ['{"trials": 3}', '{"trials": 3, "where": "a", "more": 1}', '{"trials": "3", "where": "a"}']
)
def test_check_rejects_a_wrong_document(text: str) -> None:
    with pytest.raises((ValidationError, AssertionError)):
        check("smsweep export --to", text)
