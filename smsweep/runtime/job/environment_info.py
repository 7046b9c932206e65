"""What a trial's script has around it: its Python and the packages there, read from names of files alone."""

from __future__ import annotations

import functools
import glob
import json
import os
import platform
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Tuple

FILE = "environment.json"


def leave_surroundings(folder: str, interpreter: str) -> None:
    """Write them into a folder as JSON; nothing where that is not possible, for no trial depends on it.

    interpreter: the path of the Python that runs the script.
    """
    try:
        path = os.path.join(folder, FILE)
        with open(path + ".part", "w", encoding="utf-8") as file:
            json.dump(known_surroundings(interpreter), file)
        os.replace(path + ".part", path)
    except (OSError, ValueError):
        pass


def known_surroundings(interpreter: str) -> Dict[str, Any]:
    """Return `surroundings`; what a process found out once holds as long as nobody installs anything."""
    return _found(interpreter, tuple(map(_changed_at, _folders(interpreter))))


def surroundings(interpreter: str) -> Dict[str, Any]:
    """Return `python`, `platform` and `packages` ("name==version", by name). Takes a millisecond.

    Of another Python than this one: what lies where its packages usually do, and the version as far as files tell.
    """
    folders = _folders(interpreter)
    return {
        "python": platform.python_version() if _is_this(interpreter) else _version(_prefix(interpreter), folders),
        "platform": platform.platform(),
        "packages": _packages(folders),
    }


@functools.lru_cache(maxsize=4)
def _found(interpreter: str, changed_at: Tuple[int, ...]) -> Dict[str, Any]:
    return surroundings(interpreter)


@functools.lru_cache(maxsize=4)
def _folders(interpreter: str) -> List[str]:
    """Return where its packages are: on the path if it is this Python, then where they usually are."""
    prefix = _prefix(interpreter)
    usual = [
        *glob.glob(os.path.join(prefix, "lib", "python3*", "site-packages")),
        *glob.glob(os.path.join(prefix, "lib", "python3*", "dist-packages")),
        *(glob.glob("/usr/local/lib/python3*/dist-packages") if prefix == "/usr" else []),
    ]
    return [*filter(os.path.isdir, sys.path if _is_this(interpreter) else ()), *usual]


def _changed_at(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


def _is_this(interpreter: str) -> bool:
    return _prefix(interpreter) == _prefix(sys.executable or interpreter)


def _prefix(interpreter: str) -> str:
    # Not its real path: a virtual environment's is a link to the Python that it was made from.
    return os.path.dirname(os.path.dirname(os.path.abspath(interpreter)))


def _packages(folders: List[str]) -> List[str]:
    found: Dict[str, str] = {}
    for folder in folders:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            stem, ending = os.path.splitext(name)
            package, _, version = stem.partition("-")
            if ending in (".dist-info", ".egg-info") and version:
                found.setdefault(package, version.partition("-py")[0])  # the first on the path is the one imported
    return [f"{name}=={found[name]}" for name in sorted(found, key=str.lower)]


def _version(prefix: str, folders: List[str]) -> str:
    try:
        with open(os.path.join(prefix, "pyvenv.cfg"), encoding="utf-8") as file:
            pairs = dict(line.partition("=")[::2] for line in file)
        settings = {key.strip(): value.strip() for key, value in pairs.items()}
        return settings.get("version") or settings["version_info"]
    except (OSError, ValueError, KeyError):
        names = {os.path.basename(os.path.dirname(folder)) for folder in folders}
        return max((name[len("python") :] for name in names if "." in name), default="")
