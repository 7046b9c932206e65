"""A database that becomes unreachable while agents run: they wait, and no trial is lost or repeated."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.agent_processes import SWEEP, Crew
from tests.support.markdown import ROOT
from tests.support.postgres import Postgres, run_postgres

N_TRIALS = 30


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with run_postgres() as server:
        yield server


def test_agents_continue_after_database_crash(postgres: Postgres, tmp_path: Path) -> None:
    crew = Crew(postgres.new_schema(), tmp_path, N_TRIALS, lasts_s=0.2)
    agents = [crew.start() for _ in range(3)]
    wait_until_all_work(crew)
    for _ in range(3):
        time.sleep(0.4)
        postgres.restart()
    for agent in agents:
        agent.join(120)
        assert agent.exitcode == 0
    crew.finish()
    crew.check(N_TRIALS)


@pytest.mark.parametrize("seed", range(3))
def test_agents_continue_after_network_outage(postgres: Postgres, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    command = [sys.executable, "-m", "tests.support.http_proxy", str(postgres.folder / ".s.PGSQL.5432")]
    # A separate process, because this process is forked and must not have threads.
    with subprocess.Popen(command, text=True, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as proxy:
        assert proxy.stdin is not None
        assert proxy.stdout is not None
        port = int(proxy.stdout.readline())
        url = sa.make_url(postgres.new_schema())
        through = url.set(host="127.0.0.1", port=port).difference_update_query(["host"])
        crew = Crew(through.render_as_string(hide_password=False), tmp_path, N_TRIALS, lasts_s=0.1)
        agents = [crew.start() for _ in range(3)]
        wait_until_all_work(crew)
        for _ in range(6):
            time.sleep(rng.random() * 0.4)
            print("cut", file=proxy.stdin, flush=True)
            time.sleep(rng.random() * 0.3)
            print("mend", file=proxy.stdin, flush=True)
        for agent in agents:
            agent.join(120)
            assert agent.exitcode == 0
        crew.finish()
        crew.check(N_TRIALS)
        proxy.stdin.close()


def wait_until_all_work(crew: Crew) -> None:
    """Wait until each of three agents has run a trial, or no trial is left for an agent that started slowly."""
    deadline = time.monotonic() + 30
    seen: set[str] = set()
    with crew.store() as store:
        while len(seen) < 3:
            seen |= store.holders(SWEEP)
            trials = store.list_trials(SWEEP, since=0)
            if len(trials) == N_TRIALS and all(trial.state.is_terminal for trial in trials):
                return
            assert time.monotonic() < deadline
            time.sleep(0.01)


def wait_until_agent_works(crew: Crew) -> None:
    deadline = time.monotonic() + 30
    with crew.store() as store:
        while not store.list_trials(SWEEP, since=0):
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of eight megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_agents_wait_while_disk_is_full_and_continue(small_disk: Path, tmp_path: Path) -> None:
    crew = Crew(f"sqlite:///{small_disk / 'store.db'}", tmp_path, N_TRIALS, lasts_s=0.1)
    agent = crew.start()
    wait_until_agent_works(crew)
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass  # full
        time.sleep(2)
        assert agent.is_alive()
    ballast.unlink()
    agent.join(120)
    assert agent.exitcode == 0
    crew.finish()
    crew.check(N_TRIALS)
