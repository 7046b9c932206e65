"""Mask a job's secrets in the output of its script."""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MASK = b"***"
MIN_LENGTH = 8  # characters; a shorter value may be part of a metric's name
_NUMBER = re.compile(rb"[0-9.]+")


class Masker:
    """Masks secrets in a stream of bytes, also if a secret is split between chunks."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        pieces = {piece for secret in secrets for piece in _pieces(secret) if len(piece) >= MIN_LENGTH}
        spellings = {spelling for piece in pieces for spelling in (piece, json.dumps(piece)[1:-1])}
        # The longest first, because one secret may be a prefix of another.
        self._secrets = sorted((s.encode("utf-8", "surrogateescape") for s in spellings), key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(_pattern, self._secrets)))
        self._held = b""  # bytes that may be the start of a secret

    def mask(self, chunk: bytes) -> bytes:
        """Return the bytes that can be passed on after this chunk."""
        if not self._secrets:
            return chunk
        data = self._pattern.sub(MASK, self._held + chunk)
        n_held = max(_overlap(data, secret) for secret in self._secrets)
        self._held = data[len(data) - n_held :]
        return data[: len(data) - n_held]

    def rest(self) -> bytes:
        """Return the bytes that were held back. Call it once, at the end of the stream."""
        held, self._held = self._held, b""
        return held


def _pieces(secret: str) -> list[str]:
    """Return a secret and its parts that may be printed alone: without surrounding whitespace, and each line."""
    return [secret, secret.strip(), *(line.strip() for line in secret.splitlines())]


def _pattern(secret: bytes) -> bytes:
    """Return a pattern for a secret. A numeric secret does not match inside a longer number, such as a metric."""
    escaped = re.escape(secret)
    return rb"(?<![0-9.])" + escaped + rb"(?![0-9.])" if _NUMBER.fullmatch(secret) else escaped


def _overlap(data: bytes, secret: bytes) -> int:
    """Return how many bytes at the end of the data are the start of a secret."""
    longest = min(len(data), len(secret) - 1)
    return next((n for n in range(longest, 0, -1) if data.endswith(secret[:n])), 0)
