"""What output/failure says."""

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


def test_the_exception_comes_first_and_the_traceback_after(job: Job) -> None:
    job.trial({"train.py": "def f(lr):\n    raise ValueError(f'bad lr {lr}')\n\nf(3)\n"}).run()
    lines = job.failure.split("\n")
    assert lines[0] == "ValueError: bad lr 3 (exit code 1)"
    assert lines[1] == "Traceback (most recent call last):"
    assert "    raise ValueError(f'bad lr {lr}')" in lines


def test_of_a_chain_of_exceptions_the_last_one_counts(job: Job) -> None:
    job.trial({"train.py": "try: 1 / 0\nexcept Exception as err: raise KeyError('second') from err"}).run()
    assert job.failure.startswith("KeyError: 'second' (exit code 1)\n")


@pytest.mark.skipif(JOB_VERSION < (3, 11), reason="exception groups came with Python 3.11")
def test_of_a_group_of_exceptions_the_group_counts_and_its_members_follow(job: Job) -> None:
    script = """
try: 1 / 0
except ZeroDivisionError as err: raised = err
raise ExceptionGroup("workers", [raised, ExceptionGroup("inner", [ValueError("bad lr")])])
"""
    job.trial({"train.py": script}).run()
    first, _, rest = job.failure.partition("\n")
    assert first == "ExceptionGroup: workers (2 sub-exceptions) (exit code 1)"
    assert "ZeroDivisionError: division by zero" in rest and "ValueError: bad lr" in rest


def test_the_end_of_a_group_of_exceptions_is_enough(job: Job) -> None:
    end = "    | Traceback (most recent call last):\n    |   File x\n    | ValueError: bad lr\n    +----\n"
    job.trial({"train.py": f"import sys; sys.stderr.write({end!r}); sys.exit(1)"}).run()
    assert job.failure.startswith("ValueError: bad lr (exit code 1)\n")


def test_our_own_warnings_are_not_quoted_as_the_scripts_words(job: Job) -> None:
    script = (
        "import smsweep, sys; print('epoch 1', flush=True); smsweep.init(); smsweep.config.lr = 9; sys.exit(3)"
    )
    job.trial({"train.py": script}, {"lr": 0.1}).run()
    assert job.failure == "exit code 3; last line: epoch 1"


def test_an_exit_without_a_traceback_quotes_the_last_line_and_shows_those_before(job: Job) -> None:
    job.trial({"train.py": "import sys; print('epoch 1'); print('no data'); sys.exit(3)"}).run()
    assert job.failure == "exit code 3; last line: no data\nepoch 1"


@pytest.mark.parametrize("leave", ["sys.exit('no data\\nfor lr 0.1')", "raise SystemExit('no data\\nfor lr 0.1')"])
def test_the_text_of_an_exit_is_in_the_first_line(job: Job, leave: str) -> None:
    job.trial({"train.py": f"import sys; print('epoch 1', end='\\r'); {leave}"}).run()
    assert job.failure == "exit code 1; last line: for lr 0.1\nno data"


def test_an_exit_without_a_word_has_only_its_code(job: Job) -> None:
    job.trial({"train.py": "import sys; sys.exit(3)"}).run()
    assert job.failure == "exit code 3"


def test_a_sigkill_from_outside_is_explained_as_memory(job: Job) -> None:
    job.trial({"train.py": "import os; print('epoch 3', flush=True); os.kill(os.getpid(), 9)"}).run()
    assert (
        job.failure
        == "exit code 137: killed by SIGKILL from outside; the usual cause is too little memory\nepoch 3"
    )


def test_a_missing_program_is_named_with_where_it_was_looked_for(job: Job) -> None:
    done = job.trial({"other.py": ""}).run()
    assert done.code == 127
    assert job.failure == f"train.py: no such file in {job.ml}/code, which contains: other.py"


def test_a_missing_command_is_named(job: Job) -> None:
    done = job.trial({"train.py": ""}, command=["no-such-command"]).run()
    assert (done.code, job.failure.startswith("no-such-command: no such program in ")) == (127, True)


def test_a_command_that_is_not_executable_is_named(job: Job) -> None:
    done = job.trial({"train.py": ""}, command=["./data"]).run()
    assert done.code == 127
    (job.ml / "code/data").write_text("text")
    assert (job.run().code, "./data: cannot start" in job.failure) == (126, True)


