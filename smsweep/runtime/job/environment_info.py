"""Record the Python and the installed packages of a trial's script. Reads only the names of files."""

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


def write_environment_info(folder: str, interpreter: str) -> None:
    """Write environment.json into a folder. Errors are ignored, because no trial depends on this file.

    Args:
        folder: Where to write the file.
        interpreter: Path of the Python that runs the script.
    """
    try:
        path = os.path.join(folder, FILE)
        with open(path + ".part", "w", encoding="utf-8") as file:
            file.write(cached_environment_info(interpreter))
        os.replace(path + ".part", path)
    except (OSError, ValueError):
        pass


def cached_environment_info(interpreter: str) -> str:
    """Return `environment_info` as JSON, cached until a folder with packages changes."""
    return _cached(interpreter, tuple(map(_changed_at, _folders(interpreter))))


def environment_info(interpreter: str) -> Dict[str, Any]:
    """Return `python`, `platform` and `packages` ("name==version", sorted by name). Takes a millisecond.

    If `interpreter` is not this Python, the packages are those in its usual folders, and the version is read
    from files ("" if unknown).
    """
    folders = _folders(interpreter)
    return {
        "python": platform.python_version() if _is_this(interpreter) else _version(_prefix(interpreter), folders),
        "platform": platform.platform(),
        "packages": _packages(folders),
    }


@functools.lru_cache(maxsize=4)
def _cached(interpreter: str, changed_at: Tuple[int, ...]) -> str:
    return json.dumps(environment_info(interpreter))


@functools.lru_cache(maxsize=4)
def _folders(interpreter: str) -> List[str]:
    """Return the folders of its packages: those on sys.path if it is this Python, then the usual folders."""
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
    # Not the real path: the interpreter of a virtual environment is a link to another Python.
    return os.path.dirname(os.path.dirname(os.path.abspath(interpreter)))


def _packages(folders: List[str]) -> List[str]:
    versions: Dict[str, str] = {}
    for folder in folders:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            stem, ending = os.path.splitext(name)
            package, _, version = stem.partition("-")
            if ending in (".dist-info", ".egg-info") and version:
                versions.setdefault(package, version.partition("-py")[0])  # Python imports the first on its path
    return [f"{name}=={versions[name]}" for name in sorted(versions, key=str.lower)]


def _version(prefix: str, folders: List[str]) -> str:
    try:
        with open(os.path.join(prefix, "pyvenv.cfg"), encoding="utf-8") as file:
            pairs = dict(line.partition("=")[::2] for line in file)
        settings = {key.strip(): value.strip() for key, value in pairs.items()}
        return settings.get("version") or settings["version_info"]
    except (OSError, ValueError, KeyError):
        names = {os.path.basename(os.path.dirname(folder)) for folder in folders}
        return max((name[len("python") :] for name in names if "." in name), default="")
