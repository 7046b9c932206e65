"""The folder of the store: SMSWEEP_DIR, or the nearest `.smsweep` upward."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smsweep.store.home import home_dir


@pytest.fixture
def deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory tmp_path/a/b/c."""
    folder = tmp_path / "a" / "b" / "c"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def test_nearest_folder_above_is_used(deep: Path, tmp_path: Path) -> None:
    (tmp_path / ".smsweep").mkdir()
    assert home_dir({}) == tmp_path / ".smsweep"
    (tmp_path / "a" / ".smsweep").mkdir()
    assert home_dir({}) == tmp_path / "a" / ".smsweep"
    (deep / ".smsweep").mkdir()
    assert home_dir({}) == deep / ".smsweep"


def test_working_directory_is_the_default(deep: Path) -> None:
    assert home_dir({}) == deep / ".smsweep"


def test_variable_wins_over_the_search(deep: Path, tmp_path: Path) -> None:
    (tmp_path / ".smsweep").mkdir()
    assert home_dir({"SMSWEEP_DIR": "mine"}) == deep / "mine"


def test_search_ends_at_home(deep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".smsweep").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "a"))
    assert home_dir({}) == deep / ".smsweep"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home_dir({}) == tmp_path / ".smsweep"


def test_trial_does_not_find_the_store_of_its_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = tmp_path / ".smsweep" / "jobs" / "x" / "code"
    code.mkdir(parents=True)
    monkeypatch.chdir(code)
    assert home_dir({}) == code / ".smsweep"


def test_file_is_not_a_store(deep: Path, tmp_path: Path) -> None:
    (tmp_path / "a" / ".smsweep").write_text("")
    assert home_dir({}) == deep / ".smsweep"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_folder_above_of_another_user_is_skipped(deep: Path, tmp_path: Path) -> None:
    found = tmp_path / ".smsweep"
    found.mkdir()
    os.chown(found, 12345, 12345)
    assert home_dir({}) == deep / ".smsweep"
    assert home_dir({"SMSWEEP_TRUSTED_DIRS": str(found)}) == found
