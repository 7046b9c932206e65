"""Secrets in a file that is read piece by piece.

What may be one is looked for at the beginning of a text; what this machine knows to be one, in all of any file.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from smsweep.source.secret_rules import KNOWN
from smsweep.source.secrets import Finding, scan_text

SCANNED_BYTES = 1024**2  # of each text, from its beginning


class FileScan:
    """name: of the file, see scan_text. known: secrets that are found wherever they stand."""

    def __init__(self, name: str, known: Sequence[str] = ()) -> None:
        self._name = name
        self._known = known
        self._head = bytearray()
        self._left = [value.encode() for value in known]
        self._found: list[tuple[int, int]] = []  # offset and line of each known secret, where it first stands
        self._overlap = max(map(len, self._left), default=1) - 1
        self._window = b""  # the end of what was fed: a secret may lie across two pieces
        self._offset, self._line = 0, 1  # where the window begins

    def feed(self, data: bytes) -> None:
        self._head += data[: SCANNED_BYTES - len(self._head)]
        if self._left:
            self._search(self._window + data)

    def findings(self) -> list[Finding]:
        """Return what was found, once all of the file was fed."""
        text = _decode(bytes(self._head))
        in_text = [] if text is None else scan_text(self._name, text, self._known)
        behind = 0 if text is None else len(self._head)
        elsewhere = [line for offset, line in sorted(self._found) if offset >= behind]
        return in_text + [
            Finding(file=self._name, line=line, key="", kind=KNOWN, excerpt="***") for line in elsewhere
        ]

    def _search(self, window: bytes) -> None:
        for value in list(self._left):
            at = window.find(value)
            if at >= 0:
                self._found.append((self._offset + at, self._line + window.count(b"\n", 0, at)))
                self._left.remove(value)
        cut = max(0, len(window) - self._overlap)
        self._line += window.count(b"\n", 0, cut)
        self._offset += cut
        self._window = window[cut:]


def _decode(data: bytes) -> str | None:
    """Return the text of a file, or None if it is none."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    return None if b"\0" in data[:8192] else data.decode(errors="replace")
