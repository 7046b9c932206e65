"""Mask secrets in what is shown: logs, reports, --json."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

from smsweep.secrets.rules import SHAPES, URL_PASSWORD, is_placeholder
from smsweep.secrets.scan import secret_spans

MASK = "***"
MIN_LENGTH = 8  # characters of a value that only its name calls secret: shorter ones would mask half of any text
MIN_LENGTH_KNOWN = 4  # of one that was said to be a secret

_SECRET_NAME = re.compile(
    r"(?i)(?:^|_)(?:key|apikey|token|secret|password|passwd|passphrase|credentials?|access_key_id)$"
)
_WORDS = re.compile(r"[A-Za-z_.-]+")  # SORT_KEY=val_loss: a key of another kind
_NUMBER = re.compile(r"[0-9.]+")


def environment_secrets(environ: Mapping[str, str], also: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the values of an environment that must not be shown, longest first, each once.

    Those whose name says so (`*_KEY`, `*_TOKEN`, `*_PASSWORD`, ...) and passwords inside URLs.
    also: values known to be secrets.
    """
    named = (value for name, value in environ.items() if _SECRET_NAME.search(name) and not _is_other(name, value))
    in_urls = (value[a:b] for value in environ.values() for a, b in secret_spans(URL_PASSWORD, value))
    values = {value for value in (*named, *in_urls) if len(value) >= MIN_LENGTH and not is_placeholder(value)}
    values |= {value for value in also if len(value) >= MIN_LENGTH_KNOWN}
    return tuple(sorted(values, key=lambda value: (-len(value), value)))


def _is_other(name: str, value: str) -> bool:
    """Tell whether something called a key is one of a table or a dict."""
    return name.lower().endswith("key") and _WORDS.fullmatch(value) is not None


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Replace by `***` the given secrets, and all that has the unmistakable form of one.

    A secret is also found as JSON and URLs write it. Line ends stay where they are.
    """
    if secrets:
        text = _matcher(secrets).sub(MASK, text)
    for rule in SHAPES:
        text = _masked(text, secret_spans(rule, text))
    return text


def _masked(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """Replace ordered, separate spans in one pass. A hostile log has tens of thousands of them."""
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
    # The longest first: one secret may begin like another.
    return re.compile("|".join(_pattern(s) for s in sorted(spellings, key=len, reverse=True)))


def _pattern(spelling: str) -> str:
    """Find a secret anywhere, but one that is a number not within another: 0.4812 is a loss like any other."""
    escaped = re.escape(spelling)
    return rf"(?<![0-9.]){escaped}(?![0-9.])" if _NUMBER.fullmatch(spelling) else escaped
