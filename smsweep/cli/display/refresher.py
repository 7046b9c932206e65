"""When to look at a sweep again, and what to do when it cannot be seen."""

from __future__ import annotations

import time
from collections.abc import Callable

from smsweep.errors import SmsweepError
from smsweep.services.views import watcher as watching
from smsweep.services.views.watcher import Look

LOOK_SHARE = 0.2  # of the time that looking may take: a sweep of many trials is looked at less often


class Looker:
    """Looks at a sweep now and then, past troubles of its store."""

    def __init__(
        self, watcher: watching.Watcher, interval_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """interval_s: between two looks, at least."""
        self._watcher = watcher
        self.interval_s = interval_s
        self._clock = clock
        self._next = clock()
        self.look: Look | None = None  # the newest; None before the first
        self.trouble = ""  # why the last try has failed; "" when it has not

    def try_again(self) -> Look | None:
        """Return a new look; None where it is too early, or the store is out of reach for now.

        Raises what trying again cannot mend.
        """
        began = self._clock()
        if began < self._next:
            return None
        try:
            self.look, self.trouble = self._watcher.look(), ""
        except SmsweepError as err:
            if not err.retryable:
                raise
            self.trouble = f"{err}; trying again"
            return None
        finally:
            ended = self._clock()
            self._next = ended + max(self.interval_s, (ended - began) / LOOK_SHARE)
        return self.look
