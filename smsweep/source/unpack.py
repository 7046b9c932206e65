"""Read a source bundle as if a stranger had made it."""

from __future__ import annotations

import gzip
import hashlib
import re
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from smsweep.errors import SourceError
from smsweep.source.bundle import MAX_DEPTH, Bundle, Member, content_hash

MAX_UNPACKED_BYTES = 8 * 1024**3  # of all members
MAX_MEMBERS = 200_000
MAX_HEADER_BYTES = 32 * 1024  # around one member: headers, a long name, padding, what is read ahead
CHUNK = 1024**2

Sink = Callable[[Member, IO[bytes]], Member]  # takes a member's content, returns it with its sha256


def open_bundle(path: Path, *, expect: str | None = None, max_bytes: int = MAX_UNPACKED_BYTES) -> Bundle:
    """List a bundle and check it, writing nothing.

    expect: the hash it must have; None takes it from the file's name, where that is a hash.
    max_bytes: of all contents.
    Raises SourceError, naming the member: not a plain file, an absolute path or one that leads out, a
    name twice, too much content; and for a damaged archive or another hash.
    """
    return _read(path, expect, max_bytes, lambda member, content: _copy(member, content, None))


def extract(path: Path, into: Path, *, expect: str | None = None, max_bytes: int = MAX_UNPACKED_BYTES) -> Bundle:
    """Unpack a bundle into a new or empty folder: all of it, checked as by `open_bundle`, or nothing."""
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise SourceError(f"{into}: is not an empty folder; name a new one to unpack the source into")
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
                    raise SourceError(f"{path}: {info.name!r} is in it twice; do not use it")
                if n_bytes > max_bytes or len(members) >= MAX_MEMBERS:
                    raise SourceError(f"{path}: {info.name!r} takes it over {max_bytes:,} bytes; do not use it")
                names.add(info.name)
                metered.allow(info.size + MAX_HEADER_BYTES)
                content = tar.extractfile(info)
                assert content  # plain files have one
                member = Member(name=info.name, size=info.size, is_executable=bool(info.mode & 0o100), sha256="")
                members.append(sink(member, content))
                tar.members = []  # it would keep every header
        while metered.read(CHUNK):  # to the very end, where gzip's checksum is
            pass
    members.sort(key=lambda member: member.name)
    found = content_hash(members)
    if expect is None:
        named = re.fullmatch(r"([0-9a-f]{64})\.tar\.gz", path.name)
        expect = named[1] if named else found
    if found != expect:
        raise SourceError(
            f"{path}: holds the source {found}, not {expect}; delete it and pack or download it again"
        )
    return Bundle(hash=found, path=path, size=path.stat().st_size, members=tuple(members))


def _check(path: Path, info: tarfile.TarInfo) -> None:
    """Refuse a member that is not a plain file with a plain relative name."""
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.issparse():
        raise SourceError(f"{path}: {info.name!r} is a link, folder or device; a source holds plain files only")
    if info.size < 0:
        raise SourceError(f"{path}: {info.name!r} claims a negative size; do not use it")
    try:
        info.name.encode()
    except UnicodeEncodeError as err:
        raise SourceError(f"{path}: the member name {info.name!a} is not UTF-8") from err
    parts = PurePosixPath(info.name).parts
    is_plain = "/".join(parts) == info.name and ".." not in parts and "\0" not in info.name
    if not info.name or not is_plain or len(parts) > MAX_DEPTH + 1:
        raise SourceError(f"{path}: {info.name!r} leads out of the source or is no plain name; do not use it")


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
        file = target.open("xb")  # x: two names that this file system takes for one must not overwrite
    except (FileExistsError, NotADirectoryError) as err:
        raise SourceError(f"{target}: another member of the source is in its place") from err
    with file:
        member = _copy(member, content, file)
    target.chmod(member.mode)
    return member


class _Metered:
    """A stream that yields no more than was allowed, so that a small archive cannot fill the memory.

    tarfile reads headers whole, however long they claim to be; contents are allowed once their size is checked.
    """

    def __init__(self, path: Path, raw: gzip.GzipFile) -> None:
        self._path = path
        self._raw = raw
        self._left = 2 * MAX_HEADER_BYTES

    def allow(self, n_bytes: int) -> None:
        self._left = n_bytes

    def read(self, n: int) -> bytes:
        data = self._raw.read(min(n, CHUNK))
        self._left -= len(data)
        if self._left < 0:
            raise SourceError(f"{self._path}: holds headers beyond all measure; do not use it")
        return data


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as err:
        raise SourceError(f"{path}: no such source bundle") from err
    # ValueError and its like: numbers in extended headers, which tarfile takes as they come.
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError) as err:
        raise SourceError(f"{path}: is damaged or no source bundle ({err}); pack or download it again") from err
    except OSError as err:
        raise SourceError(f"{path}: cannot be read or unpacked: {err}") from err
