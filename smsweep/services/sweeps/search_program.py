"""User code in a sweep's config: search programs (`scheduler.source`), and the folder of the training program."""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from smsweep.config_files.code_consent import Code, digest_of, hook_codes, refuse_code, search_code
from smsweep.config_files.job_yaml import ParsedJob
from smsweep.config_files.sweep_yaml import ParsedSweep, parse_sweep
from smsweep.core.job import JobTemplate
from smsweep.core.sweep import Sweep, SweepConfig
from smsweep.errors import ConfigError, SourceError
from smsweep.runtime.job.command_macros import runs_program
from smsweep.search.optuna_program import SweepInfo
from smsweep.secrets.redact import known_secrets
from smsweep.secrets.scan import refuse_secrets, scan_text
from smsweep.store import notes
from smsweep.store.base import Store

MAX_BYTES = 1_000_000  # of a search program
MAX_FOLDERS = 500  # that an error message searches for a program


def read_code(config: SweepConfig, job: ParsedJob, origin: Path | None) -> str:
    """Read the text of the search program.

    Args:
        config: The sweep config.
        job: The job.yaml.
        origin: Folder of the sweep's file; None for a config from Python.

    Returns:
        The text; "" without a search program.

    Raises:
        ConfigError: If the file is missing, empty, too large, or not UTF-8 text.
        SourceError: If the text contains a secret.
    """
    file = _file(config)
    if not file:
        return ""
    folders = source_folders(job, origin)
    path = next((folder / file for folder in folders if holds(folder, file)), None)
    if path is None:
        raise ConfigError(
            f"scheduler.source: {file} was not found in {' and '.join(map(str, folders))}; run from its folder"
        )
    try:
        with path.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
        text = content.decode()
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"scheduler.source: {file} cannot be read: {err}; give a readable UTF-8 file") from err
    if len(content) > MAX_BYTES:
        raise ConfigError(f"scheduler.source: {file} has more than {MAX_BYTES:,} bytes; name a smaller file")
    if not text.strip():
        raise ConfigError(f"scheduler.source: {file} is empty; give a Python file with the search")
    refuse_secrets(scan_text(file, text, known_secrets(os.environ, job.template)))
    return text


def with_code(config: SweepConfig, code: str, sweep_id: str = "", name: str | None = None) -> SweepConfig:
    """Return the config with the text of the search program, and what the program can know about the sweep.

    Args:
        config: The sweep config.
        code: The text of the search program; "" without one.
        sweep_id: The id of the sweep; "" before it is created.
        name: The name of the sweep.

    Raises:
        ConfigError: If the user has not consented to the code.
    """
    if not code:
        return config
    refuse_code([search_code(_file(config), code)], os.environ)
    info = SweepInfo.of(config, sweep_id, name)
    return replace(config, scheduler={**(config.scheduler or {}), "code": code, "sweep": info})


def codes_of(config: SweepConfig, code: str, template: JobTemplate) -> list[Code]:
    """Return all code that needs consent before a sweep is created or run. code: see `read_code`."""
    return [*([search_code(_file(config), code)] if code else []), *hook_codes(template.notify)]


def has_program(config: SweepConfig) -> bool:
    """Return True if the search is a program of the user."""
    return bool(_file(config))


def config_of(store: Store, sweep: Sweep) -> SweepConfig:
    """Return a stored sweep's config with the text of its search program. Raises as `with_code` does."""
    return with_code(sweep.config, stored_code(store, sweep), sweep.id, sweep.name)


def stored_code(store: Store, sweep: Sweep) -> str:
    """Return the text of a stored sweep's search program; "" without one.

    Raises:
        ConfigError: If the text has changed since the sweep was created.
    """
    file = _file(sweep.config)
    note = notes.SEARCH_CODE.get(store, sweep.id) if file else ""
    code = note if isinstance(note, str) else ""
    if code and digest_of(code) != sweep.code_hash:
        raise ConfigError(
            f"scheduler.source: {file}: the code in the store ({digest_of(code)}) is not the code that sweep "
            f"{sweep.id} was created with ({sweep.code_hash or 'none'}); find out who changed it, and create the "
            "sweep again"
        )
    return code


def code_like(store: Store, sweep_id: str, config: SweepConfig) -> str:
    """Return another sweep's text of the same search program; "" if that sweep has a different program."""
    other = store.get_sweep(sweep_id)
    return stored_code(store, other) if _file(other.config) == _file(config) else ""


