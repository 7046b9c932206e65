"""Log of all API calls, in the order of their responses: one JSON object per line, append-only."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any


class CallLog:
    """Log of API calls in a file. The file is kept when the emulator exits.

    Args:
        path: The file. It and its folder are created if they do not exist.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._lock = threading.Lock()
        self._file = path.open("a", encoding="utf-8")

    def write(self, entry: dict[str, Any]) -> None:
        """Append one entry. Safe to call from several threads."""
        line = json.dumps(entry) + "\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()

    def read(self) -> list[dict[str, Any]]:
        """Return all entries, oldest first, including those of earlier runs."""
        with self.path.open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def close(self) -> None:
        self._file.close()
