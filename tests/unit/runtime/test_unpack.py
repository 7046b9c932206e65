"""Tests that no member of a source tarball leaves its folder."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from smsweep.runtime.job.failure import JobFailure
from smsweep.runtime.job.source_folder import unpack
from tests.unit.runtime.jobs import Job


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o755
    return info


def tarball(path: Path, *members: tarfile.TarInfo) -> str:
    with tarfile.open(path, "w:gz") as tar:
        for info in members:
            info.size = 4 if info.isfile() else 0
            tar.addfile(info, io.BytesIO(b"text"))
    return str(path)


UNSAFE = {
    "absolute": [member("/tmp/out")],
    "parent": [member("../out")],
    "parent within": [member("a/../../out")],
    "symlink out": [member("link", tarfile.SYMTYPE, "../out")],
    "absolute symlink": [member("link", tarfile.SYMTYPE, "/etc/passwd")],
    "hard link out": [member("link", tarfile.LNKTYPE, "../out")],
    "through links": [
        member("a", tarfile.DIRTYPE),
        member("a/b", tarfile.SYMTYPE, ".."),
        member("c", tarfile.SYMTYPE, "a/b/.."),
    ],
    "fifo": [member("pipe", tarfile.FIFOTYPE)],
    "device": [member("null", tarfile.CHRTYPE)],
}


@pytest.mark.parametrize("has_filter", [True, False])
@pytest.mark.parametrize("kind", UNSAFE)
def test_unsafe_member_is_refused_by_name(
    tmp_path: Path, kind: str, has_filter: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_filter:  # like Python before 3.8.17
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    path = tarball(tmp_path / "source.tar.gz", *UNSAFE[kind])
    with pytest.raises(JobFailure, match=f"member '{UNSAFE[kind][-1].name}' refused"):
        unpack(path, str(tmp_path / "root/code"))
    assert not (tmp_path / "root/out").exists()


def test_files_folders_modes_and_links_within_are_kept(tmp_path: Path) -> None:
    path = tarball(
        tmp_path / "source.tar.gz",
        member("./pkg", tarfile.DIRTYPE),
        member("./pkg/train.py"),
        member("latest.py", tarfile.SYMTYPE, "pkg/train.py"),
    )
    unpack(path, str(tmp_path / "code"))
    assert (tmp_path / "code/latest.py").read_text() == "text"
    assert (tmp_path / "code/pkg/train.py").stat().st_mode & 0o111


def test_broken_tarball_is_the_failure_reason(job: Job) -> None:
    job.trial({"train.py": ""})
    (job.channel / "source.tar.gz").write_bytes(b"not a tarball")
    assert job.run().code == 1
    assert "source.tar.gz: cannot be unpacked into" in job.failure


def test_links_can_be_skipped(tmp_path: Path) -> None:
    links = [member("out", tarfile.SYMTYPE, "/etc/passwd"), member("in", tarfile.SYMTYPE, "a")]
    unpack(tarball(tmp_path / "x.tar.gz", *links, member("a")), str(tmp_path / "x"), skip_links=True)
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["a"]


def test_names_that_differ_in_case_are_refused_where_the_file_system_ignores_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tarball(tmp_path / "source.tar.gz", member("model.py"), member("Model.py"))
    unpack(path, str(tmp_path / "linux"))
    assert len(list((tmp_path / "linux").iterdir())) == 2

    def lexists(name: str) -> bool:  # like APFS on macOS
        return Path(name).name.lower() in {found.name.lower() for found in Path(name).parent.iterdir()}

    monkeypatch.setattr(os.path, "lexists", lexists)
    with pytest.raises(JobFailure, match=r"'model\.py' and 'Model\.py' are one file .*; rename one of them"):
        unpack(path, str(tmp_path / "mac"))
