"""Unpack the source tarball without letting a member out of its folder."""

from __future__ import annotations

import gzip
import os
import tarfile

from smsweep.runtime.job.failure import JobFailure
from smsweep.runtime.job.source_cache import lay_out


def unpack(tar_path: str, folder: str, *, leave_out_links: bool = False) -> None:
    """Extract every member into folder, which is created; files already there are replaced.

    leave_out_links: pass over links, wherever they lead.
    Raises JobFailure, naming the member, for an absolute path, `..`, a link that leads out, or a device.
    """
    os.makedirs(folder, exist_ok=True)
    root = os.path.realpath(folder)
    # Python's own filter where this Python has it (3.8.17+), beside our check: two nets.
    how = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    try:
        if lay_out(tar_path, folder):
            return
        with gzip.open(tar_path) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                if leave_out_links and (member.issym() or member.islnk()):
                    continue
                _check(member, root, tar_path)
                tar.extract(member, root, **how)  # type: ignore[arg-type]  # 3.8's has no filter
    except (tarfile.TarError, OSError, EOFError) as err:
        raise JobFailure(f"{tar_path}: cannot be unpacked into {folder}: {err}") from err


def _check(member: tarfile.TarInfo, root: str, tar_path: str) -> None:
    """Refuse a member that would be, or would lead, outside root, given what is already unpacked."""
    name = member.name
    if os.path.isabs(name) or ".." in name.split("/"):
        raise JobFailure(f"{tar_path}: member {name!r} refused: its path leaves the source folder")
    parent = os.path.realpath(os.path.join(root, os.path.dirname(name)))  # through links unpacked before
    if not _is_within(parent, root):
        raise JobFailure(f"{tar_path}: member {name!r} refused: a link on its path leaves the source folder")
    if member.issym() or member.islnk():
        base = parent if member.issym() else root  # a hard link's target is named from the top
        if os.path.isabs(member.linkname) or not _is_within(
            os.path.realpath(os.path.join(base, member.linkname)), root
        ):
            raise JobFailure(f"{tar_path}: member {name!r} refused: a link to {member.linkname!r}, outside")
    elif not (member.isfile() or member.isdir()):
        raise JobFailure(f"{tar_path}: member {name!r} refused: neither a file, a folder nor a link")


def _is_within(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)
