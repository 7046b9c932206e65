"""Script of a detached agent's training job: it starts the agent, and restarts it if a signal kills it.

Standard library only. The job has this file as agent.py beside the package. The runtime that starts the script is
another program, with its own modules of the package on the path.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

RESTART_PAUSES_S = (
    1.0,
    5.0,
    30.0,
)  # before an agent that a signal has killed is restarted; the usual cause is too little memory
MAX_KILLS = 20


def main() -> int:
    """Run the agent, and return its exit code. Restart the agent if a signal kills it."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--sweep", required=True)
    parser.add_argument("--kept-at", default="")
    parser.add_argument("--source", default="")
    options, rest = parser.parse_known_args()
    code_dir = Path(__file__).resolve().parent
    folder = str(code_dir / ".smsweep")
    # SageMaker makes /opt/ml writable for all users of the container. The container runs only this job.
    env = {**os.environ, "PYTHONPATH": str(code_dir), "SMSWEEP_DIR": folder, "SMSWEEP_TRUSTED_DIRS": folder}
    argv = [sys.executable, "-m", "smsweep.cli.main", "agent", options.sweep, "--backend", "sagemaker", "--yes"]
    argv += ["--kept-at", options.kept_at] if options.kept_at else []
    argv += ["--source", options.source] if options.source else []
    argv += rest
    kills = 0
    received: list[int] = []
    child: list[subprocess.Popen[bytes]] = []

    def forward(number: int, frame: object) -> None:
        received.append(number)
        for process in child:
            process.send_signal(number)

    signal.signal(signal.SIGTERM, forward)
    while True:
        child[:] = [subprocess.Popen(argv, env=env, cwd=code_dir)]
        code = child[0].wait()
        if code >= 0 or received:
            return code if code >= 0 else 128 - code
        kills += 1
        if kills > MAX_KILLS:
            return 128 - code
        pause_s = RESTART_PAUSES_S[min(kills, len(RESTART_PAUSES_S)) - 1]
        sys.stderr.write(f"the agent was killed by signal {-code}; restarting it in {pause_s:g} s\n")
        time.sleep(pause_s)


if __name__ == "__main__":
    sys.exit(main())
