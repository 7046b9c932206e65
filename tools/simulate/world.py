"""Simulated time, and processes that run one at a time. A seed decides the order, the delays and the faults."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import accumulate
from typing import TypeVar

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]

R = TypeVar("R")

BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
KILL, REFUSE, LOSE, TWICE, STALL, STALE = "kill", "refuse", "lose", "twice", "stall", "stale"
AFTER = "kill after"
DISK = "disk"  # the server has a failing disk
STALL_S = (20.0, 240.0)  # longer than a lease, so that other agents take over
REPEAT_S = (0.5, 3.0)  # from a request to its repetition


class Killed(BaseException):
    """Ends a process at a call, as SIGKILL does."""


class TimeUp(Exception):
    """The simulation did not end in the time that it may take."""


@dataclass(slots=True)
class Process:
    """A simulated process. skew_s: its clock minus the true time. can_die: faults can kill it."""

    name: str
    skew_s: float = 0.0
    can_die: bool = True
    n_calls: int = 0
    is_dead: bool = False
    thread: greenlet | None = None


@dataclass(slots=True)
class World:
    """The simulated machines and their network.

    Args:
        seed: Decides everything that happens.
        rates: Fault -> probability per call.
        calm_s: From this time on, no faults happen.
        end_s: The simulation fails if processes run longer.
        allowed: The faults that may happen, as `Fault` texts; None for all.
        trace: Called with each event; None for no trace.
    """

    seed: int
    rates: dict[str, float]
    calm_s: float
    end_s: float
    allowed: frozenset[str] | None = None
    trace: Callable[[str], None] | None = None
    now_s: float = 0.0
    faults: list[str] = field(default_factory=list)  # that happened, such as "agent-1:17 kill"
    _heap: list[tuple[float, float, int, Process]] = field(default_factory=list)
    _n: int = 0
    _hub: greenlet | None = None
    _current: Process | None = None
    _ties: random.Random = field(init=False)  # seeding a generator for each event costs more than the event

    def __post_init__(self) -> None:
        self._ties = self.rng("order")

    @property
    def current(self) -> Process:
        """The process that runs now."""
        assert self._current is not None, "no simulated process runs"
        return self._current

    def time(self) -> float:
        """Return the clock of the current process, in seconds since the epoch."""
        return BEGIN.timestamp() + self.now_s + (self._current.skew_s if self._current else 0.0)

    def utc(self) -> datetime:
        """Return the clock of the current process, aware UTC."""
        return self.true_utc() + timedelta(seconds=self.current.skew_s if self._current else 0.0)

    def true_utc(self) -> datetime:
        """Return the true time, which the database and AWS know."""
        return BEGIN + timedelta(seconds=self.now_s)

    def monotonic(self) -> float:
        return self.now_s

    def rng(self, *key: object) -> random.Random:
        """Return random numbers that depend on the seed and the key only, not on what happened before."""
        return random.Random(f"{self.seed}/{'/'.join(map(str, key))}")

    def start(
        self, name: str, work: Callable[[], None], at_s: float, skew_s: float = 0.0, *, can_die: bool = True
    ) -> Process:
        """Start a process at a time. `work` ends when the process exits."""
        process = Process(name, skew_s, can_die)
        process.thread = greenlet(work)
        self._wake(process, at_s)
        return process

    def run(self) -> None:
        """Run all processes to their end. Raises TimeUp, and what a process raises."""
        self._hub = getcurrent()
        while self._heap:
            at_s, _, _, process = heapq.heappop(self._heap)
            self.now_s = max(self.now_s, at_s)
            if self.now_s > self.end_s:
                raise TimeUp(f"after {self.end_s:g} simulated seconds, {process.name} still runs")
            self._current = process
            assert process.thread is not None
            process.thread.parent = self._hub
            process.thread.switch()
        self._current = None

    def sleep(self, seconds: float) -> None:
        """Let the current process wait."""
        self._check_alive()
        self._wake(self.current, self.now_s + seconds)
        assert self._hub is not None
        self._hub.switch()

    def call(
        self,
        label: str,
        work: Callable[[], R],
        *,
        refusal: Callable[[], Exception],
        loss: Callable[[], Exception],
        longest_s: float = 0.2,
        is_repeated: bool = False,
        may_stall: bool = True,
        on_disk_fault: Callable[[random.Random], AbstractContextManager[None]] | None = None,
    ) -> R:
        """Make a call over the network for the current process.

        Args:
            label: The name of the call.
            work: Has the effect of the call, at one moment of simulated time.
            refusal: Returns the error of a call that had no effect.
            loss: Returns the error of a call whose answer was lost.
            longest_s: The longest time of the way to the server, and of the way back.
            is_repeated: The client sends a request again if its answer is lost, without telling the caller.
            may_stall: The way to the server can take longer than a lease. The way back always can.
            on_disk_fault: Returns a context in which the disk of the server fails; None if it has no disk.
        """
        self._check_alive()
        process = self.current
        process.n_calls += 1
        rng = self.rng(process.name, process.n_calls)
        fault = self._fault(process, rng, is_repeated=is_repeated, has_disk=on_disk_fault is not None)
        to_s, back_s = longest_s * rng.random() ** 3, longest_s * rng.random() ** 3
        if fault == STALL and may_stall:
            to_s += rng.uniform(*STALL_S)
        if fault == STALE:
            back_s += rng.uniform(*STALL_S)
        if self.trace is not None:
            self.trace(f"{self.now_s:9.2f} {process.name:10} {label}{f'  [{fault}]' if fault else ''}")
        self.sleep(to_s)
        if fault == KILL:
            self._kill(process)
        if fault == REFUSE:
            raise refusal()
        try:
            with on_disk_fault(rng) if fault == DISK and on_disk_fault else nullcontext():
                answer = work()
            if fault == TWICE:
                self.sleep(rng.uniform(*REPEAT_S))
                answer = work()
        finally:
            self._check_alive()
            self.sleep(back_s)
        if fault == AFTER:
            self._kill(process)
        if fault == LOSE:
            raise loss()
        return answer

    def _fault(self, process: Process, rng: random.Random, *, is_repeated: bool, has_disk: bool) -> str:
        """Return the fault of this call; "" for none."""
        drawn = rng.random()
        totals = zip(self.rates, accumulate(self.rates.values()), strict=True)
        fault = next((fault for fault, total in totals if drawn < total), "")
        if not fault:
            return ""
        if self.now_s >= self.calm_s or (fault == TWICE and not is_repeated):
            return ""
        if (fault in (KILL, AFTER) and not process.can_die) or (fault == DISK and not has_disk):
            return ""
        text = f"{process.name}:{process.n_calls} {fault}"
        if self.allowed is not None and text not in self.allowed:
            return ""
        self.faults.append(text)
        return fault

    def _kill(self, process: Process) -> None:
        process.is_dead = True
        raise Killed

    def _check_alive(self) -> None:
        if self.current.is_dead:  # code that cleans up after SIGKILL does not run
            raise Killed

    def _wake(self, process: Process, at_s: float) -> None:
        self._n += 1
        heapq.heappush(self._heap, (at_s, self._ties.random(), self._n, process))
