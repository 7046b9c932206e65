"""Tests that a cached source is extracted like an unpacked one."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from smsweep.runtime.job import source_folder
from smsweep.runtime.job.failure import JobFailure
from smsweep.runtime.job.source_folder import cache, extract_cached, unpack
from tests.unit.runtime.test_unpack import UNSAFE, member, tarball

FILES = {"train.py": 0o644, "run.sh": 0o755, "conf/deep/a.yaml": 0o600, "shared.txt": 0o666, "empty": 0o444}


@pytest.fixture(autouse=True)
def without_cache() -> Iterator[None]:
    source_folder._cached.clear()
    yield
    source_folder._cached.clear()


def source(path: Path, files: dict[str, int] = FILES) -> str:
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(member("data", tarfile.DIRTYPE))
        for name, mode in files.items():
            info = tarfile.TarInfo(name)
            info.mode, info.size, info.mtime = mode, len(name) * (name != "empty"), 1_700_000_000
            tar.addfile(info, io.BytesIO(name.encode()))
    return str(path)


def tree(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        info = path.stat()
        detail = (path.read_bytes(), info.st_mtime) if path.is_file() else ()
        found[str(path.relative_to(folder))] = (oct(info.st_mode), *detail)
    return found


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="this Python has no filter: nothing is kept")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_cached_source_extracts_like_unpack(tmp_path: Path, umask: int) -> None:
    path = source(tmp_path / "source.tar.gz")
    before = os.umask(umask)
    try:
        unpack(path, str(tmp_path / "unpacked"))
        cache(path)
        (tmp_path / "kept").mkdir()
        assert extract_cached(path, str(tmp_path / "kept"))
    finally:
        os.umask(before)
    assert tree(tmp_path / "kept") == tree(tmp_path / "unpacked")


def test_changed_source_is_read_again(tmp_path: Path) -> None:
    path = source(tmp_path / "source.tar.gz")
    cache(path)
    (tmp_path / "source.tar.gz").unlink()
    source(tmp_path / "source.tar.gz", {"other.py": 0o644})
    unpack(path, str(tmp_path / "code"))
    assert {file.name for file in (tmp_path / "code").iterdir()} == {"data", "other.py"}


def test_non_empty_folder_does_not_use_the_cache(tmp_path: Path) -> None:
    path = source(tmp_path / "source.tar.gz")
    cache(path)
    (tmp_path / "code").mkdir()
    (tmp_path / "code/train.py").write_text("what an earlier attempt left")
    assert not extract_cached(path, str(tmp_path / "code"))
    unpack(path, str(tmp_path / "code"))
    assert (tmp_path / "code/train.py").read_text() == "train.py"


@pytest.mark.parametrize("kind", UNSAFE)
def test_unusual_member_is_not_cached_and_refused_by_name(tmp_path: Path, kind: str) -> None:
    path = tarball(tmp_path / "source.tar.gz", *UNSAFE[kind])
    cache(path)
    with pytest.raises(JobFailure, match="refused"):
        unpack(path, str(tmp_path / "root/code"))


def test_large_source_is_not_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_folder, "MAX_BYTES", 20)
    path = source(tmp_path / "source.tar.gz")
    cache(path)
    (tmp_path / "code").mkdir()
    assert not extract_cached(path, str(tmp_path / "code"))


@pytest.mark.parametrize("content", [None, b"", b"not a tarball"])
def test_missing_or_broken_source_is_not_cached(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "source.tar.gz"
    if content is not None:
        path.write_bytes(content)
    cache(str(path))
    with pytest.raises(JobFailure, match=r"source\.tar\.gz: cannot be unpacked"):
        unpack(str(path), str(tmp_path / "code"))