def test_a_trial_that_is_not_json_is_quoted(job: Job) -> None:
    job.hyperparameters({"smsweep": "{oops"})
    assert (
        job.run().code,
        job.failure.startswith("hyperparameter smsweep: not a valid trial (JSONDecodeError"),
    ) == (
        1,
        True,
    )
    assert job.failure.endswith("{oops")


def test_a_trial_of_a_newer_format_is_refused(job: Job) -> None:
    job.trial({"train.py": ""}, version=2)
    assert job.run().code == 1
    assert job.failure.startswith("hyperparameter smsweep: format 2, but this runtime reads format 1")


def test_a_job_with_nothing_to_run_says_so(job: Job) -> None:
    job.hyperparameters({"lr": "1"})
    assert job.run().code == 1
    assert "neither `smsweep` nor `sagemaker_program`" in job.failure


def test_colours_progress_bars_and_records_are_left_out() -> None:
    tail = b'\x1b[31m10%\r\x1b[0m100%\n@smsweep {"metrics": {}}\nlast \xff\n'
    assert describe(Ended(status=2 << 8, tail=tail), grace_s=1) == "exit code 2; last line: last \ufffd\n100%"


@pytest.mark.parametrize(
    "tail", [b"x" * 100_000, b"x\n" * 50_000, b"Traceback (most recent call last):\n" + b"E" * 99_999]
)
def test_the_text_fits_what_sagemaker_shows(tail: bytes) -> None:
    assert len(describe(Ended(status=1 << 8, tail=tail), grace_s=1)) <= MAX_CHARS


def test_a_stopped_script_is_told_from_a_failed_one() -> None:
    ended = Ended(status=signal.SIGTERM, tail=b"saving\n", stopped_by=signal.SIGTERM)
    assert describe(ended, grace_s=1) == "stopped: was sent SIGTERM, ended by SIGTERM\nsaving"


def test_arguments_too_long_for_the_system_are_told_with_the_way_out(job: Job) -> None:
    assert job.trial({"train.py": ""}, {"text": "x" * 200_000}).run().code == 126
    assert "too long for this system; pass ${args_json_file} in the sweep's command" in job.failure


def test_what_nobody_foresaw_is_in_the_failure_file_too(job: Job) -> None:
    job.trial({"train.py": ""}, {"text": "a\0b"})
    assert job.run().code == 1
    assert job.failure.startswith("cannot run the script: ValueError: embedded null byte")


def test_a_traceback_marked_by_rank_is_read() -> None:
    tail = b"[rank1]: Traceback (most recent call last):\n[rank1]:   File x\n[rank1]: RuntimeError: NCCL\nlater\n"
    text = describe(Ended(status=1 << 8, tail=tail), grace_s=1)
    assert text.startswith("RuntimeError: NCCL (exit code 1)\nTraceback")


def test_what_the_script_itself_has_left_counts_and_is_cut(job: Job) -> None:
    words = "no data for ' + '\u00e9' * 3000 + '"
    script = "import os\n"
    script += f"open(os.environ['SM_OUTPUT_DIR'] + '/failure', 'w').write('{words}')\nraise SystemExit(3)"
    assert job.trial({"train.py": script}).run().code == 3
    assert job.failure == ("no data for " + "\u00e9" * 3000)[:MAX_CHARS]


def test_secrets_in_what_the_script_has_left_are_masked(job: Job) -> None:
    job.environ["WANDB_API_KEY"] = "k" * 10 + "0123456789" * 3
    script = "import os\nopen(os.environ['SM_OUTPUT_DIR'] + '/failure', 'w').write(os.environ['WANDB_API_KEY'])"
    job.trial({"train.py": f"{script}\nraise SystemExit(3)"}).run()
    assert job.failure == "***"


@pytest.mark.parametrize("how", ["os.mkfifo", "os.mkdir"])
def test_anything_else_in_the_reasons_place_is_none(job: Job, how: str) -> None:
    script = f"import os\n{how}(os.environ['SM_OUTPUT_DIR'] + '/failure')\nraise SystemExit('no data')"
    done = job.trial({"train.py": script}).run()
    assert done.code == 1
