"""The source bundle and its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MAX_DEPTH = 100  # folders around a file; more is a mistake or an attack, and breaks recursive tools


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One file in a bundle."""

    name: str  # relative, with `/`
    size: int  # bytes
    is_executable: bool
    sha256: str  # of the content, hex

    @property
    def mode(self) -> int:
        """File mode of the member in the archive."""
        return 0o755 if self.is_executable else 0o644


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """A packed source."""

    hash: str  # content_hash of the members
    path: Path  # of the .tar.gz
    size: int  # bytes, packed
    members: tuple[Member, ...]  # by ascending name


def content_hash(members: Iterable[Member]) -> str:
    """Return 64 hex digits that identify names, modes and contents.

    The hash does not depend on the bytes of the archive, which vary with the version of zlib: the same source must
    have the same hash on any machine.
    """
    digest = hashlib.sha256(b"smsweep source 1\0")
    for member in sorted(members, key=lambda member: member.name):
        digest.update(f"{member.mode:o} {member.sha256} {member.name}\0".encode())
    return digest.hexdigest()


def bundle_path(folder: Path, source_hash: str) -> Path:
    """Return the path of the bundle with a hash in a folder of bundles."""
    return folder / f"{source_hash}.tar.gz"
