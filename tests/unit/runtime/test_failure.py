"""Tests of the content of output/failure."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest

from smsweep.runtime.job.failure import MAX_CHARS, describe
from smsweep.runtime.job.supervisor import Ended
from tests.unit.runtime.jobs import PYTHON, Job

JOB_VERSION = tuple(
    json.loads(subprocess.check_output([PYTHON, "-c", "import sys; print(list(sys.version_info[:2]))"]))
)


def test_exception_comes_before_the_traceback(job: Job) -> None:
    job.trial({"train.py": "def f(lr):\n    raise ValueError(f'bad lr {lr}')\n\nf(3)\n"}).run()
    lines = job.failure.split("\n")
    assert lines[0] == "ValueError: bad lr 3 (exit code 1)"
    assert lines[1] == "Traceback (most recent call last):"
    assert "    raise ValueError(f'bad lr {lr}')" in lines


def test_last_exception_of_a_chain_is_reported(job: Job) -> None:
    job.trial({"train.py": "try: 1 / 0\nexcept Exception as err: raise KeyError('second') from err"}).run()
    assert job.failure.startswith("KeyError: 'second' (exit code 1)\n")


@pytest.mark.skipif(JOB_VERSION < (3, 11), reason="exception groups came with Python 3.11")
def test_exception_group_is_reported_with_its_members(job: Job) -> None:
    script = """
