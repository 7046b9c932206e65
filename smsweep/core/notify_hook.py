"""Notification hooks of a sweep."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

END, FAILURE = "end", "failure"
VARIABLE = "SMSWEEP_NOTIFY"  # environment variable: hooks of every agent, one per line, as in --notify
EVENTS = (END, FAILURE)  # the sweep ended; the first trial failed


@dataclass(frozen=True, kw_only=True, slots=True)
class Hook:
    """A webhook or a command that is notified of events."""

    url: str = ""  # http or https URL, or a reference to one; "" for a command
    command: tuple[str, ...] = ()  # argument list; the event is written to its standard input
    events: tuple[str, ...] = EVENTS
    headers: Mapping[str, str] = field(default_factory=dict)  # of the HTTP request; values or references to values

    @property
    def digest(self) -> str:
        """The SHA-256 of URL, command and headers, as 64 hex digits."""
        text = json.dumps([self.url, self.command, dict(self.headers)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def key(self) -> str:
        """An identifier of the hook that does not reveal its URL, the same for all agents."""
        return self.digest[:16]
