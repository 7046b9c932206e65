"""The first process of a job: prepare the job, run the trial's script, and report how it ended.

A script that exits with code 0 can have lost its model to a full disk. The entrypoint checks this, too.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import functools
import os
import sys
import time

from smsweep.runtime.job import failure
from smsweep.runtime.job.command_macros import DEFAULT, INTERPRETER, expand
from smsweep.runtime.job.environment_info import cached_environment_info, write_environment_info
from smsweep.runtime.job.failure import JobFailure, release
from smsweep.runtime.job.function_call import MODULE, is_function
from smsweep.runtime.job.output_pump import FULL
from smsweep.runtime.job.requirements import find, install_requirements, with_interpreter
from smsweep.runtime.job.script_environment import ParamFiles, script_environment, write_param_files
from smsweep.runtime.job.secrets import known_secrets, with_secrets
from smsweep.runtime.job.sm_variables import device_names, find_resources, read_json
from smsweep.runtime.job.source_folder import cache, original_folder, source_folder, user_command
from smsweep.runtime.job.supervisor import Supervisor
from smsweep.runtime.job.trial_document import Assignment, read_assignment
from smsweep.runtime.opt_ml_layout import CONTAINER_ROOT, Layout
from smsweep.runtime.script.records import end_record, warn
from smsweep.runtime.system import VARIABLE, give_to_owner, write_whole
from smsweep.runtime.wandb import offline_runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from smsweep.runtime.job.supervisor import Ended
    from smsweep.runtime.opt_ml_layout import Layout

# Created at import, like everything that is the same for each job, so that forked jobs have it ready.
_PARSER = argparse.ArgumentParser(prog="runtime.zip", description=__doc__, allow_abbrev=False)
SIGN = "No space left on device"
PROBE_BYTES = 64 * 1024
HOSTS_WAIT_S = 900.0  # as AWS's toolkit
_PARSER.add_argument("--grace-s", type=float, default=120.0, help="between SIGTERM and SIGKILL (default: 120)")
_PARSER.add_argument("--pid-file", default="", help="where to write the script's pid, which is its process group")
_PARSER.add_argument(
    "--install-requirements", action="store_true", help="pip install the source's requirements.txt"
)
_PARSER.add_argument(
    "--in-place", default="", metavar="FOLDER", help="run the script in this folder, not in a copy"
)
_PARSER.add_argument("--python", default="", metavar="PROGRAM", help="call a function with this interpreter")
_PARSER.add_argument("--working-dir", default="", metavar="FOLDER", help="call a function in this folder")
_PARSER.add_argument("--say-end", action="store_true", help="end the log with a record that marks its end")


def main(argv: list[str] | None = None, *, pid_file: str = "") -> int:
    """Run this job's trial to its end and return the exit code.

    The exit code is the script's own if the script ran: 128 + n after signal n. It is 127 or 126 if the script
    cannot be started, as in a shell, and 1 if the job cannot be prepared. Every failure writes its reason to
    output/failure. The function returns instead of exiting, so that a forked process can call it.

    Args:
        argv: Options of this program, then arguments for the script. None means sys.argv.
        pid_file: The value of --pid-file. A process that forks jobs passes it beside the other arguments, which
            are the same for each job, so that they are parsed once.
    """
    parsed, rest = _parse(tuple(sys.argv[1:] if argv is None else argv))
    options = argparse.Namespace(**vars(parsed))  # a copy: the parsed arguments are cached
    options.pid_file = pid_file or options.pid_file
    layout = Layout.from_environment(os.environ)
    with Supervisor(grace_s=options.grace_s) as supervisor:
        code = _run_to_its_end(layout, supervisor, options, rest)
    give_to_owner(layout, os.environ.get(VARIABLE, ""))
    if options.say_end:
        with contextlib.suppress(OSError):
            os.write(1, end_record(code).encode())
    return code


def prepare_fork(folder: str, argv: Sequence[str], environ: Mapping[str, str]) -> None:
    """Prepare what is the same for each job, once, in a process that forks jobs.

    Errors are ignored: the job runs the same steps and reports them.

    Args:
        folder: Folder of the next job.
        argv: Arguments of the next job, as for `main`.
        environ: Environment of the next job.
    """
    with contextlib.suppress(SystemExit):
        _parse(tuple(argv))
    device_names()
    cached_environment_info(find(INTERPRETER, environ.get("PATH", os.defpath)) or sys.executable)
    cache(Layout(os.path.join(folder, "ml")).source_tar)


def _run_to_its_end(layout: Layout, supervisor: Supervisor, options: argparse.Namespace, rest: list[str]) -> int:
    try:
        _prepare_folders(layout)
        return _run(layout, supervisor, options, rest)
    except Exception as err:  # noqa: BLE001 - every error must be in output/failure
        reason = str(err) if isinstance(err, JobFailure) else f"cannot run the script: {type(err).__name__}: {err}"
        warn(reason)
        failure.write(layout.failure, reason)
        return err.exit_code if isinstance(err, JobFailure) else 1


@functools.lru_cache(maxsize=1)
def _parse(argv: tuple[str, ...]) -> tuple[argparse.Namespace, list[str]]:
    end = argv.index("--") if "--" in argv else len(argv)  # everything after `--` belongs to the script
    options, rest = _PARSER.parse_known_args(argv[:end])
    return options, [*rest, *argv[end + 1 :]]


def _prepare_folders(layout: Layout) -> None:
    """Create the folders that a script may write to, and remove the result of an earlier attempt."""
    try:
        for folder in (layout.model, layout.output_data, layout.checkpoints):
            if not os.path.isdir(folder):
                os.makedirs(folder, exist_ok=True)
        for path in (layout.failure, layout.success):
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)
        failure.reserve(layout.failure)
    except OSError as err:
        raise JobFailure(f"{layout.root}: a job cannot run in this folder: {err}") from err


def _run(layout: Layout, supervisor: Supervisor, options: argparse.Namespace, rest: list[str]) -> int:
    assignment = read_assignment(read_json(layout.hyperparameters), os.environ)
    cwd = original_folder(options.in_place) if options.in_place else source_folder(layout, assignment)
    files = write_param_files(layout, assignment)
    # A secrets.env in the original folder is not used: the copy has one only with `secrets_env` in job.yaml.
    environ = dict(os.environ)  # os.environ decodes each variable at each read
    base = with_secrets(environ, layout.code if options.in_place else cwd)
    resources = find_resources(layout)
    env = script_environment(layout, assignment, resources, files, base, source=cwd)
    path = env.get("PATH", os.defpath)
    if options.install_requirements:
        python = find(INTERPRETER, path) or sys.executable
        install_requirements(supervisor, python=python, folder=cwd, env=env)
    write_environment_info(layout.params, find(INTERPRETER, path) or sys.executable)
    command = _call(options) if is_function(cwd) else _argv(layout, assignment, files, env, cwd) + rest
    argv = with_interpreter(command, path=path, fallback=sys.executable or "")
    _check_program(assignment.program, argv, cwd)
    secrets = known_secrets(environ, base)
    wait_for_hosts(resources.resource_config["hosts"], is_stopped=lambda: bool(supervisor.stopped_by))
    try:
        ended = supervisor.run(
            argv,
            cwd=cwd,
            env=env,
            on_start=lambda pid: _write_pid(options.pid_file, pid),
            secrets=secrets,
        )
    except OSError as err:
        raise _cannot_start(err, argv, cwd, path) from err
    offline_runs.keep(layout)
    if ended.exit_code or ended.stopped_by:  # a stopped script is incomplete, even with exit code 0
        reason = failure.read_reason(layout.failure, secrets) or failure.describe(ended, grace_s=options.grace_s)
        failure.write(layout.failure, reason)
    else:
        record_success(layout, ended)
    return ended.exit_code


def wait_for_hosts(hosts: Sequence[str], is_stopped: Callable[[], bool], timeout_s: float = HOSTS_WAIT_S) -> None:
    """Wait until the names of all hosts of the job resolve. On SageMaker, they do not at once.

    Args:
        hosts: All hosts of the job. One host alone does not wait.
        is_stopped: Returns True if the job was stopped, which ends the wait.
        timeout_s: Limit for all hosts together.

    Raises:
        JobFailure: If a name still does not resolve at the end of the time.
    """
    if len(hosts) == 1:
        return
    import socket  # jobs with one host do not need it

    deadline, pause_s = time.monotonic() + timeout_s, 0.1
    for host in hosts:
        while not is_stopped():
            try:
                socket.gethostbyname(host)
                break
            except OSError as err:
                if time.monotonic() > deadline:
                    raise JobFailure(
                        f"{host}: the name of this host of the job does not resolve after {timeout_s:g} s: {err}"
                    ) from err
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 2.0)


def _call(options: argparse.Namespace) -> list[str]:
    folder = [options.working_dir] if options.working_dir else []
    return [options.python or INTERPRETER, "-m", MODULE, *folder]


def _argv(
    layout: Layout, assignment: Assignment, files: ParamFiles, env: Mapping[str, str], cwd: str
) -> list[str]:
    if assignment.sweep_id:
        command = assignment.command or list(DEFAULT)
        if assignment.program is None and "${program}" in command:
            raise JobFailure(
                "the sweep names no program; add `program:` to its YAML, or a `command` without ${program}"
            )
        return expand(command, assignment.program, assignment.params, environ=env, json_file=files.json)
    if not assignment.program:
        advice = "" if layout.root == CONTAINER_ROOT else "; to run the program of the image, use --backend docker"
        raise JobFailure(
            f"no program to run: hyperparameters.json has neither `smsweep` nor `sagemaker_program`{advice}"
        )
    return user_command(assignment.program, assignment.params, cwd)


def _cannot_start(err: OSError, argv: list[str], cwd: str, path: str) -> JobFailure:
    if isinstance(err, FileNotFoundError):
        return JobFailure(f"{argv[0]}: no such program in {cwd} or on PATH ({path})", exit_code=127)
    if err.errno == errno.E2BIG:
        return JobFailure(
            f"{argv[0]}: its arguments are too long for this system; pass ${{args_json_file}} in the sweep's "
            "command, or call smsweep.init in the script",
            exit_code=126,
        )
    return JobFailure(f"{argv[0]}: cannot start in {cwd}: {err.strerror or err}", exit_code=126)


def _check_program(program: str | None, argv: list[str], cwd: str) -> None:
    """Raise JobFailure for a missing script; Python's own message would not list the folder."""
    if program and program.endswith(".py") and program in argv and not os.path.exists(os.path.join(cwd, program)):
        names = ", ".join(sorted(os.listdir(cwd))[:20]) or "nothing"
        raise JobFailure(f"{program}: no such file in {cwd}, which contains: {names}", exit_code=127)


