"""The first process of a job: prepare, start the trial's script, see it through, say how it went."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import sys

from smsweep.runtime.job import failure
from smsweep.runtime.job.command_macros import DEFAULT, INTERPRETER, expand
from smsweep.runtime.job.disk_full import leave_success
from smsweep.runtime.job.environment_info import known_surroundings, leave_surroundings
from smsweep.runtime.job.failure import JobFailure
from smsweep.runtime.job.file_owner import VARIABLE, hand_over
from smsweep.runtime.job.interpreter import find, with_interpreter
from smsweep.runtime.job.param_files import ParamFiles, write_param_files
from smsweep.runtime.job.requirements import install_requirements
from smsweep.runtime.job.resources import device_names, find_resources, read_json
from smsweep.runtime.job.script_environment import script_environment
from smsweep.runtime.job.secrets import known_secrets, with_secrets
from smsweep.runtime.job.source_cache import keep
from smsweep.runtime.job.source_folder import source_folder, user_command
from smsweep.runtime.job.supervisor import Supervisor
from smsweep.runtime.job.trial_document import Assignment, read_assignment
from smsweep.runtime.opt_ml_layout import Layout
from smsweep.runtime.plain_files import write_whole
from smsweep.runtime.script.messages import warn
from smsweep.runtime.script.records import end_record
from smsweep.runtime.wandb import offline_runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Made with the module, so that forked jobs find it ready, as all else that is the same for each of them.
_PARSER = argparse.ArgumentParser(prog="runtime.zip", description=__doc__, allow_abbrev=False)
_PARSER.add_argument("--grace-s", type=float, default=120.0, help="between SIGTERM and SIGKILL (default: 120)")
_PARSER.add_argument("--pid-file", default="", help="where to write the script's pid, its process group's id")
_PARSER.add_argument(
    "--install-requirements", action="store_true", help="pip install the source's requirements.txt"
)
_PARSER.add_argument("--say-end", action="store_true", help="end the log with a record: nothing comes after it")


def main(argv: list[str] | None = None) -> int:
    """Run this job's trial to its end and return the exit code, the script's own wherever it has one.

    argv: our flags, then arguments for the script (None: sys.argv's). A script that a signal ended gives 128 + n,
    one that cannot be started 127 or 126, as in a shell; a job that cannot be prepared 1. Everything but success
    leaves its reason in output/failure. Returns instead of exiting, so that a forked process may call it.
    """
    options, rest = _parse(sys.argv[1:] if argv is None else argv)
    layout = Layout.from_environment(os.environ)
    with Supervisor(grace_s=options.grace_s) as supervisor:
        code = _run_to_its_end(layout, supervisor, options, rest)
    hand_over(layout, os.environ.get(VARIABLE, ""))
    if options.say_end:
        with contextlib.suppress(OSError):
            os.write(1, end_record(code).encode())
    return code


def prepare_fork(folder: str, environ: Mapping[str, str]) -> None:
    """Do once, in a process that forks jobs, what is the same for each of them.

    folder, environ: of the next job. What fails here fails again in the job, which says so.
    """
    _PARSER.parse_known_args(["--pid-file", folder])  # argparse compiles its patterns at their first use
    device_names()
    known_surroundings(find(INTERPRETER, environ.get("PATH", os.defpath)) or sys.executable)
    keep(Layout(os.path.join(folder, "ml")).source_tar)


def _run_to_its_end(layout: Layout, supervisor: Supervisor, options: argparse.Namespace, rest: list[str]) -> int:
    try:
        _prepare_folders(layout)
        return _run(layout, supervisor, options, rest)
    except Exception as err:  # noqa: BLE001 - whatever it is, it must be in output/failure
        reason = str(err) if isinstance(err, JobFailure) else f"cannot run the script: {type(err).__name__}: {err}"
        warn(reason)
        failure.write(layout.failure, reason)
        return err.exit_code if isinstance(err, JobFailure) else 1


def _parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    end = argv.index("--") if "--" in argv else len(argv)  # what follows is the script's, whatever it looks like
    options, rest = _PARSER.parse_known_args(argv[:end])
    return options, rest + argv[end + 1 :]


def _prepare_folders(layout: Layout) -> None:
    """Make the folders a script may write to, and forget how an earlier attempt in this tree ended."""
    try:
        for folder in (layout.model, layout.output_data, layout.output_intermediate, layout.checkpoints):
            if not os.path.isdir(folder):
                os.makedirs(folder, exist_ok=True)
        for path in (layout.failure, layout.success):
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)
        failure.reserve(layout.failure)
    except OSError as err:
        raise JobFailure(f"{layout.root}: not a place to run a job: {err}") from err


def _run(layout: Layout, supervisor: Supervisor, options: argparse.Namespace, rest: list[str]) -> int:
    assignment = read_assignment(read_json(layout.hyperparameters))
    cwd = source_folder(layout, assignment)
    files = write_param_files(layout, assignment)
    base = with_secrets(os.environ, cwd)
    env = script_environment(layout, assignment, find_resources(layout), files, base, source=cwd)
    path = env.get("PATH", os.defpath)
    if options.install_requirements:
        python = find(INTERPRETER, path) or sys.executable
        install_requirements(supervisor, python=python, folder=cwd, env=env)
    leave_surroundings(layout.params, find(INTERPRETER, path) or sys.executable)
    argv = with_interpreter(_argv(assignment, files, env, cwd) + rest, path=path, fallback=sys.executable or "")
    _check_program(assignment.program, argv, cwd)
    secrets = known_secrets(os.environ, base)
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
    if ended.exit_code or ended.stopped_by:  # a script that ends well when it is stopped has not got to its end
        said = failure.own_words(layout.failure, secrets) or failure.describe(ended, grace_s=options.grace_s)
        failure.write(layout.failure, said)
    else:
        leave_success(layout, ended)
    return ended.exit_code


def _argv(assignment: Assignment, files: ParamFiles, env: Mapping[str, str], cwd: str) -> list[str]:
    if assignment.sweep_id:
        command = assignment.command or list(DEFAULT)
        if assignment.program is None and "${program}" in command:
            raise JobFailure(
                "the sweep names no program; add `program:` to its YAML, or a `command` without ${program}"
            )
        return expand(command, assignment.program, assignment.params, environ=env, json_file=files.json)
    program = assignment.program or env.get("SAGEMAKER_PROGRAM")
    if not program:
        raise JobFailure("nothing to run: hyperparameters.json has neither `smsweep` nor `sagemaker_program`")
    return user_command(program, assignment.params, cwd)


def _cannot_start(err: OSError, argv: list[str], cwd: str, path: str) -> JobFailure:
    if isinstance(err, FileNotFoundError):
        return JobFailure(f"{argv[0]}: no such program in {cwd} or on PATH ({path})", exit_code=127)
    if err.errno == errno.E2BIG:
        return JobFailure(
            f"{argv[0]}: its arguments are too long for this system; let the sweep's command pass "
            "${args_json_file}, or the script call smsweep.init",
            exit_code=126,
        )
    return JobFailure(f"{argv[0]}: cannot be started in {cwd}: {err.strerror or err}", exit_code=126)


def _check_program(program: str | None, argv: list[str], cwd: str) -> None:
    """Say what is wrong before Python says only that it cannot open a file."""
    if program and program.endswith(".py") and program in argv and not os.path.exists(os.path.join(cwd, program)):
        there = ", ".join(sorted(os.listdir(cwd))[:20]) or "nothing"
        raise JobFailure(f"{program}: no such file in {cwd}, where there is: {there}", exit_code=127)


def _write_pid(path: str, pid: int) -> None:
    if not path:
        return
    try:
        write_whole(path, f"{pid}\n")
    except OSError as err:  # the script runs already, and that is what counts
        warn(f"--pid-file {path}: {err}")
