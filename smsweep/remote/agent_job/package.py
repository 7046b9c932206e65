"""Source bundle of a detached agent: the package, its requirements and the script that starts the agent."""

from __future__ import annotations

import tempfile
from pathlib import Path

from smsweep.remote.agent_job import main
from smsweep.remote.agent_job.request import PROGRAM
from smsweep.source.bundle import Bundle
from smsweep.source.collect import SourceFile
from smsweep.source.pack import pack

PACKAGE = Path(main.__file__).parents[2]
PINS = PACKAGE / "requirements"
LEFT_OUT = {"__pycache__"}


def pack_agent(into: Path, extras: tuple[str, ...] = ()) -> Bundle:
    """Pack the installed smsweep as a source bundle that runs an agent.

    Args:
        into: Folder for the bundle.
        extras: Extras of smsweep that the agent needs, such as postgres.
    """
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text(requirements(extras), encoding="utf-8")
        files = [_file("requirements.txt", wanted), _file(PROGRAM, Path(main.__file__))]
        for path in sorted(PACKAGE.rglob("*")):
            name = path.relative_to(PACKAGE.parent).as_posix()
            if path.is_file() and not LEFT_OUT & set(path.parts):
                files.append(_file(name, path))
        return pack(files, into)


def requirements(extras: tuple[str, ...] = ()) -> str:
    """Return the requirement file of an agent's job.

    Args:
        extras: Extras of smsweep, such as postgres. Each has a file in smsweep/requirements.

    Returns:
        Exact versions with hashes, and the options that make pip reject all other files. pip downloads nothing in
        an image that has these versions.
    """
    return "".join((PINS / f"{name}.txt").read_text(encoding="utf-8") for name in ("base", *extras))


def _file(name: str, path: Path) -> SourceFile:
    # The rules that find secrets have patterns that look like secrets.
    return SourceFile(name=name, path=path, size=path.stat().st_size, is_executable=False, may_hold_secrets=True)
