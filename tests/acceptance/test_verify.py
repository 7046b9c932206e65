"""`smsweep verify` on backends whose jobs cost nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smsweep.services.verify.run_state import list_runs
from smsweep.services.verify.runner import CHECKS, Options, Verification, verify
from smsweep.services.workspace import Workspace
from tools.docker_engine import IMAGE
from tools.slurm import Slurm, run_slurm

OF_JOBS = (
    "repeated-submit",
    "early-stop",
    "early-stopping",
    "probe",
    "log",
    "stop",
    "max-runtime",
    "grace-period",
    "failure-texts",
    "checkpoints",
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SMSWEEP_"))}
    return Workspace({**environ, "SMSWEEP_DIR": str(tmp_path / "store")})


def run(workspace: Workspace, backend: str, *only: str, **options: Any) -> Verification:
    done = verify(Options(backend=backend, only=only, **options), consent=lambda plan: None, workspace=workspace)
    (state,) = list_runs(workspace.dir)
    assert not any(state.made.values()), done.remains
    assert {path.name for path in state.path.parent.iterdir()} <= {"state.json", "commands.log", "runtime.zip"}
    return done


def verdicts(done: Verification) -> dict[str, tuple[str, object]]:
    return {result.id: (result.verdict, result.reason or result.differences) for result in done.results}


@pytest.mark.slow
def test_process_backend_passes_every_check(workspace: Workspace) -> None:
    wanted = {check.id for check in CHECKS if "process" in check.backends}
    assert wanted == {*OF_JOBS, "adoption"}
    assert verdicts(run(workspace, "process")) == dict.fromkeys(wanted, ("confirmed", ()))


@pytest.mark.slow
@pytest.mark.docker
@pytest.mark.usefixtures("docker_engine")
def test_docker_backend_passes_every_check(workspace: Workspace) -> None:
    done = run(workspace, "docker", job={"image_uri": IMAGE})
    assert verdicts(done) == dict.fromkeys((*OF_JOBS, "adoption", "isolation", "two-hosts"), ("confirmed", ()))


@pytest.fixture
def slurm() -> Iterator[Slurm]:
    with run_slurm() as cluster:
        yield cluster


@pytest.mark.slow
def test_slurm_backend_passes_the_checks_of_jobs(workspace: Workspace, slurm: Slurm) -> None:
    inside = Workspace({**workspace.environ, **slurm.environ})
    assert verdicts(run(inside, "slurm", "probe", "stop")) == dict.fromkeys(("probe", "stop"), ("confirmed", ()))


def test_run_of_a_single_check_prints_its_report(workspace: Workspace) -> None:
    done = run(workspace, "process", "probe")
    (result,) = done.results
    assert result.verdict == "confirmed"
    assert str(workspace.dir) not in str(result.observed)
    assert done.state.finished_at
