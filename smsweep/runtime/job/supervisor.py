"""Start a program, pass its output on, tell it to stop, and leave nothing of it behind.

Works as PID 1 of a container, as an ordinary process and in a forked child; it must be the main thread, because
it owns the signals while it lasts.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time

from smsweep.runtime.job import child_reaper
from smsweep.runtime.job.output_pump import Pump
from smsweep.runtime.job.process_group import is_alive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType
    from typing import Any

LEFTOVER_S = 5.0  # what background processes of an ended script get between SIGTERM and SIGKILL


class Ended:
    """How a program ended, its exit code as a shell tells it: 128 + n for signal n."""

    def __init__(
        self,
        *,
        status: int,
        tail: bytes,
        lost_output: bool = False,
        stopped_by: int = 0,
        was_killed: bool = False,
    ) -> None:
        self.signal_number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0  # it died of; 0 if it exited
        self.exit_code = 128 + self.signal_number if self.signal_number else os.WEXITSTATUS(status)
        self.tail = tail  # the last of its output
        self.lost_output = lost_output  # to a full disk
        self.stopped_by = stopped_by  # the first signal that asked for an end; 0 when none did
        self.was_killed = was_killed  # by us, because the grace was over


class Supervisor:
    """Hold the job's signals from `with` to its end; SIGTERM and SIGINT go to the program's whole group."""

    def __init__(self, *, grace_s: float, out_fd: int = 1) -> None:
        self._grace_s = grace_s  # from the first SIGTERM or SIGINT to SIGKILL
        self._out_fd = out_fd
        self._group = 0  # of the running program; 0 while there is none
        self._waiting: list[int] = []  # signals that came before the program
        self._before: dict[int, Any] = {}  # handlers to put back
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
        """Run argv to its end and return how it ended; nothing of its process group is alive afterwards.

        on_start: called with the program's pid, which is also the id of its process group. secrets: masked in its
        output.
        Raises OSError when it cannot be started.
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
        process.returncode = 0  # reaped here, not by Popen, which would otherwise warn
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
        child_reaper.kill()

    def _send(self, number: int) -> None:
        if not self._group:
            self._waiting.append(number)
            return
        with contextlib.suppress(OSError):  # nobody is left in the group
            os.killpg(self._group, number)

    def _wait(self, pid: int) -> int:
        """Wait for pid; also reap whatever orphans are handed to us meanwhile."""
        while True:
            reaped, status = os.waitpid(-1 if child_reaper.has_orphans_given() else pid, 0)
            if reaped == pid:
                return status

    def _end_leftovers(self) -> None:
        """Ask what the program left to end, in its group or out of it, then kill it."""
        if not self._is_anybody_left():
            return
        if not self.stopped_by:
            self._send(signal.SIGTERM)
        # After a stop they have had their SIGTERM and keep the rest of the grace; the timer sees to its end.
        patience_s = self._grace_s + LEFTOVER_S if self.stopped_by else LEFTOVER_S
        if not self._is_gone_within(patience_s):
            self._send(signal.SIGKILL)
            deadline = time.monotonic() + LEFTOVER_S
            while (
                child_reaper.any_left() and time.monotonic() < deadline
            ):  # who is killed leaves its children to us
                child_reaper.kill()
                time.sleep(0.01)
            self._is_gone_within(LEFTOVER_S)

    def _is_anybody_left(self) -> bool:
        return child_reaper.any_left() or is_alive(self._group)

    def _is_gone_within(self, patience_s: float) -> bool:
        deadline = time.monotonic() + patience_s
        pause_s = 0.01
        asked: set[int] = set()
        while self._is_anybody_left():
            child_reaper.ask(self._group, asked)  # no signal to the group has reached them
            if time.monotonic() > deadline:
                return False
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.25)
        return True
