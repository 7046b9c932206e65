"""Searches that are programs of the user's own (`scheduler.source`): where their text is, and if it may run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
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
from smsweep.secrets.redact import known_secrets
from smsweep.secrets.scan import refuse_secrets, scan_text
from smsweep.store import notes
from smsweep.store.base import Store

MAX_BYTES = 1_000_000  # of that text


def read_code(config: SweepConfig, job: ParsedJob, origin: Path | None) -> str:
    """Return the text of the program; "" where there is none. origin: as for `placed`.

    Raises ConfigError, SourceError for a secret in it.
    """
    file = _file(config)
    if not file:
        return ""
    looked = source_folders(job, origin)
    path = next((folder / file for folder in looked if holds(folder, file)), None)
    if path is None:
        raise ConfigError(
            f"scheduler.source: {file} was not found in {' and '.join(map(str, looked))}; run from its folder"
        )
    try:
        with path.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
        text = content.decode()
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"scheduler.source: {file} cannot be read: {err}") from err
    if len(content) > MAX_BYTES:
        raise ConfigError(f"scheduler.source: {file} has more than {MAX_BYTES:,} bytes; name a smaller file")
    if not text.strip():
        raise ConfigError(f"scheduler.source: {file} is empty")
    refuse_secrets(scan_text(file, text, known_secrets(os.environ, job.template)))
    return text


def with_code(config: SweepConfig, code: str) -> SweepConfig:
    """Return the config with the program's text, for the search to run. Raises ConfigError without consent."""
    if not code:
        return config
    refuse_code([search_code(_file(config), code)], os.environ)
    return replace(config, scheduler={**(config.scheduler or {}), "code": code})


def codes_of(config: SweepConfig, code: str, template: JobTemplate) -> list[Code]:
    """Return the code that needs consent before a sweep is created or run. code: as from `read_code`."""
    return [*([search_code(_file(config), code)] if code else []), *hook_codes(template.notify)]


def has_program(config: SweepConfig) -> bool:
    """Return True if the search is a program of the user's own."""
    return bool(_file(config))


def config_of(store: Store, sweep: Sweep) -> SweepConfig:
    """Return a stored sweep's config, as `with_code`."""
    return with_code(sweep.config, stored_code(store, sweep))


def stored_code(store: Store, sweep: Sweep) -> str:
    """Return the text of a stored sweep's program; "" where it has none.

    Raises:
        ConfigError: If the text is not the one that the sweep was created with.
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
    """Return the text that another sweep has of this config's program; "" where it has none."""
    other = store.get_sweep(sweep_id)
    return stored_code(store, other) if _file(other.config) == _file(config) else ""


def _file(config: SweepConfig) -> str:
    scheduler = config.scheduler or {}
    return str(scheduler.get("source", "")) if scheduler.get("engine") == "optuna" else ""


def placed(parsed: ParsedSweep, job: ParsedJob, origin: Path | None) -> ParsedSweep:
    """Return the sweep with its program named from the folder that is snapshotted; one that is already, as it is.

    An absolute path would run the file itself, whatever becomes of it, and one with `..` none at all. origin: the
    folder of the sweep's file; None for a config given in Python.
    """
    program = parsed.config.program
    if program is None or not _leaves(program):
        return parsed
    folders = source_folders(job, origin)
    for base in folders:
        target = Path(os.path.normpath(base / program))
        for folder in folders if target.is_file() else ():
            if target.is_relative_to(folder):
                name = target.relative_to(folder).as_posix()
                if next(other for other in folders if holds(other, name)) != folder:
                    break  # another file of that name would go first
                moved = parse_sweep({**parsed.config.document, "program": name})
                note = f"program: {program} is run as {name}, from the snapshot of {folder}"
                return replace(moved, warnings=(*parsed.warnings, note))
    return parsed


def source_dir(config: SweepConfig, job: ParsedJob, origin: Path | None) -> Path | None:
    """Return the folder to snapshot; None for a sweep of a Python function.

    job.yaml's source_dir, else the working directory if what runs is there (as W&B takes it), else the folder of
    the sweep's file. Raises SourceError when the program is in neither.
    """
    folders, program = source_folders(job, origin), config.program
    if job.template.source_dir:
        return folders[0]
    if program is None and "${program}" in config.command:
        return None
    if program is not None and not runs_program(config.command, program):
        program = None  # W&B starts the command alone, whatever else the program names
    names = [program] if program is not None else []
    for folder in folders:
        if any(holds(folder, name) for name in (*names, *_named(config.command, program))):
            return folder
    if program is None or (os.sep not in program and shutil.which(program)):
        return folders[-1]
    looked = " and ".join(map(str, folders))
    if any((folder / program).is_file() for folder in folders):
        raise SourceError(
            f"program: {program} lies outside {looked}, where the source is taken from; "
            "run from a folder above it, or name its folder as source_dir in job.yaml"
        )
    raise SourceError(
        f"program: {program} was not found in {looked}; "
        "run from its folder, or name the folder as source_dir in job.yaml"
    )


def source_folders(job: ParsedJob, origin: Path | None) -> list[Path]:
    """Return where the source may be, the likelier first."""
    if job.template.source_dir:
        return [Path(job.template.source_dir)]
    here = Path.cwd()
    return [here] if origin is None or origin == here else [here, origin]


def _named(command: Sequence[str], program: str | None) -> Iterator[str]:
    """Yield the files that a command of the sweep's own may run: words, and modules after `-m`.

    A program counts only as a module: it is looked for as a file anyway.
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
    paths = (folder / name, folder / name / "__main__.py")  # Python runs a folder, too
    return not _leaves(name) and any(map(os.path.isfile, paths))  # a word may be no path at all


def _leaves(name: str) -> bool:
    path = Path(name)
    return path.is_absolute() or ".." in path.parts
