"""Check a JSON document against its published type."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from smsweep.services.views.json_schemas import DOCUMENTS


def check(name: str, text: str | bytes) -> Any:
    """Return a JSON document. Fail if a field is missing, undocumented, or of another type.

    Args:
        name: A key of `DOCUMENTS`.
        text: The document.
    """
    document = json.loads(text)
    read = TypeAdapter(DOCUMENTS[name]).validate_json(text, strict=True)  # drops undocumented fields
    assert read == document
    return document
