"""What a queue carries: an invitation to work on a sweep. It holds nothing that would be lost with it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from smsweep.errors import UsageError

VERSION = 1
SWEEP_ID = r"[a-z0-9][a-z0-9-]*"
SOURCE = r"s3://[^/]+/.+"
MOST_CHARACTERS = 10_000  # ours are far below; a queue may carry a quarter of a million


@dataclass(frozen=True, kw_only=True, slots=True)
class Invitation:
    """Read twice or out of order, it does no harm: who comes too late finds nothing to do."""

    sweep_id: str
    source: str = ""  # s3://BUCKET/PREFIX below which the sweep's source bundle lies; "" for a shared folder

    def text(self) -> str:
        document = {"smsweep": VERSION, "sweep": self.sweep_id}
        return json.dumps({**document, "source": self.source} if self.source else document)


def read_invitation(text: str) -> Invitation:
    """Raises UsageError for what is none."""
    try:
        document = json.loads(text) if len(text) <= MOST_CHARACTERS else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.get("smsweep") != VERSION:
        raise UsageError(f"no invitation to a sweep: {text[:80]!r}; `smsweep publish` sends them")
    sweep_id, source = document.get("sweep"), document.get("source", "")
    if not re.fullmatch(SWEEP_ID, str(sweep_id)) or not isinstance(source, str):
        raise UsageError(f"an invitation without a sweep: {text[:80]!r}; `smsweep publish` sends them")
    if source and not re.fullmatch(SOURCE, source):
        raise UsageError(f"an invitation to a source that is none: {source[:80]!r}; expected s3://BUCKET/PREFIX")
    return Invitation(sweep_id=str(sweep_id), source=source)
