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


def _around(call: str, n: int = 1) -> tuple[CrashPoint, CrashPoint]:
    return CrashPoint(when="before", call=call, n=n), CrashPoint(when="after", call=call, n=n)


# Crash points of one agent with three sequential trials: the first finishes, the second fails, is retried and
# finishes, and the third is stopped by a rule.
CRASH_POINTS = {
    **dict(zip(("nothing written", "trial added"), _around("store.add_trials"), strict=True)),
    **dict(zip(("unclaimed", "claimed"), _around("store.claim"), strict=True)),
    **dict(zip(("job not started", "job started"), _around("backend.submit"), strict=True)),
    **dict(zip(("log read", "points written"), _around("store.append_points"), strict=True)),
    **dict(zip(("end seen", "finished"), _around("store.move"), strict=True)),
    **dict(zip(("job not forgotten", "job forgotten"), _around("backend.forget"), strict=True)),
    **dict(zip(("second not added", "second added"), _around("store.add_trials", 2), strict=True)),
    **dict(zip(("failure seen", "back in the queue"), _around("store.move", 2), strict=True)),
    **dict(zip(("retry unclaimed", "retry claimed"), _around("store.claim", 3), strict=True)),
    **dict(zip(("retry not started", "retry started"), _around("backend.submit", 3), strict=True)),
    **dict(zip(("end of the retry seen", "retry finished"), _around("store.move", 3), strict=True)),
    **dict(zip(("rule decided", "stopping"), _around("store.move", 4), strict=True)),
    **dict(zip(("evidence not kept", "evidence kept"), _around("store.put_note"), strict=True)),
    **dict(zip(("stop not requested", "stop requested"), _around("backend.stop"), strict=True)),
    **dict(zip(("stop seen", "stopped"), _around("store.move", 5), strict=True)),
    **dict(zip(("nothing left", "sweep finished"), _around("store.set_sweep_state"), strict=True)),
}

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
