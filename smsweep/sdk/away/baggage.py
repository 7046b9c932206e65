"""What an agent far away needs of smsweep itself: the package, what it depends on, and how it is started."""

from __future__ import annotations

import re
import tempfile
from importlib import metadata
from pathlib import Path

from smsweep.fleet import agent_job
from smsweep.sdk.away.launch import PROGRAM
from smsweep.source.bundle import Bundle
from smsweep.source.collect import SourceFile
from smsweep.source.pack import pack

PACKAGE = Path(agent_job.__file__).parent.parent
LEFT_OUT = {"__pycache__"}
EXTRA = re.compile(r"""extra\s*==\s*['"](?P<name>[\w-]+)['"]""")


def pack_agent(into: Path, extras: tuple[str, ...] = ()) -> Bundle:
    """Pack this smsweep as a source that runs an agent. extras: of it, such as postgres."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text("".join(f"{line}\n" for line in requirements(extras)))
        files = [_file("requirements.txt", wanted), _file(PROGRAM, Path(agent_job.__file__))]
        for path in sorted(PACKAGE.rglob("*")):
            name = path.relative_to(PACKAGE.parent).as_posix()
            if path.is_file() and not LEFT_OUT & set(path.parts):
                files.append(_file(name, path))
        return pack(files, into)


def requirements(extras: tuple[str, ...] = ()) -> list[str]:
    """Return what this smsweep was installed with, as ranges: an image that has it all needs no network."""
    found = []
    for line in metadata.requires("smsweep") or ():
        requirement, _, marker = line.partition(";")
        extra = EXTRA.search(marker)
        if extra is None:
            found.append(line)
        elif extra["name"] in extras:
            found.append(requirement.strip())
    return found


def _file(name: str, path: Path) -> SourceFile:
    # The rules that find secrets are full of what looks like some.
    return SourceFile(name=name, path=path, size=path.stat().st_size, is_executable=False, may_hold_secrets=True)
