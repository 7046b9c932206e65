"""A small process that starts jobs by forking itself, so that a job does not pay for a Python start-up.

Run as a file: `python -I -S fork_server.py RUNTIME_ZIP`. Standard library only. It reads one JSON object a line
from stdin, {"folder", "argv", "environ"}, and answers each with a line: {"pid": n}, {"already": true},
{"error": text}, or {"refused": text} if the job's folder is damaged. It also writes a line {"ended": true} when
one of its jobs ends. It exits at the end of stdin. Its jobs run on, because each has its own session.

A job's life is a lock on the file `lock` in its folder: held by the child from before the answer until it
ends, so that whoever comes later can tell a live job from a dead one without trusting process ids.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import sys

TYPE_CHECKING = False  # typing is slow to import, and this program is on every short trial's way
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


DAMAGED = (errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENOTDIR, errno.ENXIO)  # see runtime.plain_files


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback; the agent starts another launcher
    sys.path.insert(0, sys.argv[1])
    from smsweep.runtime import system  # from the zip that was just put on the path
    from smsweep.runtime.job import child_reaper, entrypoint

    child_reaper.prepare()
    system.uptime_s()  # the zip need not be there any more when a job begins

    def entry(argv: list[str]) -> int:
        child_reaper.become_reaper()
        return entrypoint.main(argv)

    signal.signal(signal.SIGCHLD, on_child)
    for line in sys.stdin:
        if not line.endswith("\n"):
            return  # the agent was killed as it wrote
        order = json.loads(line)
        with contextlib.suppress(Exception):
            entrypoint.prepare_fork(order["folder"], order["environ"])
        try:
            answer = start(order, entry)
        except OSError as err:
            answer = trouble(err)
        try:
            say(answer)
        except BrokenPipeError:  # the agent was killed meanwhile; the job goes on
            return


def say(answer: dict[str, Any]) -> None:
    os.write(1, (json.dumps(answer) + "\n").encode())  # one write: an event cannot get into an answer


def on_child(number: int, frame: object) -> None:
    """Reap what has ended; how it ended is in its folder."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            with contextlib.suppress(OSError):  # the agent has gone
                say({"ended": True})


def trouble(err: OSError) -> dict[str, Any]:
    """Return the answer for a job that cannot start: refused for good, or an error that may pass (a full disk)."""
    if err.errno in DAMAGED:
        return {"refused": f"{err.filename} is not what smsweep puts there"}
    return {"error": str(err)}


def start(order: dict[str, Any], entry: Callable[[list[str]], int]) -> dict[str, Any]:
    """Fork the job unless its folder shows that it was started before."""
    from smsweep.runtime.system import open_plain

    folder = order["folder"]
    lock = open_plain(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT, 0o600)  # noqa: PTH118
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return {"already": True}
        # One of them is enough: the script may have deleted the others, and must not run twice.
        if any(os.path.lexists(os.path.join(folder, name)) for name in ("pid", "uptime", "exit_code")):  # noqa: PTH118
            return {"already": True}
        return fork(order, entry)
    finally:
        os.close(lock)  # the child's copy keeps the lock


def fork(order: dict[str, Any], entry: Callable[[list[str]], int]) -> dict[str, Any]:
    """Start the child, and wait until it has written down that it was, or said why it could not."""
    heard, told = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(heard)
        os.close(told)
        raise
    if pid == 0:
        os.close(heard)
        run_child(order, entry, told)
    os.close(told)
    with open(heard, "rb") as file:  # noqa: PTH123
        said = file.read()
    return json.loads(said) if said else {"pid": pid}


def run_child(order: dict[str, Any], entry: Callable[[list[str]], int], told: int) -> None:
    """Be the job: take a session and a log of its own, run the entrypoint, leave its exit code behind.

    told: hears why that cannot begin, as an answer, and is closed once it has.
    """
    from smsweep.runtime.system import open_plain, uptime_s, write_whole

    folder, begun_s = order["folder"], uptime_s()

    def write(name: str, text: str) -> None:
        write_whole(os.path.join(folder, name), text)  # noqa: PTH118

    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), 0)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        log = open_plain(os.path.join(folder, "output.log"), flags, 0o600)  # noqa: PTH118
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        write("pid", str(os.getpid()))  # by nobody else: a launcher that is killed now leaves no doubt
        os.close(told)
    except BaseException as err:  # noqa: BLE001 - it must not get back into the launcher's loop
        answer = trouble(err) if isinstance(err, OSError) else {"error": type(err).__name__}
        with contextlib.suppress(OSError):
            os.write(told, json.dumps(answer).encode())
        os._exit(70)
    with contextlib.suppress(OSError):
        write("uptime", json.dumps([begun_s]))
    code = 70  # EX_SOFTWARE: our own failure, not the script's
    try:
        os.environ.clear()
        os.environ.update(order["environ"])
        code = entry(order["argv"])
    except BaseException as err:  # noqa: BLE001 - whatever it was, the folder must say how the job ended
        with contextlib.suppress(OSError):
            os.write(2, ("smsweep: %s: %s\n" % (type(err).__name__, err)).encode())  # noqa: UP031
    finally:
        with contextlib.suppress(OSError):
            write("uptime", json.dumps([begun_s, uptime_s()]))
        with contextlib.suppress(OSError):
            write("exit_code", str(code))
        os._exit(code & 0xFF)


if __name__ == "__main__":
    main()
