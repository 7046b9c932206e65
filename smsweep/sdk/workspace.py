"""The folder that holds everything of a user's sweeps, and what is opened in it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from smsweep.config.sweep_yaml import parse_sweep
from smsweep.errors import NotFound, NotInStore, SourceError
from smsweep.jobs import RUNTIME_ZIP, SOURCE_TAR
from smsweep.sdk.away.record import has_records
from smsweep.source.bundle import bundle_path
from smsweep.source.runtime_zip import runtime_zip
from smsweep.store.base import Store
from smsweep.store.open import DEFAULT_DIR, FILE_NAME, IGNORE_FILE, home_dir, make_home, open_store, store_file
from smsweep.store.routed import Elsewhere, RoutedStore
from smsweep.sweeps import SweepConfig
from smsweep.tables import LazyTable
from smsweep.trials import Trial

MOST_TRIALS = 2**63 - 1  # what a database counts to
AWAY: LazyTable[Callable[..., Elsewhere]] = LazyTable({"Away": "smsweep.sdk.away.elsewhere:Away"})  # needs boto3


class Workspace:
    """`SMSWEEP_DIR`, by default ./.smsweep: the store, the source bundles and the jobs of this machine."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self.environ: Mapping[str, str] = dict(os.environ if environ is None else environ)
        self.dir = home_dir(self.environ)
        self.jobs_dir = self.dir / "jobs"
        self.bundles_dir = self.dir / "bundles"

    @property
    def store_file(self) -> Path | None:
        """The store's file; None for a database that others reach, too. Raises UsageError for what is neither."""
        return store_file(self.environ)

    @property
    def has_store(self) -> bool:
        return self._has_database or has_records(self.dir)

    @property
    def _has_database(self) -> bool:
        return bool(self.environ.get("SMSWEEP_STORE")) or (self.dir / FILE_NAME).exists()

    def make(self) -> None:
        """Make the folder, before anything is written into it."""
        make_home(self.environ)

    @contextmanager
    def made(self) -> Iterator[None]:
        """Make the folder; one that was not there before goes again where nothing gets into it."""
        was_there = self.dir.exists()
        self.make()
        try:
            yield
        except BaseException:
            if not was_there and [path.name for path in self.dir.iterdir()] == [IGNORE_FILE]:
                (self.dir / IGNORE_FILE).unlink()
                self.dir.rmdir()
            raise

    @contextmanager
    def store(self, *, create: bool = False, read_only: bool = False) -> Iterator[Store]:
        """Open the store (`SMSWEEP_STORE`, by default a SQLite file in the folder) and close it afterwards.

        create: make it where it is missing; otherwise that raises NotFound. read_only: it refuses writes.
        """
        if not create and not self.has_store:
            raise NotFound(
                f"{self.dir}: there are no sweeps here; go to the folder where yours were created, "
                f"or set SMSWEEP_DIR to the {DEFAULT_DIR} folder there"
            )
        read_only = read_only and self._has_database
        store: Store = open_store(environ=self.environ, parse=read_stored, read_only=read_only)
        if has_records(self.dir):
            away = AWAY["Away"](self.dir, self.environ, read_stored)
            store = RoutedStore(store, away, read_only=read_only)
        try:
            yield store
        finally:
            store.close()

    def runtime_zip(self) -> Path:
        """Return the zip of the in-job runtime, written once per content."""
        path = self.dir / "runtime" / f"{_runtime_hash()}.zip"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(f".{os.getpid()}.part")
            draft.write_bytes(runtime_zip())
            draft.rename(path)
        return path

    def assets_path(self, source_hash: str) -> Path:
        """Return where `assets` puts its folder, whether it is there or not. Its name says what is in it."""
        return self.dir / "assets" / f"{_runtime_hash()}-{source_hash[:16] or 'none'}"

    def assets(self, source_hash: str) -> Path:
        """Return the folder that a job's `smsweep` channel shows: the runtime's zip and the source's tarball."""
        folder = self.assets_path(source_hash)
        if folder.exists():
            return folder
        runtime = self.runtime_zip()
        draft = folder.with_name(f".{folder.name}.{os.getpid()}")
        draft.mkdir(parents=True, exist_ok=True)
        _link(runtime, draft / RUNTIME_ZIP)
        if source_hash:
            bundle = bundle_path(self.bundles_dir, source_hash)
            if not bundle.exists():
                raise SourceError(
                    f"{bundle}: the sweep's source snapshot is not in this folder; "
                    "run the agent where the sweep was created, or set SMSWEEP_DIR to that place"
                )
            _link(bundle, draft / SOURCE_TAR)
        try:
            draft.rename(folder)
        except OSError:  # another agent was first
            shutil.rmtree(draft, ignore_errors=True)
        return folder


def find_trial(store: Store, sweep_id: str, number: int) -> Trial:
    """Return a trial that a person named. Raises NotFound, also for one that was removed."""
    if number > MOST_TRIALS:
        raise NotInStore(f"sweep {sweep_id} has no trial {number}")
    trial = store.get_trial(sweep_id, number)
    if trial.is_removed:
        raise NotInStore(f"trial {trial.label} was removed from its sweep; its params may be tried by another now")
    return trial


def _runtime_hash() -> str:
    return hashlib.sha256(runtime_zip()).hexdigest()[:16]


def read_stored(text: str) -> SweepConfig:
    """Read a config that was validated when its sweep was created."""
    return parse_sweep(text).config


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
