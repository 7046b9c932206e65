"""A file or folder is replaced in one step, or stays as it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smsweep.util.atomic_file import open_output, replacing, write_text


def test_write_text_replaces_file_and_leaves_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text("old")
    write_text(path, "naïve")
    assert path.read_bytes() == "naïve".encode()
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]


def test_replacing_keeps_file_when_block_raises(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as scratch:
        scratch.write_text("new")
        assert path.read_text() == "old"
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize("raises", [False, True])
def test_replacing_creates_complete_folder_or_none(tmp_path: Path, raises: bool) -> None:
    path = tmp_path / "made"
    try:
        with replacing(path) as scratch:
            scratch.mkdir()
            (scratch / "file").write_text("x")
            assert not path.exists()
            if raises:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert list(tmp_path.iterdir()) == []
    else:
        assert [file.name for file in path.iterdir()] == ["file"]
        assert [file.name for file in tmp_path.iterdir()] == ["made"]


def test_replacing_raises_when_block_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "x"):
        pass


def test_replacing_does_not_write_through_a_link_with_a_known_name(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("theirs")
    for name in ("file.part", f".file.{os.getpid()}.part"):
        (tmp_path / name).symlink_to(tmp_path / "other")
    write_text(tmp_path / "file", "ours")
    assert (tmp_path / "other").read_text() == "theirs"


def test_open_output_keeps_mode_and_link_of_existing_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "link").symlink_to("file")
    with open_output(tmp_path / "link", force=True) as scratch:
        scratch.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
