"""The fork server: a small process that starts jobs by forking itself, which is faster than to start Python.

Run it as a file: `python -I -S fork_server.py RUNTIME_ZIP`. It uses only the standard library. It reads requests
from stdin, one JSON object per line: {"folder", "argv", "environ"}, and {"claim", "cpus"} of a job with devices.
It answers each with one line: {"pid": n}, {"already": true}, {"error": text}, or {"refused": text} if the job's
folder is damaged. When one of its jobs has ended, it writes the line {"ended": folder}. It exits at the end of
stdin. Its jobs continue, because each has its own session.

Each job holds a lock on the file `lock` in its folder, from before the answer until its end. So another process
can check whether a job runs, without process ids.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import json
import os
import select
import signal
import sys

TYPE_CHECKING = False  # typing is slow to import, which delays the first job
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_running: dict[int, str] = {}  # pid -> folder of each job
_environ: dict[str, str] = {}  # the variables that `set_environ` has set
START_S = 60.0  # how long a job's process may need until it has written its `pid` file
DAMAGED = (errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENOTDIR, errno.ENXIO)  # see runtime.system.open_plain


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # exit without a traceback; the agent starts another server
    sys.path.insert(0, sys.argv[1])
    from smsweep.runtime import system  # from the zip, which is on the path now
    from smsweep.runtime.job import child_reaper, entrypoint

    child_reaper.prepare()
    system.uptime_s()  # import its dependencies now: the zip may be deleted before a job starts

    def entry(order: dict[str, Any]) -> int:
        child_reaper.become_reaper()
        return entrypoint.main(order["argv"], pid_file=os.path.join(order["folder"], "group"))  # noqa: PTH118

    gc.collect()
    gc.freeze()  # a collection in a job does not write to the memory that it shares with this process
    signal.signal(signal.SIGCHLD, on_child)
    for line in sys.stdin:
        if not line.endswith("\n"):
            return  # the agent was killed while it wrote the request
        order = json.loads(line)
        with contextlib.suppress(Exception):
            entrypoint.prepare_fork(order["folder"], order["argv"], order["environ"])
            set_environ(order["environ"])
        try:
            answer = start(order, entry)
        except OSError as err:
            answer = failure(err)
        try:
            send(answer)
        except BrokenPipeError:  # the agent was killed meanwhile; the job continues
            return


def send(answer: dict[str, Any]) -> None:
    """Write one line to stdout."""
    os.write(1, (json.dumps(answer) + "\n").encode())  # a single write, so that an event does not split an answer


def on_child(number: int, frame: object) -> None:
    """Reap the jobs that have ended. Their exit codes are in their folders."""
    with contextlib.suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            if folder := _running.pop(pid, ""):  # otherwise a program of `prepare_fork` has ended
                with contextlib.suppress(OSError):  # the agent has exited
                    send({"ended": folder})


def failure(err: OSError) -> dict[str, Any]:
    """Return the answer for a job that cannot start: `refused` if it never can, else `error`."""
    if err.errno in DAMAGED:
        return {"refused": f"{err.filename} was not written by smsweep"}
    return {"error": str(err)}


def start(order: dict[str, Any], entry: Callable[[dict[str, Any]], int]) -> dict[str, Any]:
    """Start the job, unless its folder shows an earlier start."""
    from smsweep.runtime.system import open_plain

    folder = order["folder"]
    lock = open_plain(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT, 0o600)  # noqa: PTH118
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return {"already": True}
        # One file is enough: the script may have deleted the others, and must not run twice.
        if any(os.path.lexists(os.path.join(folder, name)) for name in ("pid", "uptime", "exit_code")):  # noqa: PTH118
            return {"already": True}
        claim = hold_claim(order["claim"]) if "claim" in order else None
        try:
            return fork(order, entry)
        finally:
            if claim is not None:
                os.close(claim)
    finally:
        os.close(lock)  # the child's copy keeps the lock


def hold_claim(path: str) -> int:
    """Lock the claim of a job's devices for the job, and return the descriptor that the job inherits.

    The agent holds the claim as well until the job has started. If the agent was killed, another agent may have
    removed the claim and used the devices.

    Raises:
        OSError: If the claim was removed.
    """
    from smsweep.runtime.system import open_plain

    claim = open_plain(path)
    try:
        fcntl.flock(claim, fcntl.LOCK_SH)
        if os.fstat(claim).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "another agent removed the claim of the devices", path)
    except BaseException:
        os.close(claim)
        raise
    return claim


def fork(order: dict[str, Any], entry: Callable[[dict[str, Any]], int]) -> dict[str, Any]:
    """Fork the job's process. Wait until it has written its `pid` file, or has reported why it cannot start.

    A process that hangs, for example on a file system that does not answer, is not killed: it may start later. It
    holds the lock of its folder, so the job does not start a second time.
    """
    reader, writer = os.pipe()
    # A job can end before its folder is in `_running`; `on_child` then waits for the folder.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    try:
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            run_child(order, entry, writer)
        _running[pid] = order["folder"]
    except OSError:
        os.close(reader)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        os.close(writer)
    with open(reader, "rb") as file:  # noqa: PTH123
        if not select.select([file], [], [], START_S)[0]:
            folder = order["folder"]
            return {"error": f"its process {pid} did not start within {START_S:.0f} s; check the disk of {folder}"}
        answer = file.read()
    return json.loads(answer) if answer else {"pid": pid}


def set_environ(environ: dict[str, str]) -> None:
    """Make the variables of a job the environment of this process.

    The server sets them before each fork, because most variables are the same for all jobs. The job sets them
    again: then nothing changes, or the job reports the variable that the system does not accept.
    """
    for name in os.environ.keys() - environ.keys():
        del os.environ[name]
        _environ.pop(name, None)
    for name, value in environ.items():
        if _environ.get(name) != value:
            os.environ[name] = _environ[name] = value


def run_child(order: dict[str, Any], entry: Callable[[dict[str, Any]], int], writer: int) -> None:
    """Run the job in this process: create its session and log, run the entrypoint, and write its exit code.

    Args:
        order: The request.
        entry: The entrypoint.
        writer: The write end of a pipe. It gets an answer if the job cannot start, and is closed at the start.
    """
    from smsweep.runtime.system import open_plain, uptime_s, write_whole

    folder, started_s = order["folder"], uptime_s()

    def write(name: str, text: str) -> None:
        write_whole(os.path.join(folder, name), text)  # noqa: PTH118

    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])  # `fork` has blocked it
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), 0)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        log = open_plain(os.path.join(folder, "output.log"), flags, 0o600)  # noqa: PTH118
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        write("pid", str(os.getpid()))  # not by the server, which can be killed between fork and write
        os.close(writer)
    except BaseException as err:  # noqa: BLE001 - the child must not return to the server's loop
        answer = failure(err) if isinstance(err, OSError) else {"error": type(err).__name__}
        with contextlib.suppress(OSError):
            os.write(writer, json.dumps(answer).encode())
        os._exit(70)
    with contextlib.suppress(OSError):
        write("uptime", json.dumps([started_s]))
    code = 70  # EX_SOFTWARE: a failure of smsweep, not of the script
    try:
        if order.get("cpus") and sys.platform == "linux":
            os.sched_setaffinity(0, order["cpus"])
        set_environ(order["environ"])
        code = entry(order)
    except BaseException as err:  # noqa: BLE001 - the folder must always get an exit code
        with contextlib.suppress(OSError):
            os.write(2, ("smsweep: %s: %s\n" % (type(err).__name__, err)).encode())  # noqa: UP031
    finally:
        with contextlib.suppress(OSError):
            write("uptime", json.dumps([started_s, uptime_s()]))
        with contextlib.suppress(OSError):
            write("exit_code", str(code))
        os._exit(code & 0xFF)


if __name__ == "__main__":
    main()
