"""Install a source folder's requirements.txt before its script starts."""

from __future__ import annotations

import os

from smsweep.runtime.failure import MAX_CHARS, JobFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from smsweep.runtime.supervise import Supervisor

FILE = "requirements.txt"


def install_requirements(supervisor: Supervisor, *, python: str, folder: str, env: Mapping[str, str]) -> None:
    """Run pip if folder has a requirements.txt; pip's output goes to the job's log.

    python: the interpreter that will run the script. Raises JobFailure with pip's last lines.
    """
    if not os.path.isfile(os.path.join(folder, FILE)):
        return
    argv = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-r", FILE]
    ended = supervisor.run(argv, cwd=folder, env=env)
    if ended.exit_code:
        last = ended.tail.decode("utf-8", "replace").strip()[-MAX_CHARS // 2 :]
        raise JobFailure(f"{FILE}: pip ended with exit code {ended.exit_code}:\n{last}", exit_code=ended.exit_code)
