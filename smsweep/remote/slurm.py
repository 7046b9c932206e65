"""A SLURM job array in which each task runs one trial."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence

from smsweep.errors import JobRejected, UsageError

# 120 s for the script to save and end, and some more for the agent to write that down.
WARNING_S = 150
EARLY_S = 60  # so much before that SLURM may send it
MOST_RESTARTS = 20  # of one task: a training that never gets done between two interruptions ends at last

LONG_OPTION = re.compile(r"[a-z][a-z0-9-]+", re.ASCII)
TIME_LIMIT = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", re.ASCII)
SPECIAL = re.compile(r"""[\s"'#\\]""")

SCRIPT = """\
#!/bin/bash
# Each task of this array runs one trial of sweep {sweep_id}; `smsweep slurm` wrote it.
{directives}

# Before the time is up SLURM sends SIGTERM to this shell, and when it preempts the job, to all of it. The agent
# then ends its script, which may save a checkpoint first, puts the trial back into the queue, and exits with 143.
{environment}agent=
early=
trap 'if [ "$agent" ]; then kill -TERM "$agent"; else early=yes; fi' TERM
smsweep agent {arguments} &
agent=$!
if [ "$early" ]; then kill -TERM "$agent"; fi
until wait "$agent"; code=$?; ! kill -0 "$agent" 2> /dev/null; do :; done
trap '' TERM

# The task goes back into SLURM's queue, which holds it for two minutes. If SLURM did so itself, this fails.
if [ "$code" -eq 143 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {most_restarts} ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def batch_script(
    sweep_id: str,
    tasks: int,
    *,
    at_once: int | None = None,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
) -> str:
    """Return the script for sbatch.

    at_once: tasks that may run at the same time. options: of sbatch, such as "time=02:00:00", which win over ours.
    environment: set in the script; the rest comes from the caller of sbatch. arguments: more of `smsweep agent`.
    Raises UsageError for an option that would not stay on its line, or a time limit that is over at once.
    """
    ours = {
        "job-name": f"smsweep-{sweep_id}",
        "array": f"1-{tasks}" + (f"%{at_once}" if at_once else ""),
        "signal": f"B:TERM@{WARNING_S}",
        "requeue": "",
        "open-mode": "append",  # a task that comes back goes on in its log
    }
    for option in options:
        name, _, value = option.lstrip("-").partition("=")
        if not LONG_OPTION.fullmatch(name) or not value.isprintable():
            raise UsageError(f"--option {option!r}: write it as sbatch's long option, such as time=02:00:00")
        ours[name] = value
    limit_s = _limit_s(ours.get("time", ""))
    if limit_s and limit_s <= WARNING_S + EARLY_S and ours["signal"] == f"B:TERM@{WARNING_S}":
        raise UsageError(
            f"--option time={ours['time']}: a task is told to end {WARNING_S} s before its limit, or up to a "
            "minute earlier, and here as soon as it begins; give it 5 minutes or more, or less notice: "
            "signal=B:TERM@30"
        )
    return SCRIPT.format(
        sweep_id=sweep_id,
        directives="\n".join(
            f"#SBATCH --{name}={_quoted(value)}" if value else f"#SBATCH --{name}" for name, value in ours.items()
        ),
        environment="".join(
            f"export {name}={shlex.quote(value)}\n" for name, value in (environment or {}).items()
        ),
        arguments=shlex.join(["--count", "1", *arguments, sweep_id]),
        most_restarts=MOST_RESTARTS,
    )


def _limit_s(text: str) -> int:
    """Return a limit as sbatch reads it: MIN[:SEC], HOURS:MIN:SEC, DAYS-HOURS[:MIN[:SEC]]; else 0."""
    match = TIME_LIMIT.fullmatch(text)
    if match is None:
        return 0
    days, *rest = match.groups()
    parts = [int(part) for part in rest if part is not None]
    hours, minutes, seconds = [*([0] if days is None and len(parts) < 3 else []), *parts, 0, 0][:3]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def _quoted(value: str) -> str:
    """Return a value as sbatch reads it in a directive: words, quotes, backslashes and # as in a shell, $ not."""
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"' if SPECIAL.search(value) else value


def submit(script: str) -> str:
    """Hand a script to sbatch and return the job's id. Raises UsageError without sbatch, JobRejected."""
    try:
        done = subprocess.run(["sbatch", "--parsable"], input=script, capture_output=True, text=True, check=False)
    except FileNotFoundError as err:
        raise UsageError(
            "there is no sbatch here: run this on a login node of the cluster, or take the script there"
        ) from err
    if done.returncode:
        raise JobRejected(f"sbatch: {done.stderr.strip() or f'ended with {done.returncode}'}")
    return done.stdout.strip().partition(";")[0]  # a federation adds its cluster's name
