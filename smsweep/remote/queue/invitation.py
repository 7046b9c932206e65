"""Queue messages that invite an agent to work on a sweep. They hold no state: a lost message loses no data."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from smsweep.errors import UsageError

VERSION = 1
SWEEP_ID = r"[a-z0-9][a-z0-9-]*"
SOURCE = r"s3://[^/]+/.+"
MAX_CHARACTERS = 10_000  # limit for incoming messages; SQS allows 256 KiB


@dataclass(frozen=True, kw_only=True, slots=True)
class Invitation:
    """An invitation to work on a sweep. It can be received twice and in any order."""

    sweep_id: str
    source: str = ""  # s3://BUCKET/PREFIX of the source bundle; "" for a shared folder

    def text(self) -> str:
        """Return the body of the message, as JSON."""
        document = {"smsweep": VERSION, "sweep": self.sweep_id}
        return json.dumps({**document, "source": self.source} if self.source else document)


def read_invitation(text: str) -> Invitation:
    """Parse the body of a message. Raises UsageError if it is not a valid invitation."""
    try:
        document = json.loads(text) if len(text) <= MAX_CHARACTERS else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.get("smsweep") != VERSION:
        raise UsageError(f"not an invitation to a sweep: {text[:80]!r}; send invitations with `smsweep publish`")
    sweep_id, source = document.get("sweep"), document.get("source", "")
    if not re.fullmatch(SWEEP_ID, str(sweep_id)) or not isinstance(source, str):
        raise UsageError(
            f"invitation without a valid sweep id: {text[:80]!r}; send invitations with `smsweep publish`"
        )
    if source and not re.fullmatch(SOURCE, source):
        raise UsageError(f"invalid source URI {source[:80]!r}; expected s3://BUCKET/PREFIX")
    return Invitation(sweep_id=str(sweep_id), source=source)
