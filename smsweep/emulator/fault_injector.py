"""The active faults, and how often each one has occurred."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from smsweep.emulator.faults import FaultRule, Faults, parse


class FaultInjector:
    """Decides which calls and jobs a fault hits. Safe to use from several threads.

    Args:
        faults: The faults that are active from the start.
        clock: Returns monotonic seconds.
    """

    def __init__(self, faults: Faults, clock: Callable[[], float]) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self.now = faults
        self._buckets: dict[str, tuple[float, float]] = {}  # action -> (tokens, time of the count)

    def set(self, changes: Mapping[str, Any]) -> None:
        """Replace the given fields.

        Raises:
            UsageError: If a field is not valid. No field is changed then.
        """
        with self._lock:
            self.now = parse({**self.now.model_dump(), **changes})

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self.now = Faults()

    def take(self, kind: str, values: Mapping[str, str], *, age_s: float | None = None) -> FaultRule | None:
        """Return the first rule that matches, and count down its `times`.

        Args:
            kind: The field of `Faults` that holds the rules.
            values: Values that the rule's patterns must match, by the name of the rule's field.
            age_s: If given, consider only rules whose `after_s` is at most this number of seconds.

        Returns:
            The rule, or None if no rule matches.
        """
        with self._lock:
            rules: list[FaultRule] = getattr(self.now, kind)
            for index, rule in enumerate(rules):
                if rule.matches(values) and (age_s is None or age_s >= rule.after_s):
                    counted = rule.model_copy(update={"times": rule.times - 1})
                    remaining = [*rules[:index], counted, *rules[index + 1 :]]
                    self.now = self.now.model_copy(update={kind: remaining})
                    return rule
        return None

    def find(self, kind: str, values: Mapping[str, str]) -> FaultRule | None:
        """Return the first rule that matches, without counting it, or None."""
        rules: list[FaultRule] = getattr(self.now, kind)
        return next((rule for rule in rules if rule.matches(values)), None)

    def is_throttled(self, action: str) -> bool:
        """Count a call, and return True if it exceeds the action's rate.

        The rate is a token bucket that holds the calls of one second, and at least one call.
        """
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