try: 1 / 0
except ZeroDivisionError as err: raised = err
raise ExceptionGroup("workers", [raised, ExceptionGroup("inner", [ValueError("bad lr")])])
"""
    job.trial({"train.py": script}).run()
    first, _, rest = job.failure.partition("\n")
    assert first == "ExceptionGroup: workers (2 sub-exceptions) (exit code 1)"
    assert "ZeroDivisionError: division by zero" in rest and "ValueError: bad lr" in rest


def test_end_of_an_exception_group_is_sufficient(job: Job) -> None:
    end = "    | Traceback (most recent call last):\n    |   File x\n    | ValueError: bad lr\n    +----\n"
    job.trial({"train.py": f"import sys; sys.stderr.write({end!r}); sys.exit(1)"}).run()
    assert job.failure.startswith("ValueError: bad lr (exit code 1)\n")


def test_smsweep_warnings_are_not_the_failure_reason(job: Job) -> None:
    script = (
        "import smsweep, sys; print('epoch 1', flush=True); smsweep.init(); smsweep.config.lr = 9; sys.exit(3)"
    )
    job.trial({"train.py": script}, {"lr": 0.1}).run()
    assert job.failure == "exit code 3; last line: epoch 1"


def test_exit_without_traceback_quotes_the_last_lines(job: Job) -> None:
    job.trial({"train.py": "import sys; print('epoch 1'); print('no data'); sys.exit(3)"}).run()
    assert job.failure == "exit code 3; last line: no data\nepoch 1"


@pytest.mark.parametrize("leave", ["sys.exit('no data\\nfor lr 0.1')", "raise SystemExit('no data\\nfor lr 0.1')"])
def test_sys_exit_text_is_in_the_first_line(job: Job, leave: str) -> None:
    job.trial({"train.py": f"import sys; print('epoch 1', end='\\r'); {leave}"}).run()
    assert job.failure == "exit code 1; last line: for lr 0.1\nno data"


def test_silent_exit_has_only_its_code(job: Job) -> None:
    job.trial({"train.py": "import sys; sys.exit(3)"}).run()
    assert job.failure == "exit code 3"


def test_sigkill_from_outside_is_explained_as_memory(job: Job) -> None:
    job.trial({"train.py": "import os; print('epoch 3', flush=True); os.kill(os.getpid(), 9)"}).run()
    assert (
        job.failure
        == "exit code 137: killed by SIGKILL from outside; the usual cause is too little memory\nepoch 3"
    )


def test_missing_program_is_reported_with_its_folder(job: Job) -> None:
    done = job.trial({"other.py": ""}).run()
    assert done.code == 127
    assert job.failure == f"train.py: no such file in {job.ml}/code, which contains: other.py"


def test_missing_command_is_reported(job: Job) -> None:
    done = job.trial({"train.py": ""}, command=["no-such-command"]).run()
    assert (done.code, job.failure.startswith("no-such-command: no such program in ")) == (127, True)


def test_non_executable_command_is_reported(job: Job) -> None:
    done = job.trial({"train.py": ""}, command=["./data"]).run()
    assert done.code == 127
    (job.ml / "code/data").write_text("text")
    assert (job.run().code, "./data: cannot start" in job.failure) == (126, True)


def test_invalid_trial_document_is_quoted(job: Job) -> None:
    job.hyperparameters({"smsweep": "{oops"})
    assert (
        job.run().code,
        job.failure.startswith("hyperparameter smsweep: not a valid trial (JSONDecodeError"),
    ) == (
        1,
        True,
    )
    assert job.failure.endswith("{oops")


def test_newer_trial_format_is_refused(job: Job) -> None:
    job.trial({"train.py": ""}, version=2)
    assert job.run().code == 1
    assert job.failure.startswith("hyperparameter smsweep: format 2, but this runtime reads format 1")


def test_job_without_program_is_reported(job: Job) -> None:
    job.hyperparameters({"lr": "1"})
    assert job.run().code == 1
    assert "neither `smsweep` nor `sagemaker_program`" in job.failure


def test_colors_progress_bars_and_records_are_removed() -> None:
    tail = b'\x1b[31m10%\r\x1b[0m100%\n@smsweep {"metrics": {}}\nlast \xff\n'
    assert describe(Ended(status=2 << 8, tail=tail), grace_s=1) == "exit code 2; last line: last \ufffd\n100%"


@pytest.mark.parametrize(
    "tail", [b"x" * 100_000, b"x\n" * 50_000, b"Traceback (most recent call last):\n" + b"E" * 99_999]
)
def test_failure_reason_fits_sagemaker_limit(tail: bytes) -> None:
    assert len(describe(Ended(status=1 << 8, tail=tail), grace_s=1)) <= MAX_CHARS


def test_stopped_script_has_another_reason_than_a_failed_one() -> None:
    ended = Ended(status=signal.SIGTERM, tail=b"saving\n", stopped_by=signal.SIGTERM)
    assert describe(ended, grace_s=1) == "stopped: was sent SIGTERM, ended by SIGTERM\nsaving"


def test_too_long_arguments_are_reported_with_a_fix(job: Job) -> None:
    assert job.trial({"train.py": ""}, {"text": "x" * 200_000}).run().code == 126
    assert "too long for this system; pass ${args_json_file} in the sweep's command" in job.failure


def test_unexpected_error_is_in_the_failure_file(job: Job) -> None:
    job.trial({"train.py": ""}, {"text": "a\0b"})
    assert job.run().code == 1
    assert job.failure.startswith("cannot run the script: ValueError: embedded null byte")


def test_traceback_with_rank_prefix_is_parsed() -> None:
    tail = b"[rank1]: Traceback (most recent call last):\n[rank1]:   File x\n[rank1]: RuntimeError: NCCL\nlater\n"
    text = describe(Ended(status=1 << 8, tail=tail), grace_s=1)
    assert text.startswith("RuntimeError: NCCL (exit code 1)\nTraceback")


def test_reason_written_by_the_script_is_used_and_cut(job: Job) -> None:
    words = "no data for ' + '\u00e9' * 3000 + '"
    script = "import os\n"
    script += f"open(os.environ['SM_OUTPUT_DIR'] + '/failure', 'w').write('{words}')\nraise SystemExit(3)"
    assert job.trial({"train.py": script}).run().code == 3
    assert job.failure == ("no data for " + "\u00e9" * 3000)[:MAX_CHARS]


def test_secrets_in_a_reason_written_by_the_script_are_masked(job: Job) -> None:
    job.environ["WANDB_API_KEY"] = "k" * 10 + "0123456789" * 3
    script = "import os\nopen(os.environ['SM_OUTPUT_DIR'] + '/failure', 'w').write(os.environ['WANDB_API_KEY'])"
    job.trial({"train.py": f"{script}\nraise SystemExit(3)"}).run()
    assert job.failure == "***"


@pytest.mark.parametrize("how", ["os.mkfifo", "os.mkdir"])
def test_reason_that_is_not_a_file_is_ignored(job: Job, how: str) -> None:
    script = f"import os\n{how}(os.environ['SM_OUTPUT_DIR'] + '/failure')\nraise SystemExit('no data')"
    done = job.trial({"train.py": script}).run()
    assert done.code == 1
