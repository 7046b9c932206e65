"""Copy a job's output from the script's pipe to stdout."""

from __future__ import annotations

import errno
import os
import select
import threading
import time

from smsweep.runtime.job.masking import Masker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

CHUNK_BYTES = 64 * 1024  # a Linux pipe's capacity
TAIL_BYTES = 64 * 1024  # of output, kept for the failure reason
FULL = (errno.ENOSPC, errno.EDQUOT)
DRAIN_S = 5.0  # longest wait for the rest of the pipe after the program's end


class Pump:
    """Copies a pipe to a file descriptor in its own thread, masks secrets, and keeps the end of the output."""

    def __init__(self, source: int, target: int, secrets: Iterable[str] = ()) -> None:
        self._masker = Masker(secrets)
        self._source = source
        self._target = target
        self._tail = bytearray()
        self.met_full_disk = False  # all output after that is lost
        self._over_read, self._over_write = os.pipe()  # the write end is closed when the program has ended
        self._thread = threading.Thread(target=self._run, name="smsweep-output", daemon=True)
        self._thread.start()

    def finish(self) -> bytes:
        """Copy the rest of the pipe and return the tail. Does not wait for other processes that hold the pipe."""
        os.close(self._over_write)
        self._thread.join(DRAIN_S)
        if not self._thread.is_alive():  # otherwise stdout blocks, and the thread ends with the process
            os.close(self._source)
            os.close(self._over_read)
        return bytes(self._tail[-TAIL_BYTES:])

    def _run(self) -> None:
        self._copy()
        self._pass_on(self._masker.rest())

    def _copy(self) -> None:
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
                self._pass_on(self._masker.mask(chunk))
            elif deadline and self._over_read not in ready:
                return  # drained
            if deadline and time.monotonic() > deadline:
                return

    def _pass_on(self, data: bytes) -> None:
        self._tail += data
        if len(self._tail) > 2 * TAIL_BYTES:
            del self._tail[:-TAIL_BYTES]
        view = memoryview(data)
        while view and self._target >= 0:
            try:
                view = view[os.write(self._target, view) :]
            except OSError as err:
                if err.errno == errno.EAGAIN:  # another process made it non-blocking
                    select.select([], [self._target], [], 1.0)
                else:
                    self.met_full_disk = err.errno in FULL
                    self._target = -1  # stdout has no reader; the program continues
