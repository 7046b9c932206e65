"""Trials that run in the original source folder: their job template, and the record of what they ran and wrote."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from smsweep.backends.registry import backend_spec
from smsweep.config_files.job_request import overlay
from smsweep.core.job import JobTemplate
from smsweep.core.sweep import Sweep
from smsweep.core.trial import Trial
from smsweep.errors import SourceError, UsageError
from smsweep.secrets.redact import known_secrets
from smsweep.services.backends import DEFAULT_BACKEND, backend_name
from smsweep.services.workspace import Workspace
from smsweep.source.bundle import bundle_path, open_bundle
from smsweep.source.collect import SourceFile, is_program, is_sweep_config, list_files, recordable
from smsweep.source.pack import pack
from smsweep.source.written_files import SMSWEEP, TRIALS, record_written, written_paths
from smsweep.store import notes
from smsweep.store.base import Store

log = logging.getLogger(__name__)

CHECK_SHARE = 10  # a check is repeated after ten times its duration
SHOWN = 5  # changed files in a message
# Files with these suffixes are source, even if they are new. Other new files are output of the trials.
SETTINGS = frozenset((".yaml", ".yml", ".toml", ".cfg", ".ini", ".c", ".cc", ".cpp", ".cu", ".h", ".hpp", ".pyx"))

Stamp = tuple[int, int]  # size and time of the last change


class InPlaceSource:
    """The original folder of a sweep's source, in which its trials run.

    Args:
        store: The store that has the sweep.
        sweep: The sweep.
        workspace: The workspace with the sweep's snapshot.

    Raises:
        UsageError: If the folder is unknown, or is not on this machine.
    """

    def __init__(self, store: Store, sweep: Sweep, workspace: Workspace) -> None:
        self.folder = source_folder_of(store, sweep)
        self._store = store
        self._sweep = sweep
        self._workspace = workspace
        self._hashes: dict[str, tuple[Stamp, str]] = {}  # file -> its stamp, and the hash of its content
        self._recorded: dict[str, str] | None = None  # file of the snapshot -> hash of its content
        self._before = {file.name for file in self._list()}
        self._last: Mapping[str, Stamp] = {}
        self._next_check_s = 0.0  # monotonic
        self._change: dict[str, Any] | None = None  # of the last check

    def placed(self, template: JobTemplate) -> JobTemplate:
        """Return the template of jobs that run in the folder."""
        arguments = template.request.get("AlgorithmSpecification", {}).get("ContainerArguments", [])
        option = {"AlgorithmSpecification": {"ContainerArguments": [*arguments, "--in-place", str(self.folder)]}}
        return replace(template, request=overlay(template.request, option))

    def check(self, trial: Trial) -> None:
        """Record the source of a trial that is about to start, if it differs from the source of the sweep.

        Programs and settings files count. Unchanged files are not read again. In a folder with thousands of files,
        trials that start within a short time share one check.
        """
        started_s = time.monotonic()
        try:
            if started_s >= self._next_check_s:
                files = self._list()
                self.record_outputs(files)
                stamps = {file.name: _stamp(file) for file in files}
                if stamps != self._last:
                    self._change = self._find_change(files)
                    self._last = stamps
                self._next_check_s = started_s + CHECK_SHARE * (time.monotonic() - started_s)
        except (SourceError, OSError) as err:
            log.warning("%s: it is unknown whether its source differs from the sweep's: %s", trial.label, err)
            return
        if self._change is not None:
            notes.changed_source(trial).put(self._store, trial.sweep_id, self._change)
            log.warning(
                "%s runs a source that differs from the source of its sweep: %s",
                trial.label,
                ", ".join(self._change["files"][:SHOWN]),
            )

    def record_outputs(self, files: Iterable[SourceFile] | None = None) -> None:
        """Record the files that trials wrote into the folder, so that no later snapshot includes them."""
        names = {file.name for file in (self._list() if files is None else files)}
        outputs = outputs_in(names, self._before)
        if outputs:
            record_written(self._workspace.dir, (self.folder / name for name in sorted(outputs)), by=TRIALS)

    def _list(self) -> list[SourceFile]:
        home = self._workspace.dir
        return list_files(self.folder, excluded=(home,), written=written_paths(home, by=(SMSWEEP, TRIALS)))

    def _find_change(self, files: list[SourceFile]) -> dict[str, Any] | None:
        if self._recorded is None:
            path = bundle_path(self._workspace.bundles_dir, self._sweep.source_hash)
            members = open_bundle(path, expect=self._sweep.source_hash).members
            self._recorded = {member.name: member.sha256 for member in members}
        source = [
            file
            for file in recordable(files)
            if file.name in self._recorded or (is_source(file.name) and not is_sweep_config(file))
        ]
        now = {file.name: self._hash(file) for file in source}
        counted = {name for name in {*now, *self._recorded} if is_source(name)}
        changed = sorted(name for name in counted if now.get(name) != self._recorded.get(name))
        if not changed:
            return None
        known = known_secrets(self._workspace.environ, self._sweep.job)
        bundle = pack(source, self._workspace.bundles_dir, known=known, refuses=False)
        return {"hash": bundle.hash, "files": changed}

    def _hash(self, file: SourceFile) -> str:
        stamp = _stamp(file)
        known = self._hashes.get(file.name)
        if known is None or known[0] != stamp:
            known = self._hashes[file.name] = (stamp, hashlib.sha256(file.path.read_bytes()).hexdigest())
        return known[1]


def source_folder_of(store: Store, sweep: Sweep) -> Path:
    """Return the folder that a sweep's snapshot was made of. Raises UsageError if it is not on this machine."""
    folder = notes.SOURCE_FOLDER.get(store, sweep.id)
    if not folder:
        raise UsageError(
            f"sweep {sweep.id}: in_place: the original folder of its source is unknown; run its trials in a copy "
            f"of the recorded source: smsweep agent {sweep.id} --no-in-place"
        )
    if not Path(folder).is_dir():
        raise UsageError(
            f"sweep {sweep.id}: in_place: {folder} was moved or deleted, or is on another machine; restore the "
            f"folder, or run trials in a copy of the recorded source: smsweep agent {sweep.id} --no-in-place"
        )
    return Path(folder)


