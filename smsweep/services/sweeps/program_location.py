"""Where a sweep's source lies: the folder that is snapshotted, and the program in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from smsweep.config_files.job_yaml import ParsedJob
from smsweep.config_files.sweep_yaml import ParsedSweep, parse_sweep
from smsweep.core.sweep import SweepConfig
from smsweep.errors import SourceError
from smsweep.runtime.job.command_macros import runs_program


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
