"""What the training job of a detached agent runs: it installs nothing, starts the agent, and sees it through.

Standard library only. It travels beside the package as agent.py; the runtime that starts it is another program,
which keeps its own few modules of the same name on the path.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

AGAIN_S = (1.0, 5.0, 30.0)  # before an agent that was killed is started again: out of memory, most likely
MOST_DEATHS = 20


def main() -> int:
    """Return the agent's exit code; one that a signal killed is started again, and goes on where it was."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--sweep", required=True)
    parser.add_argument("--kept-at", default="")
    parser.add_argument("--source", default="")
    options, rest = parser.parse_known_args()
    here = Path(__file__).resolve().parent
    folder = str(here / ".smsweep")
    # The platform makes /opt/ml writable to every user of the container, and the container is this job's alone.
    env = {**os.environ, "PYTHONPATH": str(here), "SMSWEEP_DIR": folder, "SMSWEEP_TRUSTED_DIRS": folder}
    argv = [sys.executable, "-m", "smsweep.cli.main", "agent", options.sweep, "--backend", "sagemaker"]
    argv += ["--kept-at", options.kept_at] if options.kept_at else []
    argv += ["--source", options.source] if options.source else []
    argv += rest
    deaths = 0
    told: list[int] = []
    child: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, frame: object) -> None:
        told.append(number)
        for process in child:
            process.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    while True:
        child[:] = [subprocess.Popen(argv, env=env, cwd=here)]
        code = child[0].wait()
        if code >= 0 or told:
            return code if code >= 0 else 128 - code
        deaths += 1
        if deaths > MOST_DEATHS:
            return 128 - code
        pause_s = AGAIN_S[min(deaths, len(AGAIN_S)) - 1]
        sys.stderr.write(f"the agent was killed by signal {-code}; starting it again in {pause_s:g} s\n")
        time.sleep(pause_s)


if __name__ == "__main__":
    sys.exit(main())
