"""Mask secrets in what is shown: logs, reports, --json."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from urllib.parse import quote

from smsweep.source.secret_rules import SHAPES, URL_PASSWORD, is_placeholder
from smsweep.source.secrets import secret_spans

MASK = "***"
MIN_LENGTH = 8  # characters; shorter values would mask half of an ordinary text

_SECRET_NAME = re.compile(
    r"(?i)(?:^|_)(?:key|apikey|token|secret|password|passwd|passphrase|credentials?|access_key_id)$"
)


def environment_secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values of an environment that must not be shown, longest first, each once.

    Those whose name says so (`*_KEY`, `*_TOKEN`, `*_PASSWORD`, ...) and passwords inside URLs.
    """
    named = (value for name, value in environ.items() if _SECRET_NAME.search(name))
    in_urls = (value[a:b] for value in environ.values() for a, b in secret_spans(URL_PASSWORD, value))
    values = {value for value in (*named, *in_urls) if len(value) >= MIN_LENGTH and not is_placeholder(value)}
    return tuple(sorted(values, key=lambda value: (-len(value), value)))


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Replace by `***` the given secrets, and all that has the unmistakable form of one.

    A secret is also found as JSON and URLs write it. Line ends stay where they are.
    """
    if secrets:
        text = _matcher(secrets).sub(MASK, text)
    for rule in SHAPES:
        for start, end in reversed(secret_spans(rule, text)):
            n_lines = text.count("\n", start, end)
            text = f"{text[:start]}{MASK}" + "\n" * n_lines + text[end:]
    return text


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
    # The longest first: one secret may begin like another.
    return re.compile("|".join(re.escape(s) for s in sorted(spellings, key=len, reverse=True)))
