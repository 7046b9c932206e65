"""Every call to the API, in the order it was answered: one JSON object a line, never changed."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any


class Ledger:
    """Appends to a file that outlives the endpoint."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._lock = threading.Lock()
        self._file = path.open("a", encoding="utf-8")

    def write(self, entry: dict[str, Any]) -> None:
        line = json.dumps(entry) + "\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()

    def read(self) -> list[dict[str, Any]]:
        with self.path.open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def close(self) -> None:
        self._file.close()
