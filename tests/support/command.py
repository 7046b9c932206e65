"""Runs an smsweep command in a fork of a process that has imported smsweep and its dependencies.

A command then starts in a tenth of a second of CPU time, not in one second. It is a process of its own, with the
arguments, environment, working directory and streams of its caller. The caller starts this file as a small client,
which passes signals on and exits with the command's exit code. If the client is killed, the
command is killed, too.

Tests of the start of Python, of process ids, of terminals and of closed streams use `NEW_PYTHON` instead.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

BUFFER = 65_536
PRELOADED = (
    "boto3",
    "smsweep.backends.process.backend",
    "smsweep.search.coverage",
    "smsweep.search.grid_and_random",
)
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1)


def client(address: str, args: list[str]) -> int:
    """Run a command and return its exit code; negative for a signal."""
    command: list[int] = []  # its pid, once known
    early: list[int] = []  # signals that arrived before

    def forward(number: int, _frame: FrameType | None) -> None:
        if command:
            os.kill(command[0], number)
        else:
            early.append(number)

    ignored = [number for number in FORWARDED if signal.getsignal(number) is signal.SIG_IGN]
    for number in FORWARDED:
        if number not in ignored:
            signal.signal(number, forward)
    fields = [os.getcwd(), ",".join(str(int(number)) for number in ignored), str(len(args)), *args]
    request = b"\0".join(map(os.fsencode, [*fields, *(f"{name}={value}" for name, value in os.environ.items())]))
    with _connect(address) as server:
        socket.send_fds(server, [b"@"], [0, 1, 2])
        server.sendall(request)
        server.shutdown(socket.SHUT_WR)
        command.append(int(_read_line(server)))
        while early:
            os.kill(command[0], early.pop(0))
        return int(_read_line(server))


def _connect(address: str) -> socket.socket:
    """Connect to the server. Start it if it does not run."""
    try:
        return _connected(address)
    except OSError:
        import fcntl
        import subprocess
        import time

        lock = os.open(f"{address}.lock", os.O_CREAT | os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            return _connected(address)  # another client has started it
        except OSError:
            root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
            program = f"from tests.support.command import serve; serve({address!r})"
            null = os.open(os.devnull, os.O_RDWR)
            log = os.open(f"{address}.log", os.O_WRONLY | os.O_CREAT)
            env = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
            server = subprocess.Popen(
                [sys.executable, "-c", program],
                cwd=root,
                env=env,
                stdin=null,
                stdout=null,
                stderr=log,  # not the caller's stream, which the server would keep open
                start_new_session=True,
            )
            while server.poll() is None:
                try:
                    return _connected(address)
                except OSError:
                    time.sleep(0.02)
            raise SystemExit(f"the command server has exited; see {address}.log") from None
        finally:
            os.close(lock)


def _connected(address: str) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    try:
        server.connect(address)
    except OSError:
        server.close()
        raise
    return server


def _read_line(server: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        more = server.recv(1)
        if not more:
            raise SystemExit("the command server has closed the connection")
        line += more
    return line.rstrip()


def serve(address: str) -> None:
    """Run commands until the process whose id ends the address has exited."""
    import atexit
    import contextlib
    import gc
    import select
    import threading
    import time
    from importlib import import_module

    from smsweep.cli.lazy_group import COMMANDS, load_command
    from smsweep.cli.main import main

    for name in COMMANDS:
        load_command(name)
    for module in PRELOADED:
        import_module(module)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{address}.new")
        listener.listen(64)
        os.rename(f"{address}.new", address)
        gc.collect()
        gc.freeze()  # the forks then share the memory, and do not search it for garbage
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that the forks leave no zombies
        tests = os.pidfd_open(int(address.rpartition("-")[2]))
        while True:
            readable, _, _ = select.select([listener.fileno(), tests], [], [])
            if tests in readable:
                for suffix in ("", ".lock", ".log"):
                    os.unlink(f"{address}{suffix}")
                return
            connection, _ = listener.accept()
            if not os.fork():
                break
            connection.close()
    os.close(tests)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, fds, _, _ = socket.recv_fds(connection, 1, 3)
    data = b""
    while more := connection.recv(BUFFER):
        data += more
    pid = os.fork()
    if pid:
        _supervise(pid, connection, fds)
    connection.close()
    cwd, ignored, n_args, *rest = map(os.fsdecode, data.split(b"\0"))
    for target, fd in enumerate(fds):
        os.dup2(fd, target)
        os.close(fd)
    for number in ignored.split(",") if ignored else ():
        signal.signal(int(number), signal.SIG_IGN)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(item.partition("=")[::2] for item in rest[int(n_args) :])
    time.tzset()
    is_unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
        by_line = os.isatty(stream.fileno()) or name == "stderr"
        stream.reconfigure(line_buffering=by_line, write_through=is_unbuffered)  # type: ignore[union-attr]
    sys.argv = ["smsweep", *rest[: int(n_args)]]
    try:
        main()
    except SystemExit as err:
        code = err.code if isinstance(err.code, int) else 0 if err.code is None else 1
    else:
        code = 0
    threading._shutdown()  # type: ignore[attr-defined]  # wait for threads, as the interpreter does
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):  # the reader has closed its end
        sys.stdout.flush()
    os._exit(code)  # the interpreter would also free all modules, which takes longer than most commands


def _supervise(pid: int, connection: socket.socket, fds: list[int]) -> None:
    """Report the command's end to the client. Kill the command if the client exits."""
    import select

    for fd in fds:
        os.close(fd)
    process = os.pidfd_open(pid)
    try:
        connection.sendall(f"{pid}\n".encode())
        poll = select.poll()
        poll.register(process, select.POLLIN)
        poll.register(connection, 0)  # reports only that the client has closed it
        if process not in dict(poll.poll()):
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    except BrokenPipeError:
        os.kill(pid, signal.SIGKILL)
    finally:
        os._exit(0)


if __name__ == "__main__":
    code = client(sys.argv[1], sys.argv[2:])
    if code < 0:
        if -code in FORWARDED:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)
