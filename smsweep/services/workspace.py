"""The workspace folder (`SMSWEEP_DIR`): its store, source bundles, runtime zip and job assets."""

from __future__ import annotations

import errno
import functools
import hashlib
import logging
import os
import re
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO

from smsweep.config_files.job_yaml import parse_stored_job
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.job import RUNTIME_ZIP, SOURCE_TAR, JobTemplate
from smsweep.core.sweep import SweepConfig, with_structure
from smsweep.core.trial import Trial
from smsweep.errors import NotFound, NotInStore, SourceError, StoreDown
from smsweep.remote.record import has_records
from smsweep.remote.s3_store.routed_store import RoutedStore
from smsweep.services.signals import exit_on_sigterm
from smsweep.source.bundle import bundle_path, open_bundle
from smsweep.source.runtime_zip import runtime_zip
from smsweep.store.base import Store
from smsweep.store.home import (
    DEFAULT_DIR,
    FILE_NAME,
    IGNORE_FILE,
    check_contents,
    check_folder,
    check_usable,
    home_dir,
    is_private,
    is_trusted,
    make_home,
)
from smsweep.util.atomic_file import replacing

log = logging.getLogger(__name__)

SOURCE_HASH = re.compile(r"[0-9a-f]{64}")
WAIT_S = 2.0  # seconds between two attempts to open an unavailable store
MOST_TRIALS = 2**63 - 1  # largest integer of the databases


