"""A local copy of a store in S3, and consistent backups of SQLite files."""

from __future__ import annotations

import json
import os
import re
import secrets
import sqlite3
from collections.abc import Collection
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from smsweep.errors import StoreDamaged, StoreError
from smsweep.remote.s3_store.s3_object import S3Store, Version
from smsweep.store.base import ParseStored, Store
from smsweep.store.tables import VERSION_TABLE
from smsweep.util.atomic_file import exclusive, write_text

KNOWN = "known.json"  # records the version of the newest copy
LOCK = "lock"
# Age in seconds after which files of other processes are removed.
COPY_AGE_S = 60.0
DRAFT_AGE_S = 3_600.0  # a download can take long; drafts of killed processes remain


def snapshot(source: Path, target: Path) -> None:
    """Copy the store at one moment into a new, single file.

    Args:
        source: SQLite file of the store.
        target: The new file. It is replaced if it exists.
    """
    target.unlink(missing_ok=True)
    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copy:
        original.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")


def keep_only(file: Path, sweep_ids: Collection[str]) -> None:
    """Delete all other sweeps, with their data, from a copy."""
    with closing(sqlite3.connect(file, isolation_level=None)) as copy:
        copy.execute("PRAGMA foreign_keys = ON")
        marks = ", ".join("?" * len(sweep_ids))
        copy.execute(f"DELETE FROM sweeps WHERE id NOT IN ({marks})", tuple(sweep_ids))  # noqa: S608 - only marks # nosec B608
        copy.execute("VACUUM")


def check_copy(file: Path, name: str) -> None:
    """Check that a downloaded file is a store with a sweep, before the file is opened as a store.

    Opening an empty file as a store would create tables in it.

    Args:
        file: A single SQLite file. It is not changed.
        name: Origin of the file, for the error.

    Raises:
        StoreDamaged: If the file is not a store with a sweep.
    """
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as copy:
            versions = copy.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchmany(2)  # noqa: S608 # nosec B608 - our own table
            sweeps = copy.execute("SELECT id FROM sweeps LIMIT 1").fetchall()
    except sqlite3.Error as err:
        raise StoreDamaged(f"{name}: not a store of smsweep: {err}") from err
    if len(versions) != 1 or not re.fullmatch(r"\d{1,9}", str(versions[0][0]), re.ASCII) or not sweeps:
        raise StoreDamaged(f"{name}: not a store of smsweep with a sweep")


class Changes:
    """Detects changes of a store by other connections.

    Args:
        file: SQLite file of the store.
    """

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)

    def version(self) -> int:
        """Return a number that changes with each transaction of other connections."""
        (number,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(number)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy:
    """A local copy of the store."""

    store: Store
    file: Path
    written_at: datetime
    trouble: str = ""  # why a newer version could not be downloaded; "" if this is the newest


class Replica:
    """Local copy of one sweep's store. Several processes can use the same folder.

    Args:
        folder: Folder for the files.
        s3_store: The store in S3.
        parse: Parses the stored sweep.yaml and job.yaml.
    """

    def __init__(self, folder: Path, s3_store: S3Store, parse: ParseStored) -> None:
        self._folder = folder
        self._s3_store = s3_store
        self._parse = parse
        self._open: Copy | None = None

    def newest(self) -> Copy:
        """Return the newest version. If S3 cannot be read, return the last local copy with the error.

        Raises:
            StoreUnavailable: If S3 does not respond, and there is no local copy.
            StoreError: If the store cannot be read, and there is no local copy.
            NotFound: If the store does not exist.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        etag, _, _ = self._known()
        draft = self._folder / f"{os.getpid()}-{secrets.token_hex(4)}.part"
        failure: StoreError | None = None
        try:
            version = self._s3_store.fetch(draft, known=etag)
            if version is not None:
                check_copy(draft, self._s3_store.uri)
        except StoreError as err:
            version, failure = None, err
        with exclusive(self._folder / LOCK):  # so that no other process removes a copy that is being opened
            if version is not None:
                try:
                    return self._replace(draft, version)
                except StoreError as err:
                    failure = err
            draft.unlink(missing_ok=True)
            _, name, written_at = self._known()
            if name:
                return self._open_known(name, written_at, trouble=str(failure) if failure else "")
        if failure:
            raise failure
        return self.newest()  # another process has removed the known copy

    def _replace(self, draft: Path, version: Version) -> Copy:
        """Open a downloaded version, and make it the last copy. The caller holds the lock."""
        file = draft.with_suffix(".db")
        draft.rename(file)
        try:
            opened = self._open_file(file)  # first, so that an unreadable store does not replace the last copy
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        self._keep(version.etag, file.name, version.written_at)
        self.close()
        self._open = Copy(store=opened, file=file, written_at=version.written_at)
        return self._open

    def _open_known(self, name: str, written_at: datetime, trouble: str) -> Copy:
        """Open the last copy, unless it is open. The caller holds the lock."""
        if self._open is None or self._open.file.name != name:
            self.close()
            file = self._folder / name
            self._open = Copy(store=self._open_file(file), file=file, written_at=written_at)
        return replace(self._open, trouble=trouble) if trouble else self._open

    def forget(self) -> None:
        """Discard the copy, because it was written to. The next read downloads the store."""
        self.close()
        (self._folder / KNOWN).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the copy."""
        if self._open is not None:
            self._open.store.close()
            self._open = None

    def _open_file(self, file: Path) -> Store:
        from smsweep.store.open import open_store  # SQLAlchemy is slow to import

        return open_store(f"sqlite:///{file}", environ={}, parse=self._parse)

    def _known(self) -> tuple[str, str, datetime]:
        try:
            known = json.loads((self._folder / KNOWN).read_text(encoding="utf-8"))
            if (self._folder / known["file"]).exists():
                return known["etag"], known["file"], datetime.fromisoformat(known["written_at"])
        except (OSError, ValueError, KeyError):
            pass
        return "", "", datetime.now(timezone.utc)

    def _keep(self, etag: str, name: str, written_at: datetime) -> None:
        """Record the last copy, and remove older files. Other processes can still open or write the newer ones."""
        known = {"etag": etag, "file": name, "written_at": written_at.isoformat()}
        write_text(self._folder / KNOWN, json.dumps(known))
        now_s = (self._folder / name).stat().st_mtime  # by the clock of the file system
        for pattern, age_s in (("*.db*", COPY_AGE_S), ("*.part", DRAFT_AGE_S)):
            for old in self._folder.glob(pattern):
                with suppress(OSError):
                    if not old.name.startswith(name) and now_s - old.stat().st_mtime > age_s:
                        old.unlink()
