"""The Python interpreter of jobs that run as processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from smsweep.backends.process.backend import TOOL_FILES, job_environment

OWN = str(Path(sys.executable).parent)


def first_on_path(prefix: Path, **environ: str) -> str:
    return job_environment({"PATH": "/usr/bin", **environ}, prefix)["PATH"].split(os.pathsep)[0]


def test_python_is_smsweeps_own_by_default(tmp_path: Path) -> None:
    assert first_on_path(tmp_path) == OWN


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_python_is_that_of_the_active_environment(tmp_path: Path, variable: str) -> None:
    assert first_on_path(tmp_path, **{variable: "/home/me/env"}) == "/usr/bin"


@pytest.mark.parametrize("mark", TOOL_FILES)
def test_python_is_the_users_when_smsweep_is_installed_as_a_tool(tmp_path: Path, mark: str) -> None:
    (tmp_path / mark).touch()
    assert first_on_path(tmp_path) == "/usr/bin"
