"""An interpreter that hides what only Linux has, so that tests reach the fallbacks for macOS.

It reports the platform `darwin`. /proc does not exist, and neither do functions such as prctl(2), which
`child_reaper` loads on Linux only. psutil keeps its access to processes, because it has its own code for macOS.

`python without_linux.py [-I] [-S] FILE [ARGUMENT ...]` runs a file, as an interpreter does. Forks inherit the
state; other programs that the file starts do not.
"""

from __future__ import annotations

import builtins
import io
import os
import runpy
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

LINUX_ONLY = ("eventfd", "fdatasync", "memfd_create", "pidfd_open", "pipe2", "sched_getaffinity", "waitid")


def interpreter(folder: Path) -> Path:
    """Write a program into a folder that runs this module as an interpreter, and return its path."""
    file = folder / "python-without-linux"
    file.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" "$@"\n')
    file.chmod(0o755)
    return file


def hide(change: Callable[[Any, str, Any], object] = setattr) -> None:
    """Hide Linux in this process.

    Args:
        change: Sets an attribute of a module: `setattr`, or a function that also restores it later.
    """
    import psutil

    sysconfig.get_config_vars()  # loads a module that is named after the platform
    change(psutil, "PROCFS_PATH", "//proc")  # the same folder; the prefix passes `without_proc`
    change(sys, "platform", "darwin")
    for function, module in ((open, builtins), (open, io), (os.listdir, os), (os.scandir, os), (os.readlink, os)):
        change(module, function.__name__, without_proc(function))


def without_proc(function: Callable[..., Any]) -> Callable[..., Any]:
    def replacement(path: Any = ".", *arguments: Any, **options: Any) -> Any:
        if isinstance(path, (str, os.PathLike)) and f"{os.fspath(path)}/".startswith("/proc/"):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return function(path, *arguments, **options)

    return replacement


def main() -> None:
    hide()
    for name in LINUX_ONLY:
        if hasattr(os, name):
            delattr(os, name)
    arguments = [argument for argument in sys.argv[1:] if argument not in ("-I", "-S")]
    sys.executable = os.environ.get("PYTHON_WITHOUT_LINUX", sys.executable)
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main()
