"""Agents that are killed, frozen and restarted at random times: trials run once, points are stored once."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smsweep.engine import agent
from smsweep.store.base import Store
from tests.support.agent_processes import SWEEP, Crew, Process
from tests.support.postgres import Postgres, run_postgres

N_TRIALS = 8
ROUNDS = int(os.environ.get("SMSWEEP_TEST_ROUNDS", "1"))  # for long runs: more schedules and crowds of agents
SCHEDULES = 4 * ROUNDS  # per test: forty in total on SQLite


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with run_postgres() as server:
        yield server


def kill(process: Process) -> None:
    process.kill()
    process.join()  # otherwise it counts as alive


def disturb(crew: Crew, rng: random.Random) -> None:
    """Run three agents, and repeatedly kill one and start a new one."""
    crew_now = [crew.start() for _ in range(3)]
    for _ in range(rng.randint(1, 6)):
        time.sleep(rng.random() * 0.1)
        victim = crew_now.pop(rng.randrange(3))
        kill(victim)
        crew_now.append(crew.start())
    if rng.random() < 0.5:
        for process in crew_now:
            kill(process)
        crew_now = []
    crew.finish()
    for process in crew_now:
        process.join(60)
        assert process.exitcode == 0


@pytest.mark.parametrize("seed", range(10))
def test_random_kills_lose_and_repeat_no_trial(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    for n in range(SCHEDULES):
        folder = tmp_path / str(n)
        folder.mkdir()
        crew = Crew(f"sqlite:///{folder / 'store.db'}", folder, N_TRIALS, parallel=rng.randint(1, 3))
        disturb(crew, rng)
        crew.check(N_TRIALS)


@pytest.mark.parametrize("seed", range(100, 110))
def test_random_kills_on_postgresql_lose_and_repeat_no_trial(
    postgres: Postgres, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    crew = Crew(postgres.new_schema(), tmp_path, N_TRIALS, parallel=rng.randint(1, 3))
    disturb(crew, rng)
    crew.check(N_TRIALS)


def test_many_agents_share_sweep_on_postgresql(postgres: Postgres, tmp_path: Path) -> None:
    """benchmarks/many_agents.py does the same with 64 agents and 10,000 trials."""
    crew = Crew(postgres.new_schema(), tmp_path, 200, lasts_s=0.0, parallel=4)
    crew.finish(16)
    crew.check(200)


@pytest.mark.parametrize("round_", range(ROUNDS))
@pytest.mark.parametrize(("database", "n_trials"), [("sqlite", 500), ("postgresql", 160)])
def test_32_agents_finish_every_trial_of_sweep(
    postgres: Postgres, tmp_path: Path, database: str, n_trials: int, round_: int
) -> None:
    """The trials end immediately, so that nearly every insert and claim conflicts with another agent."""
    url = postgres.new_schema() if database == "postgresql" else f"sqlite:///{tmp_path / 'store.db'}"
    crew = Crew(url, tmp_path, n_trials, lasts_s=0.0)
    crew.finish(32)
    crew.check(n_trials)


def test_agent_frozen_past_its_lease_does_not_change_trials(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "LEASE_S", 1.0)
    crew = Crew(postgres.new_schema(), tmp_path, N_TRIALS, lasts_s=0.3, parallel=3)
    frozen = crew.start()
    with crew.store() as store:
        wait_until(lambda: len(store.holders(SWEEP)) == 1)
        freeze_at_rest(frozen, store)
        (holder,) = store.holders(SWEEP)
        time.sleep(1.2)  # its leases expire
        crew.finish()
        assert holder not in store.holders(SWEEP)
    thaw(frozen)
    frozen.join(60)
    assert frozen.exitcode == 0
    crew.check(N_TRIALS)


def freeze_at_rest(process: Process, store: Store) -> None:
    """Stop a process between two transactions. Inside one, it holds a lock that only the server can release."""
    assert process.pid is not None
    while True:
        os.kill(process.pid, signal.SIGSTOP)
        writer = threading.Thread(target=store.put_note, args=(SWEEP, "probe", 1))
        writer.start()
        writer.join(1.0)
        if not writer.is_alive():
            return
        thaw(process)
        writer.join()


def thaw(process: Process) -> None:
    assert process.pid is not None
    os.kill(process.pid, signal.SIGCONT)


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
