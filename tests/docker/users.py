"""Run code as a user other than root."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path

USER = 54321
SOCKET = Path("/var/run/docker.sock")


def as_user(act: Callable[[], None], *, may_use_engine: bool = True) -> None:
    """Run `act` in a forked process as USER. It must not import modules, which USER may not be able to read."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([SOCKET.stat().st_gid] if may_use_engine else [])
            os.setgid(USER)
            os.setuid(USER)
            act()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
