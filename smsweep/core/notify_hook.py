"""Whom a sweep tells of what happens to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

END, FAILURE = "end", "failure"
VARIABLE = "SMSWEEP_NOTIFY"  # environment: hooks of every agent, one a line, as --notify takes them
EVENTS = (END, FAILURE)  # the sweep has ended; its first trial has failed


@dataclass(frozen=True, kw_only=True, slots=True)
class Hook:
    """A webhook or a command, told of some events."""

    url: str = ""  # http or https, or a reference to where it is kept; "" for a command
    command: tuple[str, ...] = ()  # an argv; the event is its standard input
    events: tuple[str, ...] = EVENTS
    headers: Mapping[str, str] = field(default_factory=dict)  # of the request; values or references

    @property
    def digest(self) -> str:
        """The SHA-256 of URL, command and headers, as 64 hex digits."""
        text = json.dumps([self.url, self.command, dict(self.headers)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def key(self) -> str:
        """A name of the same hook for all agents, from which nobody can tell its URL."""
        return self.digest[:16]