def _write_pid(path: str, pid: int) -> None:
    if not path:
        return
    try:
        write_whole(path, f"{pid}\n")
    except OSError as err:  # the script runs already, so the job continues
        warn(f"--pid-file {path}: {err}")


def record_success(layout: Layout, ended: Ended) -> None:
    """Write an empty output/success, as AWS's toolkit does.

    Args:
        layout: Paths of the job.
        ended: How the script ended, with exit code 0.

    Raises:
        JobFailure: If the disk is full, if output was lost, or if the script reported a full disk and wrote no
            model.
    """
    if ended.lost_output:
        raise JobFailure(f"{SIGN}: the script exited with code 0, but part of its output and metrics is lost")
    reports = [line for line in ended.tail.decode("utf-8", "replace").splitlines() if SIGN in line]
    if reports and not _has_files(layout.model):
        raise JobFailure(f"the script exited with code 0 but wrote no model, and printed: {reports[-1].strip()}")
    try:
        with open(layout.success, "wb") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            file.truncate(0)
    except OSError as err:
        if err.errno in FULL:
            raise JobFailure(
                f"{SIGN}: the script exited with code 0 on a full disk; its last files may be incomplete"
            ) from err
    release(layout.failure)


def _has_files(folder: str) -> bool:
    return any(files for _, _, files in os.walk(folder))
