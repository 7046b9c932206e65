"""Batch script of a SLURM array."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from smsweep.errors import UsageError
from smsweep.remote.slurm import batch_script, submit
from tests.support.markdown import ROOT


def test_sbatch_option_overrides_the_default() -> None:
    script = batch_script("abcd1234", 3, at_once=2, options=["signal=B:TERM@300", "--exclusive"])
    assert "#SBATCH --array=1-3%2\n#SBATCH --signal=B:TERM@300\n" in script
    assert "#SBATCH --exclusive\n" in script


def test_sbatch_value_with_spaces_or_quotes_is_quoted() -> None:
    script = batch_script("abcd1234", 3, options=['comment=it\'s "two" words # \\', "gres=gpu:1", "job-name=a$b"])
    assert '#SBATCH --comment="it\'s \\"two\\" words # \\\\"\n' in script
    assert "#SBATCH --gres=gpu:1" in script
    assert "#SBATCH --job-name=a$b\n" in script


@pytest.mark.parametrize("option", ["", "time=1\nrm -rf /", "; true", "a b=c", "-t=1", "é=1"])
def test_invalid_sbatch_option_is_rejected(option: str) -> None:
    with pytest.raises(UsageError, match="long option"):
        batch_script("abcd1234", 3, options=[option])


def test_array_has_its_own_option() -> None:
    with pytest.raises(UsageError, match="--option array=1-9: smsweep sets it; use --array"):
        batch_script("abcd1234", 3, options=["array=1-9"])


@pytest.mark.parametrize("limit", ["2", "3:30", "00:02:00", "0-0:3", "0-0:0:59"])
def test_too_short_time_limit_is_rejected(limit: str) -> None:
    with pytest.raises(UsageError, match="at least 5 minutes"):
        batch_script("abcd1234", 3, options=[f"time={limit}"])
    assert f"--time={limit}" in batch_script("abcd1234", 3, options=[f"time={limit}", "signal=B:TERM@30"])


@pytest.mark.parametrize("limit", ["0", "5", "5:00", "1:00:00", "1-0", "0-0:10", "0-1:0:0", "UNLIMITED"])
def test_longer_or_unknown_time_limit_is_accepted(limit: str) -> None:
    assert f"--time={limit}" in batch_script("abcd1234", 3, options=[f"time={limit}"])


def test_folder_name_is_quoted_for_the_shell() -> None:
    script = batch_script("abcd1234", 1, environment={"SMSWEEP_DIR": "/a b/$(c)'d"})
    line = next(line for line in script.splitlines() if line.startswith("export"))
    output = subprocess.run(
        ["bash", "-c", f'{line}; echo -n "$SMSWEEP_DIR"'], capture_output=True, text=True, check=True
    )
    assert output.stdout == "/a b/$(c)'d"


def test_task_is_requeued_when_the_signal_comes_before_the_agent_has_started(tmp_path: Path) -> None:
    """The trap of BASH_ENV sends SIGTERM to the shell immediately after the start of the agent."""
    (tmp_path / "early").write_text('trap \'[ "$BASH_COMMAND" = "agent=\\$!" ] && kill -TERM $$\' DEBUG\n')
    for name, text in {"smsweep": "exec sleep 60", "scontrol": f'echo "$@" >> {tmp_path}/calls'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", batch_script("abcd1234", 1, arguments=["abcd1234"])],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "BASH_ENV": str(tmp_path / "early"), "SLURM_JOB_ID": "7"},
        timeout=30,
        check=False,
    )
    assert done.returncode == 143
    assert (tmp_path / "calls").read_text() == "requeue 7\n"


def test_example_matches_the_generated_script() -> None:
    example = (ROOT / "examples" / "slurm" / "sweep.sbatch").read_text()
    written = batch_script("abcd1234", 20, at_once=4, options=["time=01:00:00", "job-name=smsweep"])
    differing = [(a, b) for a, b in zip(example.splitlines(), written.splitlines(), strict=True) if a != b]
    assert [a for a, _ in differing] == [
        "# Each task of this array runs one trial of the sweep whose id is the argument: sbatch sweep.sbatch ID",
        'smsweep agent --count 1 "$1" &',
    ]


def test_missing_sbatch_is_reported_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="login node"):
        submit("")
