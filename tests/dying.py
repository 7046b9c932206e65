"""The smsweep command, killed as by kill -9 at one call to its store or its backend.

    python -m tests.dying before store.claim 2 agent abcd1234

Every step of an agent goes through one of these calls, so each moment between two steps can be chosen, and the
program itself needs no hooks for it.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from typing import Any

from smsweep.backends.process import ProcessBackend
from smsweep.cli.main import main
from smsweep.store.sql import SqlStore

OWNERS: dict[str, type] = {"store": SqlStore, "backend": ProcessBackend}


def die(when: str, call: str, n: int) -> None:
    """Have the n-th such call of this process be its last deed, or ("before") not even begin."""
    owner, _, name = call.partition(".")
    method = getattr(OWNERS[owner], name)
    calls = itertools.count(1)

    def last(self: object, *args: Any, **kwargs: Any) -> Any:
        is_last = next(calls) == n
        if is_last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = method(self, *args, **kwargs)
        if is_last:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(OWNERS[owner], name, last)


if __name__ == "__main__":
    die(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    sys.argv[1:] = sys.argv[4:]
    main()
