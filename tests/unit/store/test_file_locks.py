"""SQLite stores in folders without file locks are refused; on network drives there is a warning."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from contextlib import closing
from pathlib import Path

import pytest

from smsweep.errors import UsageError
from smsweep.store import file_locks
from smsweep.store.open import open_store
from tests.support.sweeps import parse_stored

MOUNT = "36 35 {device} / /mnt rw,noatime shared:7 - {kind} server:/export rw,vers=4.2\n"
OTHERS = "22 27 0:9999 / /proc rw,relatime - proc proc rw\n23 27 0:9998 / /sys rw - sysfs sysfs rw\nnonsense\n"


def open_at(folder: Path) -> None:
    open_store(environ={"SMSWEEP_DIR": str(folder)}, parse=parse_stored).close()


def mounts_of(folder: Path, kind: str) -> Path:
    device = folder.stat().st_dev
    file = folder / "mountinfo"
    file.write_text(OTHERS + MOUNT.format(device=f"{os.major(device)}:{os.minor(device)}", kind=kind))
    return file


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "fuse", "lustre", "9p"])
def test_store_on_network_drive_is_warned_about_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    monkeypatch.setattr(file_locks, "MOUNTS", mounts_of(tmp_path, kind))
    for _ in range(2):
        open_at(tmp_path / "home")
    (warning,) = caplog.records
    assert f"({kind}), where SQLite's locks do not hold between machines" in warning.getMessage()
    assert "PostgreSQL" in warning.getMessage()


@pytest.mark.parametrize("kind", ["ext4", "xfs", "tmpfs", "overlay", "fuseblk", "btrfs"])
def test_store_on_local_disk_is_not_warned_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    monkeypatch.setattr(file_locks, "MOUNTS", mounts_of(tmp_path, kind))
    open_at(tmp_path / "home")
    assert caplog.records == []


def test_network_type_is_unknown_without_mount_table(tmp_path: Path) -> None:
    assert file_locks.network_type(tmp_path, tmp_path / "nowhere") == ""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere files are locked in another way")
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_file_system_without_locks_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "fcntl", refuse)  # the kernel does the same
    with pytest.raises(UsageError, match=r"home: files cannot be locked here.*PostgreSQL"):
        open_at(tmp_path / "home")
    assert [path.name for path in (tmp_path / "home").iterdir()] == [".gitignore"]


def test_locks_that_do_not_exclude_raise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "fcntl", lambda *_: 0)  # like a network drive that was mounted without locks
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    with pytest.raises(UsageError, match="files cannot be locked here"):
        open_at(tmp_path / "home")


def test_url_that_disables_locks_raises(tmp_path: Path) -> None:
    url = f"sqlite:///file:{tmp_path}/store.db?vfs=unix-none&uri=true"
    with pytest.raises(UsageError, match="files cannot be locked here"):
        open_store(url, environ={}, parse=parse_stored)
    assert list(tmp_path.iterdir()) == []


def test_url_with_other_locks_is_accepted(tmp_path: Path) -> None:
    url = f"sqlite:///file:{tmp_path}/50%25.db?vfs=unix-dotfile&uri=true&timeout=1"
    with closing(open_store(url, environ={}, parse=parse_stored)):
        assert (tmp_path / "50%.db").exists()


def test_flock_is_used_without_open_file_description_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(fcntl, "fcntl", unknown)
    open_at(tmp_path / "home")
    assert (tmp_path / "home" / "store.db").exists()
