"""Tests that the environment info of a script is cached, and updated after an installation."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from smsweep.runtime.job import environment_info
from smsweep.runtime.job.environment_info import cached_environment_info


@pytest.fixture
def interpreter(tmp_path: Path) -> str:
    """The path of another Python, which has one package."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib/python3.9/site-packages/numpy-1.2.dist-info").mkdir(parents=True)
    return str(tmp_path / "bin/python")


def test_environment_info_is_cached(interpreter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cached_environment_info(interpreter)
    known = json.loads(first)
    assert (known["python"], known["packages"]) == ("3.9", ["numpy==1.2"])
    monkeypatch.setattr(environment_info, "_packages", lambda folders: pytest.fail("the cache was not used"))
    assert cached_environment_info(interpreter) == first


def test_environment_info_is_updated_after_an_installation(interpreter: str, tmp_path: Path) -> None:
    cached_environment_info(interpreter)
    folder = tmp_path / "lib/python3.9/site-packages"
    (folder / "torch-2.0.dist-info").mkdir()
    os.utime(folder, (1, 1))  # for any resolution of the file system's clock
    assert json.loads(cached_environment_info(interpreter))["packages"] == ["numpy==1.2", "torch==2.0"]
