"""Error messages for containers that cannot start."""

from __future__ import annotations

from pathlib import Path

from docker.errors import APIError

from smsweep.backends.docker.images import cannot_start


def start_error(path: Path) -> str:
    explanation = f'invalid mount config for type "bind": bind source path does not exist: {path}'
    return str(cannot_start("image", APIError("400 Client Error", explanation=explanation)))


def test_missing_mount_error_says_that_the_engine_is_on_another_machine(tmp_path: Path) -> None:
    error = start_error(tmp_path)
    assert error.startswith(f"the Docker Engine is on another machine and has no {tmp_path}; ")
    assert "set SMSWEEP_DIR to a folder that both machines share, or DOCKER_HOST to" in error


def test_missing_mount_error_is_the_engines_message_when_the_folder_does_not_exist(tmp_path: Path) -> None:
    assert start_error(tmp_path / "gone").endswith(f"bind source path does not exist: {tmp_path}/gone")
