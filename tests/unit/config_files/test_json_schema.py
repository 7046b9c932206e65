"""Tests that the JSON Schema for editors agrees with the models."""

from __future__ import annotations

from smsweep.config_files.json_schema import SCHEMA_FILE, schema_text, sweep_schema
from smsweep.config_files.sweep_rules import MAY_BE_BLANK
from smsweep.space.distributions import DISTRIBUTIONS


def test_published_schema_is_up_to_date() -> None:
    # to renew it: SCHEMA_FILE.write_text(schema_text())
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text()


def test_schema_has_every_distribution() -> None:
    choices = sweep_schema()["$defs"]["parameters"]["additionalProperties"]["anyOf"]
    assert {choice["$ref"].rpartition("/")[2] for choice in choices} == {*DISTRIBUTIONS, "nested"}


def test_schema_allows_null_only_for_labels() -> None:
    schema = sweep_schema()
    labels = {key for key, value in schema["properties"].items() if value.get("type") == ["string", "null"]}
    assert labels == set(MAY_BE_BLANK)
    assert schema_text().count('"null"') == len(labels)
