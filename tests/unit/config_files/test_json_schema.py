"""Tests that the JSON Schema for editors agrees with the models."""

from __future__ import annotations

from smsweep.config_files.json_schema import SCHEMA_FILE, schema_text, sweep_schema
from smsweep.space.distributions import DISTRIBUTIONS


def test_published_schema_is_up_to_date() -> None:
    # to renew it: SCHEMA_FILE.write_text(schema_text())
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text()


def test_schema_has_every_distribution() -> None:
    choices = sweep_schema()["$defs"]["parameters"]["additionalProperties"]["anyOf"]
    assert {choice["$ref"].rpartition("/")[2] for choice in choices} == {*DISTRIBUTIONS, "nested"}


def test_schema_never_allows_null() -> None:
    assert '"null"' not in schema_text()
