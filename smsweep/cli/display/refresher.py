"""Poll a sweep at intervals, and continue after temporary errors of its store."""

from __future__ import annotations

import time
from collections.abc import Callable

from smsweep.errors import SmsweepError
from smsweep.services.views import watcher as watching
from smsweep.services.views.watcher import Look

POLL_SHARE = 0.2  # of the time may be spent polling, so large sweeps are polled less often


class Poller:
    """Polls a sweep at intervals, and continues after temporary errors of its store."""

    def __init__(
        self, watcher: watching.Watcher, interval_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Args: watcher: Reads the sweep. interval_s: Minimum time between two polls. clock: In seconds."""
        self._watcher = watcher
        self.interval_s = interval_s
        self._clock = clock
        self._next = clock()
        self.look: Look | None = None  # the latest state; None before the first poll
        self.trouble = ""  # the error of the last poll; "" if it succeeded

    def poll(self) -> Look | None:
        """Return the new state; None if the interval has not passed, or if the store is temporarily unavailable.

        Raises:
            SmsweepError: If a retry cannot succeed.
        """
        began = self._clock()
        if began < self._next:
            return None
        try:
            self.look, self.trouble = self._watcher.look(), ""
        except SmsweepError as err:
            if not err.retryable:
                raise
            self.trouble = f"{err}; retrying"
            return None
        finally:
            ended = self._clock()
            self._next = ended + max(self.interval_s, (ended - began) / POLL_SHARE)
        return self.look