class Workspace:
    """The folder `SMSWEEP_DIR` (default: ./.smsweep) with the store, the source bundles and the local jobs."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        """Create a workspace. This reads and writes no files.

        Args:
            environ: Environment variables. Default: those of this process.
        """
        self.environ: Mapping[str, str] = dict(os.environ if environ is None else environ)

    @functools.cached_property
    def dir(self) -> Path:
        """The folder. Raises UsageError if another user can change it (see `check_folder`)."""
        self.check()
        return home_dir(self.environ)

    @property
    def jobs_dir(self) -> Path:
        """The folder of the local jobs."""
        return self.dir / "jobs"

    @property
    def bundles_dir(self) -> Path:
        """The folder of the source bundles."""
        return self.dir / "bundles"

    @property
    def store_file(self) -> Path | None:
        """The file of a SQLite store; None for a database server. Raises UsageError for an invalid store URL."""
        from smsweep.store.open import store_file  # SQLAlchemy is slow to import

        return store_file(self.environ)

    @property
    def has_store(self) -> bool:
        """True if there is a store, or a record of a sweep whose store is in S3.

        Raises UsageError if the folder cannot be read, or if `SMSWEEP_DIR` names a folder that cannot be created.
        """
        with suppress(OSError):
            if self._has_database or has_records(self.dir):
                return True
        check_usable(self.environ)
        return False

    @property
    def _has_database(self) -> bool:
        return bool(self.environ.get("SMSWEEP_STORE")) or (self.dir / FILE_NAME).exists()

    def make(self) -> None:
        """Create the folder. Call this before you write into it. Raises UsageError as `dir` does."""
        make_home(self.environ)

    def check(self) -> None:
        """Raise UsageError if another user can change the folder."""
        check_folder(home_dir(self.environ), self.environ)

    def check_contents(self) -> None:
        """Raise UsageError if another user owns a job, a snapshot or a record in the folder.

        An agent calls this once at its start, because it executes files that are already in the folder.
        """
        check_contents(self.dir, self.environ)

    @contextmanager
    def made(self) -> Iterator[None]:
        """Create the folder. If the body raises, remove the folder again if it is new and still empty."""
        has_existed = self.dir.exists()
        self.make()
        try:
            yield
        except BaseException:
            if not has_existed and [path.name for path in self.dir.iterdir()] == [IGNORE_FILE]:
                (self.dir / IGNORE_FILE).unlink()
                self.dir.rmdir()
            raise

    @contextmanager
    def store(self, *, create: bool = False, read_only: bool = False) -> Iterator[Store]:
        """Open the store (`SMSWEEP_STORE`, default: a SQLite file in the folder) and close it afterwards.

        Args:
            create: Create the store if it does not exist.
            read_only: Open the store so that it rejects writes.

        Raises:
            NotFound: If the store does not exist and `create` is False.
            UsageError: If another user can change the folder.
            StoreError: If the store cannot be opened.
        """
        self.check()  # each time, because the web server opens the store many times
        if not create and not self.has_store:
            raise NotFound(
                f"{self.dir}: this folder has no sweeps; change to the folder where you created them, "
                f"or set SMSWEEP_DIR to its {DEFAULT_DIR} folder"
            )
        from smsweep.store.open import open_store  # SQLAlchemy is slow to import

        read_only = read_only and self._has_database
        store: Store = open_store(environ=self.environ, parse=read_stored, read_only=read_only)
        if has_records(self.dir):
            from smsweep.remote.s3_store.remote_sweeps import RemoteSweeps  # boto3 is slow to import

            store = RoutedStore(store, RemoteSweeps(self.dir, self.environ, read_stored), read_only=read_only)
        try:
            yield store
        finally:
            store.close()

    def wait_for_store(self) -> None:
        """Wait until the store can be opened. Log each distinct error once.

        Ctrl-C and SIGTERM end the wait.

        Raises:
            SmsweepError: The error of `store`, if waiting cannot help.
        """
        logged = ""
        with exit_on_sigterm() if threading.current_thread() is threading.main_thread() else nullcontext():
            while True:
                try:
                    with self.store():
                        return
                except StoreDown as err:
                    if str(err) != logged:
                        log.error("%s; this agent waits for the store, press Ctrl-C to stop the agent", err)
                    logged = str(err)
                time.sleep(WAIT_S)

    def runtime_zip(self) -> Path:
        """Return the path of the zip file of the in-job runtime. Replace the file if its content is wrong."""
        path = self.dir / "runtime" / f"{_runtime_hash()}.zip"
        if not self._is_runtime(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with replacing(path) as draft, _create(draft) as file:
                file.write(runtime_zip())
        return path

    def assets_path(self, source_hash: str) -> Path:
        """Return the path of the folder that `assets` creates. Raises SourceError for an invalid hash."""
        if source_hash and not SOURCE_HASH.fullmatch(source_hash):
            raise SourceError(
                f"{source_hash!r}: this is not the hash of a source snapshot; create the sweep again"
            )
        return self.dir / "assets" / f"{_runtime_hash()}-{source_hash[:16] or 'none'}"

    def assets(self, source_hash: str) -> Path:
        """Return the folder of a job's `smsweep` channel: the zip of the runtime and the tarball of the source.

        Each call hashes both files: 0.4 s for a source of 100 MB. An agent calls this once. A folder with other
        content is replaced.

        Args:
            source_hash: Hash of the source snapshot; "" for a sweep without source.

        Raises:
            SourceError: If there is no snapshot with that hash, or its content has another hash.
        """
        folder = self.assets_path(source_hash)
        if self._are_assets(folder, source_hash):
            return folder
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
            draft = Path(scratch) / "new"
            draft.mkdir(mode=0o755)
            _copy(self.runtime_zip(), draft / RUNTIME_ZIP)
            if source_hash:
                bundle = bundle_path(self.bundles_dir, source_hash)
                if not bundle.exists():
                    raise SourceError(
                        f"{bundle}: the sweep's source snapshot is not in this folder; "
                        "run the agent where the sweep was created, or set SMSWEEP_DIR to that folder"
                    )
                _copy(bundle, draft / SOURCE_TAR)
                open_bundle(draft / SOURCE_TAR, expect=source_hash)
            self._put(draft, folder, source_hash)
        return folder

    def _put(self, draft: Path, folder: Path, source_hash: str) -> None:
        """Move assets to `folder`. Keep an existing folder with the same content; replace any other."""
        try:
            draft.rename(folder)
        except OSError as err:
            if self._are_assets(folder, source_hash):  # another agent created the same folder
                return
            if err.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            log.warning("%s: the content does not match the hash in the name; smsweep replaces the folder", folder)
            folder.rename(draft.with_name("old"))
            draft.rename(folder)

    def _is_runtime(self, path: Path) -> bool:
        return self._is_own(path) and path.read_bytes() == runtime_zip()

    def _are_assets(self, folder: Path, source_hash: str) -> bool:
        """Return True if a folder holds the runtime and the source with that hash, and nothing else."""
        names = {RUNTIME_ZIP, *([SOURCE_TAR] if source_hash else [])}
        if folder.is_symlink() or not folder.is_dir() or {path.name for path in folder.iterdir()} != names:
            return False
        if not self._is_runtime(folder / RUNTIME_ZIP):
            return False
        try:
            return not source_hash or (
                self._is_own(folder / SOURCE_TAR)
                and bool(open_bundle(folder / SOURCE_TAR, expect=source_hash).members)
            )
        except SourceError:
            return False

    def _is_own(self, path: Path) -> bool:
        """Return True for a regular file that no other user can change."""
        try:
            info = path.lstat()
        except OSError:
            return False
        return is_private(info) or (is_trusted(self.dir, self.environ) and stat.S_ISREG(info.st_mode))


def find_trial(store: Store, sweep_id: str, number: int) -> Trial:
    """Return a trial by its number. Raises NotInStore if the trial does not exist or was removed."""
    if number > MOST_TRIALS:
        raise NotInStore(f"sweep {sweep_id} has no trial {number}")
    trial = store.get_trial(sweep_id, number)
    if trial.is_removed:
        raise NotInStore(
            f"trial {trial.label} was removed from its sweep; list its trials with: smsweep trials {sweep_id}"
        )
    return trial


@functools.cache
def _runtime_hash() -> str:
    return hashlib.sha256(runtime_zip()).hexdigest()[:16]


def read_stored(sweep_yaml: str, job_yaml: str) -> tuple[SweepConfig, JobTemplate]:
    """Parse the texts of a stored sweep. They were validated when the sweep was created."""
    job = parse_stored_job(job_yaml)
    return with_structure(parse_sweep(sweep_yaml, is_stored=True).config, job.search), job


def _copy(source: Path, target: Path) -> None:
    """Hard-link a file that no other user can change; copy any other file."""
    if is_private(source.lstat()):
        with suppress(OSError):  # for example, the target is on another file system
            os.link(source, target)
            return
    with source.open("rb") as file, _create(target) as copy:
        shutil.copyfileobj(file, copy)


def _create(path: Path) -> IO[bytes]:
    """Open a new file that only its owner can write, whatever the umask."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), "wb")
