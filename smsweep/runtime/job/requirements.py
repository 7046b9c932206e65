"""Install a source folder's requirements.txt before its script starts, and find the interpreter of the script.

W&B's `${interpreter}` is always `python`, but many images have only `python3`. If PATH has no `python`, the
interpreter of the entrypoint, which is a Python of the same image, is used.
"""

from __future__ import annotations

import os

from smsweep.runtime.job.command_macros import ENV, INTERPRETER
from smsweep.runtime.job.failure import MAX_CHARS, JobFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from smsweep.runtime.job.supervisor import Supervisor

FILE = "requirements.txt"
# pip, run by the interpreter for which it installs. Environments that uv creates have no pip. Python's ensurepip
# contains a wheel of pip, which runs without an installation.
PIP = f"""
import glob, importlib.util, os, runpy, shutil, sys
if importlib.util.find_spec("pip") is None:
    wheels = []
    if importlib.util.find_spec("ensurepip"):
        import ensurepip
        bundled = os.path.join(os.path.dirname(ensurepip.__file__), "_bundled")
        for folder in (bundled, getattr(ensurepip, "_WHEEL_PKG_DIR", None) or "/usr/share/python-wheels"):
            wheels += glob.glob(os.path.join(folder, "pip-*.whl"))
    uv = shutil.which("uv")
    if wheels:
        sys.path.insert(0, wheels[0])
    elif uv:
        os.execv(uv, [uv, "pip", "install", "--python", sys.executable, "-r", {FILE!r}])
    else:
        problem = sys.executable + " has neither pip nor ensurepip, and PATH has no uv"
        sys.exit("error: " + problem + "; install pip or uv in the image")
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
LONGEST = 256  # characters of one error line: the end of the output must fit into the reason as well


def install_requirements(supervisor: Supervisor, *, python: str, folder: str, env: Mapping[str, str]) -> None:
    """Run pip if the folder has a requirements.txt. pip's output is written to the job's log.

    If the interpreter has no pip, the pip of its ensurepip or uv installs the requirements.

    Args:
        supervisor: Runs pip.
        python: The interpreter that will run the script.
        folder: The source folder.
        env: Environment for pip.

    Raises:
        JobFailure: With pip's last lines, if pip fails.
    """
    if not os.path.isfile(os.path.join(folder, FILE)):
        return
    argv = [python, "-c", PIP, "install", "--disable-pip-version-check", "--no-input", "-r", FILE]
    ended = supervisor.run(argv, cwd=folder, env=env)
    if ended.exit_code:
        reason = describe_failure(ended.exit_code, ended.tail.decode("utf-8", "replace"))
        raise JobFailure(reason, exit_code=ended.exit_code)


def describe_failure(exit_code: int, output: str) -> str:
    """Return why pip failed: its last error in the first line (tables show only that line), then its output.

    Args:
        exit_code: Exit code of pip.
        output: Output of pip, or the end of it.
    """
    output = output.strip()
    lines = output.splitlines() or ["pip printed nothing"]
    errors = [line for line in lines if line.lower().startswith("error:")] or lines
    return f"{FILE}: pip ended with exit code {exit_code}: {errors[-1][:LONGEST]}\n{output[-MAX_CHARS // 2 :]}"


def with_interpreter(argv: Sequence[str], *, path: str, fallback: str) -> list[str]:
    """Return argv with a missing `python` replaced by `fallback`, and without `/usr/bin/env` if it has no effect.

    The start of `/usr/bin/env` takes a tenth of the start of Python. It stays in front of its own options, of
    variables, and of a program that is not on PATH.

    Args:
        argv: The command.
        path: The job's PATH.
        fallback: The interpreter that runs now; "" if unknown.
    """
    argv = list(argv)
    if argv[:1] == [ENV] and (not os.path.exists(ENV) or (len(argv) > 1 and _is_program(argv[1], path))):
        argv = argv[1:]
    at = 1 if argv[:1] == [ENV] else 0
    if fallback and argv[at : at + 1] == [INTERPRETER] and not find(INTERPRETER, path):
        argv[at] = fallback
    return argv


def _is_program(word: str, path: str) -> bool:
    return not word.startswith("-") and not {"=", "/"} & {*word} and bool(find(word, path))


def find(program: str, path: str) -> str:
    """Return the path of a program on PATH; "" if PATH does not have it."""
    for folder in path.split(os.pathsep):
        candidate = os.path.join(folder or ".", program)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    return ""
