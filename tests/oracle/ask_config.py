"""Check sweep configs with W&B's package `sweeps`. Runs in that package's environment.

stdin: {"configs": [...], "schema": {...}}; stdout: for each config the violations that W&B finds (or the
exception), and whether the specified JSON Schema accepts the config.
"""

from __future__ import annotations

import copy
import json
import sys
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # not in ours
from sweeps.config import schema_violations_from_proposed_config  # type: ignore[import-not-found]  # not in ours


def violations(config: Any) -> list[str]:
    try:
        return [str(text) for text in schema_violations_from_proposed_config(copy.deepcopy(config))]
    except Exception as err:
        return [f"{type(err).__name__}: {err}"]


def main() -> None:
    question = json.load(sys.stdin)
    validator = jsonschema.Draft202012Validator(question["schema"])
    answers = [
        {"violations": violations(config), "fits": validator.is_valid(config)} for config in question["configs"]
    ]
    json.dump(answers, sys.stdout)


main()
