"""What lies in the working directory but not in the snapshot of the source, in copies of which trials run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from smsweep.core.sweep import SweepConfig
from smsweep.source.collect import SourceFile
from smsweep.space.distribution import Listed

MOST_VALUES = 100  # of each parameter
NOT_CARRIED = "no part of the source's snapshot, in which trials run"
A_WAY = "on this machine an absolute path leads to it, see docs/source.md"

_NOT_FOUND = re.compile(r"No such file or directory: '([^'/][^']*)'")
_NO_MODULE = re.compile(r"No module named '(\w+\.[\w.]+)'")  # its package was found


def left_behind(config: SweepConfig, folder: Path, files: Sequence[SourceFile]) -> list[str]:
    """Say which paths of the folder the command and the values of params name that are not among the files."""
    carried = {str(path) for file in files for path in (file.name, *PurePosixPath(file.name).parents)}
    return [
        f"{place}: {name} is {NOT_CARRIED}; {A_WAY}"
        for place, name in _names(config)
        # a word without a slash is hardly ever meant for a path, and `wandb` lies in many folders
        if "/" in name and _is_here(name, folder) and os.path.relpath(folder / name, folder) not in carried
    ]


def lost(reasons: Iterable[str]) -> str:
    """Say which file trials failed to find although it lies in the working directory; "" for none."""
    for reason in reasons:
        for name in _NOT_FOUND.findall(reason):
            if _is_here(name, Path()):
                return f"{name} lies here, but is {NOT_CARRIED}; {A_WAY}"
        for module in _NO_MODULE.findall(reason):  # a `_version.py` that git ignores, say
            for name in (f"{base}{module.replace('.', '/')}.py" for base in ("", "src/")):
                if _is_here(name, Path()):
                    return f"{name} lies here, but is {NOT_CARRIED}; name it in .smsweepignore as !/{name}"
    return ""


def _names(config: SweepConfig) -> Iterator[tuple[str, str]]:
    """Yield each text that may be a path, after its place in the config."""
    for index, item in enumerate(config.command):
        yield f"command[{index}]", item.rpartition("=")[2]
    for path, leaf in config.space.leaves:
        values = map(leaf.value_at, range(leaf.size or 0)) if isinstance(leaf, Listed) else ()
        for value in islice(values, MOST_VALUES):
            if isinstance(value, str):
                yield f"parameters.{'.'.join(path)}", value


def _is_here(name: str, folder: Path) -> bool:
    return not os.path.isabs(name) and os.path.lexists(folder / name)  # noqa: PTH117
