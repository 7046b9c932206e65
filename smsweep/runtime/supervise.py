"""Start a program, pass its output on, tell it to stop, and leave nothing of it behind.

Works as PID 1 of a container, as an ordinary process and in a forked child; it must be the main thread, because
it owns the signals while it lasts.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import subprocess
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType
    from typing import Any

CHUNK_BYTES = 64 * 1024  # a Linux pipe's capacity
TAIL_BYTES = 64 * 1024  # of output, kept for the failure text
LEFTOVER_S = 5.0  # what background processes of an ended script get between SIGTERM and SIGKILL
DRAIN_S = 5.0  # at most this long for what is still in the pipe when all is over


class Ended:
    """How a program ended."""

    def __init__(self, *, status: int, tail: bytes, stopped_by: int = 0, was_killed: bool = False) -> None:
        self.signal_number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0  # it died of; 0 if it exited
        self.exit_code = (
            128 + self.signal_number if self.signal_number else os.WEXITSTATUS(status)
        )  # as a shell says
        self.tail = tail  # the last of its output
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
    ) -> Ended:
        """Run argv to its end and return how it ended; nothing of its process group is alive afterwards.

        on_start: called with the program's pid, which is also the id of its process group.
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
        pump = _Pump(read_end, self._out_fd)
        status = self._wait(process.pid)
        process.returncode = 0  # reaped here, not by Popen, which would otherwise warn
        self._end_leftovers()
        self._group = 0
        tail = pump.finish()
        return Ended(status=status, tail=tail, stopped_by=self.stopped_by, was_killed=self.was_killed)

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

    def _send(self, number: int) -> None:
        if not self._group:
            self._waiting.append(number)
            return
        with contextlib.suppress(OSError):  # nobody is left in the group
            os.killpg(self._group, number)

    def _wait(self, pid: int) -> int:
        """Wait for pid; as PID 1 also reap whatever orphans are handed to us meanwhile."""
        while True:
            reaped, status = os.waitpid(-1 if os.getpid() == 1 else pid, 0)
            if reaped == pid:
                return status

    def _end_leftovers(self) -> None:
        """Ask what the program left in its group to end, then kill it."""
        if not _is_alive(self._group):
            return
        if not self.stopped_by:
            self._send(signal.SIGTERM)
        # After a stop they have had their SIGTERM and keep the rest of the grace; the timer sees to its end.
        patience_s = self._grace_s + LEFTOVER_S if self.stopped_by else LEFTOVER_S
        if not self._is_gone_within(patience_s):
            self._send(signal.SIGKILL)
            self._is_gone_within(LEFTOVER_S)

    def _is_gone_within(self, patience_s: float) -> bool:
        deadline = time.monotonic() + patience_s
        while _is_alive(self._group):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


def _is_alive(group: int) -> bool:
    """Tell whether a process of this group still runs; as PID 1, reap those that do not."""
    if os.getpid() == 1:
        _reap_all()
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    return _has_running_member(group)


def _reap_all() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _has_running_member(group: int) -> bool:
    """Look closer than kill(2), for which a zombie lives: in some containers nobody ever reaps one."""
    try:
        pids = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return True  # no /proc (macOS): believe kill
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                state, _parent, process_group = file.read().rpartition(b")")[2].split()[:3]
        except (OSError, ValueError):
            continue  # gone meanwhile
        if int(process_group) == group and state not in (b"Z", b"X"):
            return True
    return False


class _Pump:
    """Copies a pipe to a file descriptor in a thread of its own and remembers the end of it."""

    def __init__(self, source: int, target: int) -> None:
        self._source = source
        self._target = target
        self._tail = bytearray()
        self._over_read, self._over_write = os.pipe()  # closing the write end means: all is over
        self._thread = threading.Thread(target=self._run, name="smsweep-output", daemon=True)
        self._thread.start()

    def finish(self) -> bytes:
        """Copy what is still in the pipe, without waiting for whoever else may hold it; return the tail."""
        os.close(self._over_write)
        self._thread.join(DRAIN_S)
        if not self._thread.is_alive():  # else stdout is stuck; the thread ends with the process
            os.close(self._source)
            os.close(self._over_read)
        return bytes(self._tail[-TAIL_BYTES:])

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        poll.register(self._over_read, select.POLLIN)
        deadline = 0.0  # of the drain; 0.0 while the program runs
        while True:
            ready = [fd for fd, _ in poll.poll(0 if deadline else None)]
            if self._over_read in ready:
                poll.unregister(self._over_read)
                deadline = time.monotonic() + DRAIN_S
            if self._source in ready:
                chunk = os.read(self._source, CHUNK_BYTES)
                if not chunk:
                    return
                self._keep(chunk)
                self._pass_on(chunk)
            elif deadline and self._over_read not in ready:
                return  # drained
            if deadline and time.monotonic() > deadline:
                return

    def _keep(self, chunk: bytes) -> None:
        self._tail += chunk
        if len(self._tail) > 2 * TAIL_BYTES:
            del self._tail[:-TAIL_BYTES]

    def _pass_on(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        while view and self._target >= 0:
            try:
                view = view[os.write(self._target, view) :]
            except OSError as err:
                if err.errno == errno.EAGAIN:  # someone made it non-blocking
                    select.select([], [self._target], [], 1.0)
                else:
                    self._target = -1  # nobody reads any more; the program need not suffer for it
