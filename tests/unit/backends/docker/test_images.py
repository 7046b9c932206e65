"""What the engine's refusals mean."""

from __future__ import annotations

from pathlib import Path

from docker.errors import APIError

from smsweep.backends.docker.images import cannot_start


def refused(place: Path) -> str:
    said = f'invalid mount config for type "bind": bind source path does not exist: {place}'
    return str(cannot_start("image", APIError("400 Client Error", explanation=said)))


def test_an_engine_that_does_not_see_this_machines_files_is_told_with_the_cure(tmp_path: Path) -> None:
    said = refused(tmp_path)
    assert said.startswith(f"the Docker Engine does not see {tmp_path}, which is here")
    assert "set SMSWEEP_DIR to a folder that both share, or DOCKER_HOST to" in said


def test_what_is_not_here_either_is_told_in_the_engines_words(tmp_path: Path) -> None:
    assert refused(tmp_path / "gone").endswith(f"bind source path does not exist: {tmp_path}/gone")
