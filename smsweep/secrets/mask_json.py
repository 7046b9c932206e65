"""Mask secrets in the JSON data of reports and pages."""

from __future__ import annotations

from typing import Any

from smsweep.secrets.redact import redact


class JsonMasker:
    """Masks secrets in all texts of JSON data. Each different text is checked once."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = secrets
        self._known: dict[str, str] = {}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, str):
            if value not in self._known:
                self._known[value] = redact(value, self._secrets)
            return self._known[value]
        if isinstance(value, dict):
            return {self(key): self(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self(item) for item in value]
        return value
