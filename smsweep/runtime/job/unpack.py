"""Unpack the source tarball; no member may leave the target folder."""

from __future__ import annotations

import gzip
import os
import tarfile

from smsweep.runtime.job.failure import JobFailure
from smsweep.runtime.job.source_cache import extract_cached


def unpack(tar_path: str, folder: str, *, leave_out_links: bool = False) -> None:
    """Extract every member into a folder, which is created. Existing files are replaced.

    Args:
        tar_path: The .tar.gz file.
        folder: Target folder.
        leave_out_links: Skip all links.

    Raises:
        JobFailure: For an absolute path, `..`, a link that leads out of the folder, or a device. Names the member.
    """
    os.makedirs(folder, exist_ok=True)
    root = os.path.realpath(folder)
    # Python's own filter (3.8.17 and newer) is a second check beside `_check`.
    how = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    try:
        if extract_cached(tar_path, folder):
            return
        with gzip.open(tar_path) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                if leave_out_links and (member.issym() or member.islnk()):
                    continue
                _check(member, root, tar_path)
                tar.extract(member, root, **how)  # type: ignore[arg-type]  # Python 3.8 has no filter
    except (tarfile.TarError, OSError, EOFError) as err:
        raise JobFailure(f"{tar_path}: cannot be unpacked into {folder}: {err}") from err


def _check(member: tarfile.TarInfo, root: str, tar_path: str) -> None:
    """Refuse a member outside root, or a link to a target outside root. Considers links unpacked before."""
    name = member.name
    if os.path.isabs(name) or ".." in name.split("/"):
        raise JobFailure(f"{tar_path}: member {name!r} refused: its path leaves the source folder")
    parent = os.path.realpath(os.path.join(root, os.path.dirname(name)))  # resolves links unpacked before
    if not _is_within(parent, root):
        raise JobFailure(f"{tar_path}: member {name!r} refused: a link on its path leaves the source folder")
    if member.issym() or member.islnk():
        base = parent if member.issym() else root  # a hard link's target is relative to the top
        if os.path.isabs(member.linkname) or not _is_within(
            os.path.realpath(os.path.join(base, member.linkname)), root
        ):
            raise JobFailure(f"{tar_path}: member {name!r} refused: it links to {member.linkname!r}, outside")
    elif not (member.isfile() or member.isdir()):
        raise JobFailure(f"{tar_path}: member {name!r} refused: neither a file, a folder nor a link")


def _is_within(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)
