"""The faults in force, and what of them has happened already."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from smsweep.emulator.faults import Faults, Strike, parse


class FaultBox:
    """Safe to use from several threads. clock: seconds, monotonic."""

    def __init__(self, faults: Faults, clock: Callable[[], float]) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self.now = faults
        self._buckets: dict[str, tuple[float, float]] = {}  # action -> (tokens, when counted)

    def set(self, changes: Mapping[str, Any]) -> None:
        """Replace the fields named. Raises UsageError, and changes nothing, when one cannot be understood."""
        with self._lock:
            self.now = parse({**self.now.model_dump(), **changes})

    def clear(self) -> None:
        with self._lock:
            self.now = Faults()

    def take(self, kind: str, values: Mapping[str, str], *, age_s: float | None = None) -> Strike | None:
        """Return the first strike of a kind that hits, and count it.

        values: what it must match, by a strike's fields. age_s: only a strike whose time has come.
        """
        with self._lock:
            strikes: list[Strike] = getattr(self.now, kind)
            for index, strike in enumerate(strikes):
                if strike.hits(values) and (age_s is None or age_s >= strike.after_s):
                    left = strike.model_copy(update={"times": strike.times - 1})
                    rest = [*strikes[:index], left, *strikes[index + 1 :]]
                    self.now = self.now.model_copy(update={kind: rest})
                    return strike
        return None

    def waits_for(self, kind: str, values: Mapping[str, str]) -> Strike | None:
        """Return the first strike of a kind that hits, without counting it."""
        strikes: list[Strike] = getattr(self.now, kind)
        return next((strike for strike in strikes if strike.hits(values)), None)

    def is_throttled(self, action: str) -> bool:
        """Count a call against the action's rate: a token bucket that holds one second's worth, at least one."""
        with self._lock:
            rate = self.now.throttle.get(action)
            if rate is None:
                return False
            now, size = self._clock(), max(1.0, rate)
            tokens, counted_at = self._buckets.get(action, (size, now))
            tokens = min(size, tokens + (now - counted_at) * rate)
            is_empty = tokens < 1
            self._buckets[action] = (tokens if is_empty else tokens - 1, now)
            return is_empty
