"""Pack a source into one archive. The same content has the same hash on any machine."""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import stat
import tarfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from smsweep.errors import SourceError
from smsweep.secrets.scan import SHOWN_FINDINGS, FileScan, Finding, refuse_secrets
from smsweep.source.bundle import Bundle, Member, bundle_path, content_hash, open_bundle
from smsweep.source.collect import SourceFile

log = logging.getLogger(__name__)

GZIP_LEVEL = 6
CHUNK = 1024**2  # bytes held in memory at a time


def pack(
    files: Iterable[SourceFile],
    into: Path,
    *,
    other_findings: Sequence[Finding] = (),
    known: Sequence[str] = (),
    refuses: bool = True,
) -> Bundle:
    """Write `<hash>.tar.gz` into a folder of bundles.

    An intact bundle with the same content is reused. The archive gets its name only when it is complete on the
    disk; a crash leaves at most a hidden `*.partial` file. Each file is read once, so that the content that is
    hashed and scanned for secrets is the content that is packed.

    Args:
        files: The files of the source.
        into: The folder of bundles, which is created if necessary.
        other_findings: Secrets found elsewhere, which are reported together with those in the files.
        known: Secrets that the files must not contain, whatever their form.
        refuses: Raise an error if there is a secret. Otherwise warn, and mark the bundle so that `refuse_upload`
            refuses it.

    Returns:
        The bundle.

    Raises:
        SourceError: If a file is removed, changes or cannot be read, if there is a secret, or the folder cannot be
            written.
    """
    partial = into / f".{uuid.uuid4().hex}.partial"
    made = [folder for folder in (into, *into.parents) if not folder.exists()]
    try:
        into.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial.touch(mode=0o644, exist_ok=False)  # not writable by other users, independent of the umask
        with partial.open("wb") as raw:
            readers = _write(files, raw, known)
            findings = [*other_findings, *(finding for reader in readers for finding in reader.findings)]
            if refuses:
                refuse_secrets(findings)
            raw.flush()
            os.fsync(raw.fileno())
        members = tuple(reader.member() for reader in readers)
        source_hash = content_hash(members)
        path = bundle_path(into, source_hash)
        if findings:  # before the bundle, so that a crash leaves no bundle without its mark
            _mark(path, findings)
        if not _is_intact(path, source_hash):
            partial.replace(path)
            _sync_folder(into)
        return Bundle(hash=source_hash, path=path, size=path.stat().st_size, members=members)
    except OSError as err:
        raise SourceError(
            f"{into}: the source bundle cannot be written: {err.strerror or err}; "
            "free some space, or set SMSWEEP_DIR to another folder"
        ) from err
    finally:
        with suppress(OSError):
            partial.unlink()
        with suppress(OSError):  # the folder contains a bundle
            for folder in made:
                folder.rmdir()


def refuse_upload(bundles: Path, source_hash: str) -> None:
    """Raise SourceError if a bundle must not leave this machine, because `pack` found a secret in it.

    Args:
        bundles: The folder of bundles.
        source_hash: Hash of the source; "" for none.
    """
    mark = _mark_path(bundle_path(bundles, source_hash))
    if source_hash and mark.exists():
        places = "\n".join(f"  {line}" for line in mark.read_text(encoding="utf-8").splitlines())
        raise SourceError(
            "the source of this sweep contains a secret, so only processes of this machine can run it:\n"
            f"{places}\n"
            "remove the secret, use `secrets:` in job.yaml, and create the sweep again; "
            "if it is not a secret, write `# smsweep: allow-secret` on its line"
        )


def _mark(path: Path, findings: Sequence[Finding]) -> None:
    _mark_path(path).write_text("".join(f"{finding}\n" for finding in findings), encoding="utf-8")
    places = "\n".join(f"  {finding}" for finding in findings[:SHOWN_FINDINGS])
    log.warning(
        "the source contains a secret:\n%s\n"
        "processes of this machine can run it, but SageMaker, AWS Batch, Docker and uploads refuse this source; "
        "use `secrets:` in job.yaml instead",
        places,
    )


