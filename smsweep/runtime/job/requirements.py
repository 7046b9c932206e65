"""Install a source folder's requirements.txt before its script starts."""

from __future__ import annotations

import os

from smsweep.runtime.job.failure import MAX_CHARS, JobFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from smsweep.runtime.job.supervisor import Supervisor

FILE = "requirements.txt"
LONGEST = 256  # characters of one complaint: the end of the output must fit into a failure's reason as well


def install_requirements(supervisor: Supervisor, *, python: str, folder: str, env: Mapping[str, str]) -> None:
    """Run pip if folder has a requirements.txt; pip's output goes to the job's log.

    python: the interpreter that will run the script. Raises JobFailure with pip's last lines.
    """
    if not os.path.isfile(os.path.join(folder, FILE)):
        return
    argv = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-r", FILE]
    ended = supervisor.run(argv, cwd=folder, env=env)
    if ended.exit_code:
        said = describe_failure(ended.exit_code, ended.tail.decode("utf-8", "replace"))
        raise JobFailure(said, exit_code=ended.exit_code)


def describe_failure(exit_code: int, output: str) -> str:
    """Return why pip failed: its last complaint in the first line, which is all that tables show, then the rest.

    output: pip's, or the end of it.
    """
    output = output.strip()
    lines = output.splitlines() or ["it said nothing"]
    complaints = [line for line in lines if line.lower().startswith("error:")] or lines
    return f"{FILE}: pip ended with exit code {exit_code}: {complaints[-1][:LONGEST]}\n{output[-MAX_CHARS // 2 :]}"
