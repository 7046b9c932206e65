"""Bugs that smsweep has had, to measure how many seeds the simulation needs to find each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

from smsweep.backends.sagemaker import backend as sagemaker
from smsweep.backends.sagemaker.backend import SageMakerBackend
from smsweep.backends.sagemaker.cloudwatch import LogReader
from smsweep.core.trial import History
from smsweep.engine.agent import Agent
from smsweep.engine.controller import Controller
from smsweep.errors import NameTaken
from smsweep.store import sql
from smsweep.store.sql import SqlStore


@contextmanager
def cell_proposed_twice() -> Iterator[None]:
    """An agent that claimed a trial before reading it took the numbers below for known (fixed in 7d255f6a)."""
    with mock.patch.object(History, "has_gaps", False):
        yield


@contextmanager
def finished_too_early() -> Iterator[None]:
    """A sweep was marked finished although a trial was added at the same moment (fixed in baa6c2a5)."""
    original = SqlStore.set_sweep_state

    def without_revision(self: SqlStore, *args: Any, revision: int | None = None) -> Any:
        del revision
        return original(self, *args)

    with mock.patch.object(SqlStore, "set_sweep_state", without_revision):
        yield


@contextmanager
def lines_lost_to_the_shared_scan() -> Iterator[None]:
    """A shared scan moved the position of a log of which older lines were not read yet (fixed in 9837d3b5)."""
    original = LogReader._add_events

    def of_any_scan(self: LogReader, scan: Any, events: Iterable[Mapping[str, Any]]) -> None:
        hidden = {name: tail.own_scan for name, tail in self._tails.items() if tail.own_scan not in (None, scan)}
        for name in hidden:
            self._tails[name].own_scan = None
        original(self, scan, events)
        for name, own_scan in hidden.items():
            self._tails[name].own_scan = own_scan

    with mock.patch.object(LogReader, "_add_events", of_any_scan):
        yield


@contextmanager
def end_forgotten() -> Iterator[None]:
    """The end of a job was forgotten if the poll of another job failed (fixed in e87d45bc)."""

    def without_finally(self: SageMakerBackend) -> None:
        self._send_stops()
        live = self._poller.live()
        self._poller.poll()
        for name in live:
            status = self._poller.get(name)
            if status is not None and status.is_terminal:
                self._note_end(status)
        self._logs.poll()

    with mock.patch.object(SageMakerBackend, "_make_due_calls", without_finally):
        yield


@contextmanager
def late_agent_writes() -> Iterator[None]:
    """An agent that had lost its lease changed the trials of its successor (fixed in 74a1a4b5)."""
    with mock.patch.object(sql, "_check_holder", lambda trial, agent_id: None):
        yield


@contextmanager
def budget_race() -> Iterator[None]:
    """Two agents started the last trial of a budget at the same time (fixed in 2043d1af)."""
    with mock.patch.object(Controller, "keeps_budget", lambda self: True):
        yield


@contextmanager
def started_job_is_foreign() -> Iterator[None]:
    """A job whose start had no answer counted as another user's job (fixed in 1fb23309)."""

    def refuse(aws: object, request: Mapping[str, Any]) -> None:
        raise NameTaken(f"training job {request['TrainingJobName']} exists already")

    with mock.patch.object(sagemaker, "adopt", refuse):
        yield


@contextmanager
def claim_without_an_answer() -> Iterator[None]:
    """A trial whose claim had no answer waited until its agent ended (found by this simulation)."""
    original = Agent._read_changes

    def forget(self: Agent) -> None:
        known = dict(self._held)
        original(self)
        self._held = known

    with mock.patch.object(Agent, "_read_changes", forget):
        yield


@contextmanager
def failed_tick_is_the_last() -> Iterator[None]:
    """An agent exited after a failed read, without the trials of a lost agent (found by this simulation)."""
    original = Agent._is_done

    def done(self: Agent, *, is_current: bool) -> bool:
        del is_current
        self._is_over = self._has_nothing_to_do()
        return original(self, is_current=True)

    with mock.patch.object(Agent, "_is_done", done):
        yield


@contextmanager
def exit_before_the_lease_ends() -> Iterator[None]:
    """An agent exited while a lost agent still had a lease, and nobody was left (found by this simulation)."""
    with mock.patch.object(Agent, "_may_adopt_later", lambda self: False):
        yield


BUGS: tuple[Callable[[], Any], ...] = (
    cell_proposed_twice,
    finished_too_early,
    lines_lost_to_the_shared_scan,
    end_forgotten,
    late_agent_writes,
    budget_race,
    started_job_is_foreign,
    claim_without_an_answer,
    failed_tick_is_the_last,
    exit_before_the_lease_ends,
)