def _mark_path(bundle: Path) -> Path:
    return bundle.with_name(f"{bundle.name}.secrets")


def hash_files(
    files: Iterable[SourceFile],
    *,
    other_findings: Sequence[Finding] = (),
    known: Sequence[str] = (),
    refuses: bool = True,
) -> str:
    """Return the hash of `pack` without writing a file. Raises SourceError like `pack`."""
    readers = []
    for file in files:
        with open_listed(file, known) as reader:
            while reader.read(min(CHUNK, file.size - reader.n_read)):
                pass
        readers.append(reader)
    if refuses:
        refuse_secrets([*other_findings, *(finding for reader in readers for finding in reader.findings)])
    return content_hash(reader.member() for reader in readers)


def _write(files: Iterable[SourceFile], raw: IO[bytes], known: Sequence[str]) -> list[_HashingReader]:
    readers = []
    # The headers contain no file name, time or owner, so that they do not depend on the machine or time.
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=GZIP_LEVEL, fileobj=raw, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for file in sorted(files, key=lambda file: file.name):
            info = tarfile.TarInfo(file.name)
            info.size = file.size
            with open_listed(file, known) as reader:
                info.mode = reader.member().mode
                tar.addfile(info, reader)  # type: ignore[arg-type]  # tarfile calls only read()
            readers.append(reader)
    return readers


class _HashingReader:
    """Reads a file, and raises SourceError if it has changed since it was listed."""

    def __init__(self, file: SourceFile, raw: IO[bytes], known: Sequence[str]) -> None:
        self.n_read = 0
        self.findings: list[Finding] = []  # complete after `scan`
        self._file = file
        self._raw = raw
        self._digest = hashlib.sha256()
        self._scan = FileScan(file.name, known)

    def read(self, n: int) -> bytes:
        """Read n bytes. Raises SourceError if the file has fewer."""
        try:
            data = self._raw.read(n)
        except OSError as err:
            raise SourceError(f"{self._file.path}: cannot be read: {err.strerror}") from err
        if len(data) < n:
            raise _changed(self._file)
        self.n_read += len(data)
        self._digest.update(data)
        if not self._file.may_hold_secrets:
            self._scan.feed(data)
        return data

    def scan(self) -> None:
        """Scan the content for secrets."""
        self.findings = self._scan.findings()
        del self._scan  # frees the content

    def member(self) -> Member:
        """Return the member for this file."""
        return Member(
            name=self._file.name,
            size=self._file.size,
            is_executable=self._file.is_executable,
            sha256=self._digest.hexdigest(),
        )


@contextmanager
def open_listed(file: SourceFile, known: Sequence[str] = ()) -> Iterator[_HashingReader]:
    """Open a listed file for reading. Raises SourceError if it changes before the end of the block."""
    try:
        raw = file.path.open("rb")
    except FileNotFoundError as err:
        raise _changed(file) from err
    except OSError as err:
        raise SourceError(
            f"{file.path}: cannot be read: {err.strerror}; add it to .smsweepignore if the script does not need it"
        ) from err
    with raw:
        before = os.fstat(raw.fileno())
        if before.st_size != file.size:
            raise _changed(file)
        reader = _HashingReader(file, raw, known)
        yield reader
        after = os.fstat(raw.fileno())
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise _changed(file)
    reader.scan()


def _changed(file: SourceFile) -> SourceError:
    return SourceError(
        f"{file.path}: changed or was removed while the source was packed; try again, "
        "or add it to .smsweepignore if a program keeps writing it"
    )


def _is_intact(path: Path, source_hash: str) -> bool:
    """Return True if a bundle has the content of its name, and no other user can change it."""
    try:
        info = path.lstat()
        if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o022:
            return False
        open_bundle(path, expect=source_hash)
    except (FileNotFoundError, SourceError):
        return False
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
