"""Local folders as storage."""

from __future__ import annotations

import os
from pathlib import Path

from smsweep.backends.local.storage import FilePlace


def test_results_are_copied_without_pipes(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights").write_text("1")
    (model / "latest").symlink_to("weights")
    os.mkfifo(model / "pipe")
    FilePlace({}, tmp_path).upload(model, (tmp_path / "kept").as_uri())
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["latest", "weights"]


def test_link_of_another_host_is_replaced_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("as it was")
    first, second = tmp_path / "ml", tmp_path / "ml-algo-2"
    for model in (first, second):
        model.mkdir()
        (model / "latest").symlink_to("weights")
    (first / "weights").write_text("1")
    (second / "weights").symlink_to(outside / "file")
    (first / "deep").mkdir()
    (first / "deep" / "file").write_text("2")
    (second / "deep").symlink_to(outside)
    kept = tmp_path / "kept"
    for model in (second, first):
        FilePlace({}, tmp_path).upload(model, kept.as_uri())
    assert [(kept / name).read_text() for name in ("latest", "weights", "deep/file")] == ["1", "1", "2"]
    assert (outside / "file").read_text() == "as it was"
