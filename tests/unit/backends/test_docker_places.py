"""Folders of this machine in S3's place."""

from __future__ import annotations

import os
from pathlib import Path

from smsweep.backends.docker.places.files import FilePlace


def test_a_pipe_that_a_script_left_behind_does_not_cost_its_results(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights").write_text("1")
    (model / "latest").symlink_to("weights")
    os.mkfifo(model / "pipe")
    FilePlace({}, tmp_path).upload(model, (tmp_path / "kept").as_uri())
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["latest", "weights"]
