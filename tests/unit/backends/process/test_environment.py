"""Which Python a job of this machine gets."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from smsweep.backends.process.backend import TOOL_FILES, job_environment

OWN = str(Path(sys.executable).parent)


def first_on_path(prefix: Path, **environ: str) -> str:
    return job_environment({"PATH": "/usr/bin", **environ}, prefix)["PATH"].split(os.pathsep)[0]


def test_it_is_smsweeps_own_as_if_its_environment_were_active(tmp_path: Path) -> None:
    assert first_on_path(tmp_path) == OWN


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_it_is_that_of_the_active_environment(tmp_path: Path, variable: str) -> None:
    assert first_on_path(tmp_path, **{variable: "/home/me/env"}) == "/usr/bin"


@pytest.mark.parametrize("mark", TOOL_FILES)
def test_it_is_the_users_where_smsweep_is_a_tool_by_itself(tmp_path: Path, mark: str) -> None:
    (tmp_path / mark).touch()
    assert first_on_path(tmp_path) == "/usr/bin"
