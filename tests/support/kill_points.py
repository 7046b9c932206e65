"""The smsweep command, killed with SIGKILL at one call to its store or its backend.

    python -m tests.support.kill_points before store.claim 2 agent abcd1234

Each step of an agent is one of these calls. A test can therefore kill an agent between any two steps,
without hooks in the program. `CRASH_POINTS` names each point at which a change is made.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from dataclasses import dataclass
from typing import Any

from smsweep.backends.process.backend import ProcessBackend
from smsweep.cli.main import main
from smsweep.store.sql import SqlStore


@dataclass(frozen=True, kw_only=True, slots=True)
class CrashPoint:
    """The n-th call of one kind in a process, which is killed before or after this call."""

    when: str  # "before" or "after"
    call: str  # "store.METHOD" or "backend.METHOD"
    n: int = 1


def _before(call: str, n: int = 1) -> CrashPoint:
    return CrashPoint(when="before", call=call, n=n)


def _after(call: str, n: int = 1) -> CrashPoint:
    return CrashPoint(when="after", call=call, n=n)


# Crash points of one agent with three sequential trials: the first finishes, the second fails, is retried and
# finishes, and the third is stopped by a rule. Between two changes without a wait, one point is enough: after the
# first change and before the second, the store and the backend are in the same state.
CRASH_POINTS = {
    "nothing written": _before("store.add_trials"),
    "trial added": _after("store.add_trials"),
    "claimed": _after("store.claim"),
    "job started": _after("backend.submit"),
    "log read": _before("store.append_points"),
    "points written": _after("store.append_points"),
    "end seen": _before("store.move"),
    "finished": _after("store.move"),
    "job forgotten": _after("backend.forget"),
    "second added": _after("store.add_trials", 2),
    "failure seen": _before("store.move", 2),
    "back in the queue": _after("store.move", 2),
    "retry unclaimed": _before("store.claim", 3),
    "retry claimed": _after("store.claim", 3),
    "retry started": _after("backend.submit", 3),
    "end of the retry seen": _before("store.move", 3),
    "retry finished": _after("store.move", 3),
    "rule decided": _before("store.move", 4),
    "stopping": _after("store.move", 4),
    "evidence kept": _after("store.put_note"),
    "stop requested": _after("backend.stop"),
    "stop seen": _before("store.move", 5),
    "stopped": _after("store.move", 5),
    "nothing left": _before("store.set_sweep_state"),
    "sweep finished": _after("store.set_sweep_state"),
}
# Points at which a backend and the store disagree. Other points test the store, whatever the backend is.
BACKEND_POINTS = (
    "claimed",
    "job started",
    "points written",
    "end seen",
    "finished",
    "job forgotten",
    "failure seen",
    "retry started",
    "stopping",
    "stop requested",
    "stop seen",
)

# Crash points of one agent whose trials 1 to 3 are paused at a rung, and that then promotes trial 1.
PROMOTION_POINTS = {
    "pausing": CrashPoint(when="after", call="store.move", n=2),
    "pause requested": CrashPoint(when="after", call="backend.stop"),
    "pause seen": CrashPoint(when="before", call="store.move", n=3),
    "promotion decided": CrashPoint(when="before", call="store.move", n=8),
    "promoted": CrashPoint(when="after", call="store.move", n=8),
    "promoted claimed": CrashPoint(when="after", call="store.claim", n=5),
    "promoted started": CrashPoint(when="after", call="backend.submit", n=5),
}


def die(point: CrashPoint, backend: type = ProcessBackend) -> None:
    """Make this process kill itself at a crash point. backend: the class of its backend."""
    owner, _, name = point.call.partition(".")
    target = {"store": SqlStore, "backend": backend}[owner]
    method = getattr(target, name)
    calls = itertools.count(1)

    def last(self: object, *args: Any, **kwargs: Any) -> Any:
        is_last = next(calls) == point.n
        if is_last and point.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = method(self, *args, **kwargs)
        if is_last:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(target, name, last)


if __name__ == "__main__":
    die(CrashPoint(when=sys.argv[1], call=sys.argv[2], n=int(sys.argv[3])))
    sys.argv[1:] = sys.argv[4:]
    main()
