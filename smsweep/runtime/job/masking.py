"""A job's secrets in its script's output: masked before anybody else sees them."""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MASK = b"***"
MIN_LENGTH = 8  # characters; a shorter value may well be a part of a metric's name
_NUMBER = re.compile(rb"[0-9.]+")


class Masker:
    """Masks secrets in a stream of bytes, wherever its chunks begin and end."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        pieces = {piece for secret in secrets for piece in _pieces(secret) if len(piece) >= MIN_LENGTH}
        spellings = {spelling for piece in pieces for spelling in (piece, json.dumps(piece)[1:-1])}
        # The longest first: one secret may begin like another.
        self._secrets = sorted((s.encode("utf-8", "surrogateescape") for s in spellings), key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(_pattern, self._secrets)))
        self._held = b""  # the beginning of a secret, as it seems: what follows will tell

    def mask(self, chunk: bytes) -> bytes:
        """Return what of the stream can go on now that this came."""
        if not self._secrets:
            return chunk
        data = self._pattern.sub(MASK, self._held + chunk)
        n_held = max(_overlap(data, secret) for secret in self._secrets)
        self._held = data[len(data) - n_held :]
        return data[: len(data) - n_held]

    def rest(self) -> bytes:
        """Return what was held back; nothing more comes."""
        held, self._held = self._held, b""
        return held


def _pieces(secret: str) -> list[str]:
    """Return a secret, and what of it may be printed alone: without the line end of its file, or line by line."""
    return [secret, secret.strip(), *(line.strip() for line in secret.splitlines())]


def _pattern(secret: bytes) -> bytes:
    """Find a secret anywhere, but one that is a number not within another: that is a metric like any other."""
    escaped = re.escape(secret)
    return rb"(?<![0-9.])" + escaped + rb"(?![0-9.])" if _NUMBER.fullmatch(secret) else escaped


def _overlap(data: bytes, secret: bytes) -> int:
    """Return how many bytes at the end of the data are the beginning of a secret."""
    longest = min(len(data), len(secret) - 1)
    return next((n for n in range(longest, 0, -1) if data.endswith(secret[:n])), 0)
