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
LONGEST = 256  # characters of one error line: the end of the output must fit into the reason as well


def install_requirements(supervisor: Supervisor, *, python: str, folder: str, env: Mapping[str, str]) -> None:
    """Run pip if the folder has a requirements.txt. pip's output is written to the job's log.

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
    argv = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-r", FILE]
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
