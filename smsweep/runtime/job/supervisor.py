"""Start a program, pass on its output and signals, and end all of its processes.

Works as PID 1 of a container, as an ordinary process and in a forked child. It must be in the main thread, because
it handles the process's signals.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time

from smsweep.runtime.job import child_reaper
from smsweep.runtime.job.child_reaper import is_alive
from smsweep.runtime.job.output_pump import Pump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType
    from typing import Any

LEFTOVER_S = 5.0  # from SIGTERM to SIGKILL for background processes of a script that has ended


class Ended:
    """How a program ended. The exit code is 128 + n for signal n, as in a shell."""

    def __init__(
        self,
        *,
        status: int,
        tail: bytes,
        lost_output: bool = False,
        stopped_by: int = 0,
        was_killed: bool = False,
    ) -> None:
        self.signal_number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0  # 0 if it exited
        self.exit_code = 128 + self.signal_number if self.signal_number else os.WEXITSTATUS(status)
        self.tail = tail  # end of the output
        self.lost_output = lost_output  # because of a full disk
        self.stopped_by = stopped_by  # the first signal that requested a stop; 0 for none
        self.was_killed = was_killed  # by the supervisor, at the end of the grace period


class Supervisor:
    """Handles the job's signals inside `with`; passes SIGTERM and SIGINT to the program's process group."""

    def __init__(self, *, grace_s: float, out_fd: int = 1) -> None:
        self._grace_s = grace_s  # from the first SIGTERM or SIGINT to SIGKILL
        self._out_fd = out_fd
        self._group = 0  # process group of the running program; 0 for none
        self._waiting: list[int] = []  # signals that arrived before the program's start
        self._before: dict[int, Any] = {}  # handlers to restore
        self.stopped_by = 0
        self.was_killed = False

    def __enter__(self) -> Supervisor:
        handlers: dict[int, Callable[[int, FrameType | None], None]] = {
            signal.SIGTERM: self._on_stop,
            signal.SIGINT: self._on_stop,
            signal.SIGQUIT: self._on_kill,
            signal.SIGALRM: self._on_kill,
        }
        for number, handler in handlers.items():
            self._before[number] = signal.signal(number, handler)
        return self

    def __exit__(self, *_: object) -> None:
        if self.stopped_by:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        on_start: Callable[[int], None] = lambda pid: None,
        secrets: Sequence[str] = (),
    ) -> Ended:
        """Run a program to its end. Afterwards no process of its group is alive.

        Args:
            argv: The command.
            cwd: Working directory.
            env: Environment.
            on_start: Called with the program's pid, which is also its process group.
            secrets: Values to mask in the output.

        Returns:
            How the program ended.

        Raises:
            OSError: If the program cannot be started.
        """
        read_end, write_end = os.pipe()
        try:
            process = subprocess.Popen(
                argv,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                start_new_session=True,
            )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        self._group = process.pid
        while self._waiting:
            self._send(self._waiting.pop(0))
        on_start(process.pid)
        pump = Pump(read_end, self._out_fd, secrets)
        status = self._wait(process.pid)
        process.returncode = 0  # `_wait` has reaped it; without this, Popen warns
        self._end_leftovers()
        self._group = 0
        tail = pump.finish()
        return Ended(
            status=status,
            tail=tail,
            lost_output=pump.met_full_disk,
            stopped_by=self.stopped_by,
            was_killed=self.was_killed,
        )

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        if not self.stopped_by:
            self.stopped_by = number
            signal.setitimer(signal.ITIMER_REAL, max(self._grace_s, 0.001))  # 0 would mean never
        self._send(number)

    def _on_kill(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGALRM:
            self.was_killed = True
        else:
            self.stopped_by = number
        self._send(signal.SIGKILL)
        child_reaper.kill_all()

    def _send(self, number: int) -> None:
        if not self._group:
            self._waiting.append(number)
            return
        with contextlib.suppress(OSError):  # the group has no processes
            os.killpg(self._group, number)

    def _wait(self, pid: int) -> int:
        """Wait for a process, and reap adopted orphans meanwhile."""
        while True:
            reaped, status = os.waitpid(-1 if child_reaper.adopts_orphans() else pid, 0)
            if reaped == pid:
                return status

    def _end_leftovers(self) -> None:
        """Terminate and then kill the processes that the program left, in its group and outside."""
        if not self._has_leftovers():
            return
        if not self.stopped_by:
            self._send(signal.SIGTERM)
        # After a stop they have had SIGTERM and keep the rest of the grace period, which the timer ends.
        patience_s = self._grace_s + LEFTOVER_S if self.stopped_by else LEFTOVER_S
        if not self._ends_within(patience_s):
            self._send(signal.SIGKILL)
            deadline = time.monotonic() + LEFTOVER_S
            # A killed process leaves its own children to this one.
            while child_reaper.has_running_orphans() and time.monotonic() < deadline:
                child_reaper.kill_all()
                time.sleep(0.01)
            self._ends_within(LEFTOVER_S)

    def _has_leftovers(self) -> bool:
        return child_reaper.has_running_orphans() or is_alive(self._group)

    def _ends_within(self, patience_s: float) -> bool:
        deadline = time.monotonic() + patience_s
        pause_s = 0.01
        signaled: set[int] = set()
        while self._has_leftovers():
            child_reaper.terminate(self._group, signaled)  # signals to the group do not reach them
            if time.monotonic() > deadline:
                return False
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.25)
        return True