def run_location(sweep_id: str, backend: str | None) -> str:
    """Return one line about the folder in which processes or containers of this machine run; "" for other jobs."""
    workspace = Workspace()
    name = backend_name(backend, workspace)
    with workspace.store() as store:
        sweep, folder = store.get_sweep(sweep_id), notes.SOURCE_FOLDER.get(store, sweep_id)
    if not folder or not backend_spec(name).is_local:
        return ""
    if sweep.job.in_place:
        return f"trials run in {folder}, not in a copy"
    hint = "; --in-place runs them in the folder itself" if name == DEFAULT_BACKEND else ""
    return f"trials run in a copy of {folder}{hint}"


def source_hash_of(store: Store, trial: Trial, sweep: Sweep) -> str:
    """Return the hash of the source that a trial ran: the sweep's, unless the trial recorded another one."""
    changed = notes.changed_source(trial).get(store, sweep.id)
    return str(changed["hash"]) if changed else sweep.source_hash


def is_source(name: str) -> bool:
    """Return True for a program or a settings file."""
    return is_program(name) or PurePosixPath(name).suffix.lower() in SETTINGS


def outputs_in(names: set[str], before: set[str]) -> set[str]:
    """Return the files and folders that trials wrote, without those inside another of them.

    A new folder without programs is output, whatever files it has (`outputs/2024-05-01/.hydra/config.yaml`). A new
    file elsewhere is output if it is neither a program nor a settings file.

    Args:
        names: The files in the source folder, relative to it.
        before: The files in it before the trials started.
    """
    folders_before = {parent for name in before for parent in _folders(name)}
    with_programs = {parent for name in names if is_program(name) for parent in _folders(name)}
    outputs = set()
    for name in names - before:
        new = [f for f in _folders(name) if f not in folders_before and f not in with_programs]
        if new:
            outputs.add(new[0])
        elif not is_source(name):
            outputs.add(name)
    return {name for name in outputs if not any(parent in outputs for parent in _folders(name))}


def _folders(name: str) -> list[str]:
    """Return the folders that contain a file, from the top, without the root."""
    return [parent.as_posix() for parent in reversed(PurePosixPath(name).parents[:-1])]


def _stamp(file: SourceFile) -> Stamp:
    return file.size, file.path.stat().st_mtime_ns
