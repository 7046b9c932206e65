"""A source bundle: its members and its hash, and reading it without trusting its content."""

from __future__ import annotations

import gzip
import hashlib
import re
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from smsweep.errors import SourceError

MAX_UNPACKED_BYTES = 8 * 1024**3  # of all members
MAX_MEMBERS = 200_000
MAX_HEADER_BYTES = 32 * 1024  # around one member: headers, a long name, padding, read-ahead
CHUNK = 1024**2

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


Sink = Callable[[Member, IO[bytes]], Member]  # receives a member and its content, returns it with its sha256


def open_bundle(path: Path, *, expect: str | None = None, max_bytes: int = MAX_UNPACKED_BYTES) -> Bundle:
    """List and check a bundle without writing files.

    Args:
        path: The archive.
        expect: The expected hash. None takes it from the file name, if that is a hash.
        max_bytes: Limit for the size of all contents.

    Raises:
        SourceError: If a member is not a plain file, has an absolute path or one that leads out, or occurs twice,
            if the contents are too large, the archive is damaged, or the hash differs. Names the member.
    """
    return _read(path, expect, max_bytes, lambda member, content: _copy(member, content, None))


def extract(path: Path, into: Path, *, expect: str | None = None, max_bytes: int = MAX_UNPACKED_BYTES) -> Bundle:
    """Unpack a bundle into a new or empty folder, completely or not at all. Checks it like `open_bundle`."""
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise SourceError(f"{into}: is not an empty folder; name a new folder for the source")
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=into.parent, prefix=f".{into.name}.") as scratch:
            folder = Path(scratch) / "source"
            folder.mkdir()
            bundle = _read(path, expect, max_bytes, lambda member, content: _save(member, content, folder))
            if into.exists():
                into.rmdir()
            folder.rename(into)
    except OSError as err:
        raise SourceError(f"{into}: the source cannot be unpacked: {err}") from err
    return bundle


def _read(path: Path, expect: str | None, max_bytes: int, sink: Sink) -> Bundle:
    members: list[Member] = []
    names: set[str] = set()
    n_bytes = 0
    with _translate_errors(path), path.open("rb") as raw, gzip.GzipFile(fileobj=raw, mode="rb") as unzipped:
        metered = _Metered(path, unzipped)
        with tarfile.open(fileobj=metered, mode="r|") as tar:  # type: ignore[call-overload]  # only read() is used
            while info := tar.next():
                _check(path, info)
                n_bytes += info.size
                if info.name in names:
                    raise SourceError(f"{path}: {info.name!r} occurs twice; do not use this archive")
                if n_bytes > max_bytes or len(members) >= MAX_MEMBERS:
                    raise SourceError(
                        f"{path}: {info.name!r} exceeds {max_bytes:,} bytes; do not use this archive"
                    )
                names.add(info.name)
                metered.allow(info.size + MAX_HEADER_BYTES)
                content = tar.extractfile(info)
                assert content  # true for plain files
                member = Member(name=info.name, size=info.size, is_executable=bool(info.mode & 0o100), sha256="")
                members.append(sink(member, content))
                tar.members = []  # tarfile would keep every header
        while metered.read(CHUNK):  # to the end, which has gzip's checksum
            pass
    members.sort(key=lambda member: member.name)
    actual = content_hash(members)
    if expect is None:
        named = re.fullmatch(r"([0-9a-f]{64})\.tar\.gz", path.name)
        expect = named[1] if named else actual
    if actual != expect:
        raise SourceError(
            f"{path}: contains the source {actual}, not {expect}; delete it and pack or download it again"
        )
    return Bundle(hash=actual, path=path, size=path.stat().st_size, members=tuple(members))


def _check(path: Path, info: tarfile.TarInfo) -> None:
    """Refuse a member that is not a plain file with a plain relative name."""
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.issparse():
        raise SourceError(f"{path}: {info.name!r} is a link, folder or device; a source contains only plain files")
    if info.size < 0:
        raise SourceError(f"{path}: {info.name!r} has a negative size; do not use this archive")
    try:
        info.name.encode()
    except UnicodeEncodeError as err:
        raise SourceError(f"{path}: the member name {info.name!a} is not UTF-8; rename the file") from err
    parts = PurePosixPath(info.name).parts
    is_plain = "/".join(parts) == info.name and ".." not in parts and "\0" not in info.name
    if not info.name or not is_plain or len(parts) > MAX_DEPTH + 1:
        raise SourceError(f"{path}: {info.name!r} is not a plain path in the source; do not use this archive")


def _copy(member: Member, content: IO[bytes], target: IO[bytes] | None) -> Member:
    digest = hashlib.sha256()
    while chunk := content.read(CHUNK):
        digest.update(chunk)
        if target:
            target.write(chunk)
    return Member(
        name=member.name, size=member.size, is_executable=member.is_executable, sha256=digest.hexdigest()
    )


def _save(member: Member, content: IO[bytes], folder: Path) -> Member:
    target = folder / member.name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = target.open("xb")  # x: must not overwrite if the file system treats two names as equal
    except (FileExistsError, NotADirectoryError) as err:
        raise SourceError(f"{target}: another member of the source has this path; rename one of them") from err
    with file:
        member = _copy(member, content, file)
    target.chmod(member.mode)
    return member


class _Metered:
    """A stream that returns no more bytes than allowed, so that a small archive cannot fill the memory.

    tarfile reads a header completely, whatever size it claims. Contents are allowed after their size is checked.
    """

    def __init__(self, path: Path, raw: gzip.GzipFile) -> None:
        self._path = path
        self._raw = raw
        self._allowance = 2 * MAX_HEADER_BYTES

    def allow(self, n_bytes: int) -> None:
        """Allow reading up to n_bytes from now on."""
        self._allowance = n_bytes

    def read(self, n: int) -> bytes:
        """Read at most n bytes. Raises SourceError beyond the allowed number."""
        data = self._raw.read(min(n, CHUNK))
        self._allowance -= len(data)
        if self._allowance < 0:
            raise SourceError(f"{self._path}: contains headers that are too large; do not use this archive")
        return data


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as err:
        raise SourceError(f"{path}: no such source bundle") from err
    # ValueError: invalid numbers in extended headers, which tarfile does not check.
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError) as err:
        raise SourceError(f"{path}: is not a valid source bundle ({err}); pack or download it again") from err
    except OSError as err:
        raise SourceError(f"{path}: cannot be read or unpacked: {err}") from err
