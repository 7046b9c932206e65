#!/usr/bin/env python3
"""The program of a SLURM job: runs the entrypoint of one trial on a node of the cluster.

sbatch receives this file, with the arguments RUNTIME_ZIP, FOLDER and those of the entrypoint. It uses only the
standard library. It writes the same files as a job of the process backend, so that the agent reads them from the
shared file system. A folder that shows an earlier start is not started again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys

STARTED_FILES = ("pid", "uptime", "exit_code")  # see local/job_folder.py


def main(runtime_zip: str, folder: str, argv: list[str]) -> int:
    """Run the job in this process, and return its exit code."""
    sys.path.insert(0, runtime_zip)
    from smsweep.runtime.job import child_reaper, entrypoint  # from the zip, which is on the path now
    from smsweep.runtime.system import open_plain, uptime_s, write_whole

    def write(name: str, text: str) -> None:
        write_whole(os.path.join(folder, name), text)  # noqa: PTH118

    lock = open_plain(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT, 0o600)  # noqa: PTH118
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0  # another job of this trial runs
    except OSError:
        pass  # the file system has no locks; the files below show the start
    if any(os.path.lexists(os.path.join(folder, name)) for name in STARTED_FILES):  # noqa: PTH118
        return 0
    started_s = uptime_s()
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    log = open_plain(os.path.join(folder, "output.log"), flags, 0o600)  # noqa: PTH118
    write("pid", str(os.getpid()))
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    write("uptime", json.dumps([started_s]))
    child_reaper.prepare()
    child_reaper.become_reaper()
    code = 70  # EX_SOFTWARE: a failure of smsweep, not of the script
    try:
        code = entrypoint.main(argv)
    finally:
        with contextlib.suppress(OSError):
            write("uptime", json.dumps([started_s, uptime_s()]))
        write("exit_code", str(code))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
