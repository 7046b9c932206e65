"""Mask secrets in output: logs, reports, --json."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from smsweep.secrets.rules import SHAPES, URL_PASSWORD, is_placeholder
from smsweep.secrets.scan import secret_spans

MASK = "***"
MIN_LENGTH = 8  # characters of a value that only its name marks as a secret; shorter values occur in any text
MIN_LENGTH_KNOWN = 4  # of a value that the user has declared to be a secret

_SECRET_NAME = re.compile(
    r"(?i)(?:^|_)(?:key|apikey|token|secret|password|passwd|passphrase|credentials?|access_key_id)$"
)
_WORDS = re.compile(r"[A-Za-z_.-]+")  # SORT_KEY=val_loss is not a secret key
_NUMBER = re.compile(r"[0-9.]+")


def environment_secrets(environ: Mapping[str, str], also: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the secret values of an environment, longest first, each once.

    These are variables with the name of a secret (`*_KEY`, `*_TOKEN`, `*_PASSWORD`, ...) and passwords in URLs.

    Args:
        environ: The environment.
        also: Further secrets.
    """
    named = (value for name, value in environ.items() if _SECRET_NAME.search(name) and not _is_other(name, value))
    in_urls = (value[a:b] for value in environ.values() for a, b in secret_spans(URL_PASSWORD, value))
    values = {value for value in (*named, *in_urls) if len(value) >= MIN_LENGTH and not is_placeholder(value)}
    values |= {value for value in also if len(value) >= MIN_LENGTH_KNOWN}
    return tuple(sorted(values, key=lambda value: (-len(value), value)))


def _is_other(name: str, value: str) -> bool:
    """Return True for a `key` that is the key of a table or a dict, not a secret."""
    return name.lower().endswith("key") and _WORDS.fullmatch(value) is not None


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Replace the given secrets, and everything with the form of a secret, by `***`.

    Secrets are also found in the notation of JSON and URLs. Line ends do not move.
    """
    if secrets:
        text = _matcher(secrets).sub(MASK, text)
    for rule in SHAPES:
        text = _masked(text, secret_spans(rule, text))
    return text


def _masked(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """Replace spans, which are sorted and do not overlap, in one pass: a log may contain tens of thousands."""
    parts, at = [], 0
    for start, end in spans:
        parts += [text[at:start], MASK, "\n" * text.count("\n", start, end)]
        at = end
    return "".join([*parts, text[at:]])


@functools.lru_cache(maxsize=16)
def _matcher(secrets: tuple[str, ...]) -> re.Pattern[str]:
    spellings = {
        spelling
        for secret in secrets
        for spelling in (
            *(secret, quote(secret), quote(secret, safe="")),
            *(json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]),
        )
    }
    # The longest first, because one secret may be a prefix of another.
    return re.compile("|".join(_pattern(s) for s in sorted(spellings, key=len, reverse=True)))


def _pattern(spelling: str) -> str:
    """Return a pattern for a secret. A numeric secret does not match inside a longer number, such as a loss."""
    escaped = re.escape(spelling)
    return rf"(?<![0-9.]){escaped}(?![0-9.])" if _NUMBER.fullmatch(spelling) else escaped


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