def _file(config: SweepConfig) -> str:
    scheduler = config.scheduler or {}
    return str(scheduler.get("source", "")) if scheduler.get("engine") == "optuna" else ""


def placed(parsed: ParsedSweep, job: ParsedJob, origin: Path | None) -> ParsedSweep:
    """Return the sweep with its program as a path relative to the source folder, with a warning if it changed.

    Jobs run the snapshot. An absolute path runs the original file instead, and a path with `..` does not exist in
    a job.

    Args:
        parsed: The sweep config.
        job: The job.yaml.
        origin: Folder of the sweep's file; None for a config from Python.
    """
    program = parsed.config.program
    if program is None or not _is_outside(program):
        return parsed
    folders = source_folders(job, origin)
    for base in folders:
        target = Path(os.path.normpath(base / program))
        for folder in folders if target.is_file() else ():
            if target.is_relative_to(folder):
                name = target.relative_to(folder).as_posix()
                if next(other for other in folders if holds(other, name)) != folder:
                    break  # an earlier folder has a file with the same name
                moved = parse_sweep({**parsed.config.document, "program": name})
                note = f"program: {program} is run as {name}, from the snapshot of {folder}"
                return replace(moved, warnings=(*parsed.warnings, note))
    return parsed


def source_dir(config: SweepConfig, job: ParsedJob, origin: Path | None) -> Path | None:
    """Return the folder to snapshot; None for a sweep of a Python function or of an image's own program.

    This is `source_dir` of the job.yaml. Without it: the working directory if it contains the program (as in W&B),
    else the folder of the sweep's file.

    Raises:
        SourceError: If no folder contains the program.
    """
    if job.template.runs_image:
        return None
    folders, program = source_folders(job, origin), config.program
    if job.template.source_dir:
        return folders[0]
    if program is None and "${program}" in config.command:
        return None
    if program is not None and not runs_program(config.command, program):
        program = None  # the command does not run the program, as in W&B
    names = [program] if program is not None else []
    for folder in folders:
        if any(holds(folder, name) for name in (*names, *_named(config.command, program))):
            return folder
    if program is None or (os.sep not in program and shutil.which(program)):
        return folders[-1]
    places = " and ".join(map(str, folders))
    if any((folder / program).is_file() for folder in folders):
        raise SourceError(
            f"program: {program} is outside {places}, which smsweep searches for the source; "
            "run from a folder above it, or set source_dir in job.yaml to its folder"
        )
    seen = next(filter(None, (_folder_below(folder, program) for folder in folders)), None)
    there = f", but there is {seen / program}" if seen else ""
    raise SourceError(
        f"program: {program} was not found in {places}{there}; "
        f"run from {seen or 'its folder'}, or set source_dir in job.yaml to {seen or 'its folder'}"
    )


def _folder_below(top: Path, name: str) -> Path | None:
    """Return a folder below `top` that contains a file, for an error message. Large trees are searched in part."""
    if _is_outside(name):
        return None
    folders = deque([top])
    for _ in range(MAX_FOLDERS):
        if not folders:
            break
        folder = folders.popleft()
        if folder != top and (folder / name).is_file():
            return folder
        with suppress(OSError):
            below = sorted(each for each in folder.iterdir() if each.is_dir() and not each.is_symlink())
            folders += [each for each in below if not each.name.startswith((".", "_", "node_modules"))]
    return None


def source_folders(job: ParsedJob, origin: Path | None) -> list[Path]:
    """Return the folders to search for the source, in order."""
    if job.template.source_dir:
        return [Path(job.template.source_dir)]
    current = Path.cwd()
    return [current] if origin is None or origin == current else [current, origin]


def _named(command: Sequence[str], program: str | None) -> Iterator[str]:
    """Yield the files that a custom command can run: its arguments, and the modules after `-m`.

    The program is yielded only as a module. `source_dir` looks for the program's file itself.
    """
    for before, item in pairwise(["", *command]):
        word = program if item == "${program}" else item
        if before == "-m" and word:
            module = word.replace(".", "/")
            yield f"{module}.py"
            yield f"{module}/__main__.py"
        elif program is None:
            yield item


def holds(folder: Path, name: str) -> bool:
    """Return True if a folder contains a file, or a folder that Python can run."""
    paths = (folder / name, folder / name / "__main__.py")
    return not _is_outside(name) and any(
        map(os.path.isfile, paths)
    )  # os.path accepts names that are invalid paths


def _is_outside(name: str) -> bool:
    """Return True if a path leads out of the folder that it is relative to."""
    path = Path(name)
    return path.is_absolute() or ".." in path.parts
