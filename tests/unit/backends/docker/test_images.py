"""Error messages for containers that cannot start."""

from __future__ import annotations

from pathlib import Path

import pytest
from docker.errors import APIError

from smsweep.backends.docker import images
from smsweep.backends.docker.images import PullProgress, cannot_start
from smsweep.util.terminal_text import NOTE


def test_pull_logs_its_progress_over_all_layers_every_few_seconds(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(NOTE, "smsweep")
    now_s = 0.0
    progress = PullProgress("repo/image:1", lambda: now_s)
    for layer, status, current in (
        ("a", "Pulling fs layer", 0),
        ("a", "Downloading", 5),
        ("b", "Downloading", 20),
    ):
        detail = {"current": current * 1_000_000, "total": 30_000_000} if current else {}
        progress.add({"id": layer, "status": status, "progressDetail": detail})
    assert caplog.messages == []
    now_s = images.PROGRESS_S
    progress.add({"id": "a", "status": "Download complete", "progressDetail": {}})
    progress.add({"status": "Status: Downloaded newer image"})
    assert caplog.messages == ["image repo/image:1: 50 of 60 MB"]


def start_error(path: Path) -> str:
    explanation = f'invalid mount config for type "bind": bind source path does not exist: {path}'
    return str(cannot_start("image", APIError("400 Client Error", explanation=explanation)))


def test_missing_mount_error_says_that_the_engine_is_on_another_machine(tmp_path: Path) -> None:
    error = start_error(tmp_path)
    assert error.startswith(f"the Docker Engine is on another machine and has no {tmp_path}; ")
    assert "set SMSWEEP_DIR to a folder that both machines share, or DOCKER_HOST to" in error


def test_missing_mount_error_is_the_engines_message_when_the_folder_does_not_exist(tmp_path: Path) -> None:
    assert start_error(tmp_path / "gone").endswith(f"bind source path does not exist: {tmp_path}/gone")
