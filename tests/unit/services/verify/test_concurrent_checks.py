"""Checks of `smsweep verify` that run at the same time: the cap, errors, Ctrl-C and the file of the run."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smsweep.core.job import JobTemplate
from smsweep.services.verify import run_state, runner
from smsweep.services.verify.assumption import CONFIRMED, SKIPPED, UNKNOWN, Assumption, Observed, Result
from smsweep.services.verify.run_state import STATE_FILE, RunState, list_runs
from smsweep.services.verify.runner import Options, Plan, Planned, verify
from smsweep.services.verify.session import LOCAL, Facts, NotVerified, Session
from smsweep.services.workspace import Workspace
from smsweep.util.atomic_file import write_text

WAIT_S = 60.0
FACTS = Facts(backend="process", place=LOCAL)
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SMSWEEP_"))}


def a_check(name: str, observe: Callable[[Session], Observed]) -> Assumption:
    return Assumption(
        id=name,
        statement="",
        calls="",
        observe=observe,
        expected={"ok": True},
        file="",
        backends=frozenset({"process"}),
    )


def a_state(folder: Path) -> RunState:
    return RunState(path=folder / "vrfy0000" / STATE_FILE, run="vrfy0000", target={}, started_at="2026-12-02")


def run_checks(folder: Path, max_usd: float, *checks: tuple[Assumption, float]) -> tuple[RunState, list[Result]]:
    """Run checks with their worst costs. Return the state, and the results in the order in which they came."""
    state = a_state(folder)
    state.save()
    planned = tuple(Planned(check=check, worst_usd=worst) for check, worst in checks)
    plan = Plan(facts=FACTS, max_usd=max_usd, spent_usd=0, checks=planned, run=state.run, is_continued=False)
    results: list[Result] = []
    session = Session(state, FACTS, JobTemplate(), ENVIRON)
    runner._run(plan, session, lambda check, result: results.append(result), lambda text: None)
    return state, results


def test_worst_cases_of_checks_that_run_at_the_same_time_fit_the_cap(tmp_path: Path) -> None:
    three = threading.Barrier(3)  # the cap allows three of the four checks that can run at the same time
    lock = threading.Lock()
    running: set[str] = set()
    most: list[int] = []

    def observe(session: Session) -> Observed:
        name = threading.current_thread().name
        with lock:
            running.add(name)
            most.append(len(running))
        assert session.state.total_usd <= 3
        three.wait(WAIT_S)
        with lock:
            running.remove(name)
        return {"ok": True}

    checks = [(a_check(f"check-{number}", observe), 1.0) for number in range(6)]
    state, results = run_checks(tmp_path, 3.0, *checks, (a_check("large", observe), 3.5))
    verdicts = {result.id: result.verdict for result in results}
    assert verdicts == {**{check.id: CONFIRMED for check, _ in checks}, "large": SKIPPED}
    assert max(most) == 3
    assert (state.total_usd, "large" in state.results) == (0, False)


def test_unexpected_error_of_a_check_is_its_reason_and_the_others_continue(tmp_path: Path) -> None:
    def fail(session: Session) -> Observed:
        raise KeyError("Role")

    good = a_check("good", lambda session: {"ok": True})
    state, results = run_checks(tmp_path, 2.0, (a_check("bad", fail), 1.0), (good, 1.0))
    by_id = {result.id: result for result in results}
    assert (by_id["bad"].verdict, by_id["bad"].reason) == (UNKNOWN, "KeyError: 'Role'")
    assert by_id["good"].verdict == CONFIRMED
    assert state.total_usd == 0


def test_results_are_noted_while_the_file_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = a_state(tmp_path)
    seen: list[dict[str, Any]] = []

    def write_slowly(path: Path, text: str) -> None:
        if threading.current_thread() is threading.main_thread():
            other.start()
            other.join(0.2)  # the other thread waits for the lock
            seen.append(dict(state.results))
        write_text(path, text)

    other = threading.Thread(target=lambda: state.note_result("probe", {"verdict": CONFIRMED}))
    monkeypatch.setattr(run_state, "write_text", write_slowly)
    state.save()
    other.join(WAIT_S)
    assert seen == [{}]
    assert RunState.read(state.path).results == {"probe": {"verdict": CONFIRMED}}


def test_interrupt_ends_the_waits_of_checks_and_their_jobs_are_cleaned_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_ready = threading.Event()
    ends: list[str] = []

    def observe(session: Session) -> Observed:
        name = session.submit(session.request("patient"))
        session.wait_for_document(name, "ready")
        is_ready.set()
        try:
            session.wait(name)
        except NotVerified as err:
            ends.append(str(err))
            with pytest.raises(NotVerified, match="interrupted"):
                session.submit(session.request("patient"))
            raise
        return {"ok": True}

    def press_ctrl_c(text: str) -> None:
        if text.startswith("second"):
            assert is_ready.wait(WAIT_S)
            signal.raise_signal(signal.SIGINT)

    workspace = Workspace({**ENVIRON, "SMSWEEP_DIR": str(tmp_path / "store")})
    checks = (a_check("first", observe), a_check("second", lambda session: {"ok": True}))
    monkeypatch.setattr(runner, "CHECKS", checks)
    with pytest.raises(KeyboardInterrupt):
        verify(
            Options(backend="process"), consent=lambda plan: None, on_progress=press_ctrl_c, workspace=workspace
        )
    (state,) = list_runs(workspace.dir)
    assert ends == ["the run was interrupted"]
    assert not any(state.made.values())
    assert (state.results, state.n_jobs, state.finished_at) == ({}, 2, "")
    assert not (state.path.parent / "jobs").exists()
