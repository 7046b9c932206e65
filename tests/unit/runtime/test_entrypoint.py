"""Tests of the entrypoint as a process: the script's input, output and exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tarfile
import textwrap
from pathlib import Path

import pytest

from smsweep.runtime.job.entrypoint import main, wait_for_hosts
from smsweep.runtime.job.failure import JobFailure
from tests.docker.wheels import make_wheel
from tests.unit.runtime.jobs import PYTHON, Job, finish
from tools.environments import oracle

pytestmark = pytest.mark.slow

ARGPARSE = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--name")
args, _ = parser.parse_known_args()
print(args.lr, repr(args.name))
"""
NASTY = "a b; $(touch pwned) `id` 'x' \"y\" \\ ${HOME} * ?\n--flag"


def test_argparse_script_gets_its_params(job: Job) -> None:
    done = job.trial({"train.py": ARGPARSE}, {"lr": 1e-5, "name": "adam"}).run()
    assert (done.code, done.out) == (0, "1e-05 'adam'\n")


def test_shell_characters_in_params_are_not_interpreted(job: Job) -> None:
    done = job.trial({"train.py": ARGPARSE}, {"lr": 1, "name": NASTY}).run()
    assert done.out == f"1.0 {NASTY!r}\n"
    assert list((job.ml / "code").iterdir()) == [job.ml / "code/train.py"]


def test_script_arguments_follow_the_params(job: Job) -> None:
    job.trial({"train.py": "import sys; print(sys.argv[1:])"}, {"lr": 1})
    assert job.run(["--epochs", "3"]).out == "['--lr=1', '--epochs', '3']\n"


def test_options_after_two_dashes_belong_to_the_script(job: Job) -> None:
    job.trial({"train.py": "import sys; print(sys.argv[1:])"})
    assert job.run(["--", "--grace-s", "3"]).out == "['--grace-s', '3']\n"


def test_non_python_program_runs(job: Job) -> None:
    job.trial(
        {"train.sh": '#!/bin/sh\necho "$@"\n'}, {"a": 1}, program="./train.sh", command=["${program}", "${args}"]
    )
    assert job.run().out == "--a=1\n"


def test_script_runs_in_the_source_folder_with_empty_stdin(job: Job) -> None:
    job.trial({"train.py": "import os, sys; print(os.getcwd(), repr(sys.stdin.read()))"})
    assert job.run().out == f"{job.ml}/code ''\n"


def test_trial_split_over_hyperparameters_is_joined(job: Job) -> None:
    job.trial(
        {"train.py": "import smsweep; print(len(smsweep.config['text']))"},
        {"text": "x" * 6000},
        command=["python", "train.py"],
    )
    file = job.ml / "input/config/hyperparameters.json"
    text = json.loads(file.read_text())["smsweep"]
    pieces = [text[:2500], text[2500:5000], text[5000:]]
    job.hyperparameters({"smsweep.2": pieces[2], "smsweep": pieces[0], "smsweep.1": pieces[1]})
    assert job.run().out == "6000\n"


def test_plain_sagemaker_job_runs_as_with_aws_toolkit(job: Job) -> None:
    job.source({"train.py": "import sys; print(sys.argv[1:])"})
    job.hyperparameters(
        {"sagemaker_program": '"train.py"', "lr": "0.1", "b": "true", "x": "[1, 2]", "name": "adam", "z": "null"}
    )
    expected = ["-b", "True", "--lr", "0.1", "--name", "adam", "-x", "[1, 2]", "-z", ""]
    assert job.run().out == f"{expected}\n"


@pytest.mark.parametrize("shebang", ["#!/bin/sh\n", ""])
def test_plain_job_with_non_python_program_runs_as_with_aws_toolkit(job: Job, shebang: str) -> None:
    (job.ml / "code/bin").mkdir(parents=True)
    (job.ml / "code/bin/train.sh").write_text(f'{shebang}echo "$0" "$@"\n')  # a read-only file
    job.hyperparameters({"sagemaker_program": '"bin/train.sh"', "name": '"two  words"', "x": "1"})
    assert job.run().out == "./bin/train.sh --name two  words -x 1\n"


def test_existing_source_is_used(job: Job) -> None:
    job.hyperparameters({"sagemaker_program": "train.py"})
    (job.ml / "code").mkdir()
    (job.ml / "code/train.py").write_text("print('here')")
    assert job.run().out == "here\n"


def test_local_submit_directory_is_copied(job: Job, tmp_path: Path) -> None:
    (tmp_path / "given/sub").mkdir(parents=True)
    (tmp_path / "given/train.py").write_text("import os; open('beside', 'w'); print(os.getcwd(), os.listdir())")
    job.hyperparameters({"sagemaker_program": "train.py", "sagemaker_submit_directory": f"{tmp_path}/given"})
    done = job.run()
    assert done.out.split(" ", 1)[0] == str(job.ml / "code"), done
    assert sorted(path.name for path in (tmp_path / "given").iterdir()) == ["sub", "train.py"]


@pytest.mark.parametrize("given", ["/opt/ml/input/data/code/sourcedir.tar.gz", "/opt/ml/input/data/code"])
def test_submit_directory_in_a_channel_is_found_in_the_folder_of_the_job(job: Job, given: str) -> None:
    code = job.ml / "input/data/code"
    code.mkdir()
    (code / "train.py").write_text("import os; print(os.environ['SM_MODULE_DIR'])")
    with tarfile.open(code / "sourcedir.tar.gz", "w:gz") as tar:
        tar.add(code / "train.py", "train.py")
    job.hyperparameters({"sagemaker_program": "train.py", "sagemaker_submit_directory": given})
    assert job.run().out == given.replace("/opt/ml", str(job.ml)) + "\n"


def test_program_variable_replaces_the_hyperparameter(job: Job) -> None:
    script = "import os, sys; print(sys.argv[0], os.environ['SM_USER_ENTRY_POINT'], os.environ['SM_MODULE_NAME'])"
    job.source({"a.py": script, "b.py": script})
    job.environ["SAGEMAKER_PROGRAM"] = "b.py"
    job.hyperparameters({"sagemaker_program": "a.py"})
    assert job.run().out == "b.py b.py b\n"
    job.hyperparameters({})
    assert job.run().out == "b.py b.py b\n"


def test_job_without_a_program_names_the_backend_that_runs_images(job: Job) -> None:
    job.hyperparameters({"lr": "1"})
    assert job.run().code == 1
    assert job.failure.startswith("no program to run")
    assert job.failure.endswith("use --backend docker")


def test_hosts_that_do_not_resolve_end_the_job_with_their_name() -> None:
    with pytest.raises(JobFailure, match=r"algo-2\.invalid: the name of this host"):
        wait_for_hosts(["localhost", "algo-2.invalid"], is_stopped=lambda: False, timeout_s=0.0)


def test_stop_ends_the_wait_for_hosts() -> None:
    stops = iter([False, True])
    wait_for_hosts(["algo-2.invalid", "algo-3.invalid"], is_stopped=lambda: next(stops, True))


def test_job_runs_without_config_files(job: Job) -> None:
    job.trial({"train.py": "import os; print(os.environ['SM_HOSTS'], os.environ['SM_CURRENT_HOST'])"})
    assert job.run().out == '["algo-1"] algo-1\n'


@pytest.mark.parametrize("code", [1, 3, 255])
def test_exit_code_of_the_script_is_returned(job: Job, code: int) -> None:
    assert job.trial({"train.py": f"raise SystemExit({code})"}).run().code == code


def test_exit_code_after_a_signal_is_128_plus_its_number(job: Job) -> None:
    assert job.trial({"train.py": "import os; os.kill(os.getpid(), 11)"}).run().code == 139


def test_success_writes_success_file_and_removes_old_failure(job: Job) -> None:
    job.trial({"train.py": ""})
    (job.ml / "output").mkdir()
    (job.ml / "output/failure").write_text("of an earlier attempt")
    job.run()
    assert ((job.ml / "output/success").exists(), job.failure) == (True, "")


def test_pid_file_has_the_process_group_of_the_script(job: Job) -> None:
    done = job.trial({"train.py": "import os; print(os.getpid(), os.getpgid(0))"}).run()
    pid = job.pid_file.read_text().strip()
    assert done.out == f"{pid} {pid}\n"


def test_output_bytes_pass_unchanged(job: Job) -> None:
    job.trial({"train.py": r"import os; os.write(1, b'\xff\xfe\r\x1b[1m' + b'x' * 1_000_000 + b'\n\x80')"})
    out, _ = job.start().communicate(timeout=30)
    assert out == b"\xff\xfe\r\x1b[1m" + b"x" * 1_000_000 + b"\n\x80"


def test_large_output_needs_little_memory(job: Job) -> None:
    script = """
    import os
    for _ in range(1600): os.write(1, b"x" * 65_535 + b"\\n")
    print(open(f"/proc/{os.getppid()}/status").read().partition("VmHWM:")[2].split()[0])
    """
    process = job.trial({"train.py": textwrap.dedent(script)}).start()
    assert process.stdout is not None
    n_bytes, last = 0, b""
    while chunk := process.stdout.read(1 << 20):
        n_bytes, last = n_bytes + len(chunk), chunk
    finish(process)
    peak_kib = last.split(b"\n")[-2]
    assert n_bytes - len(peak_kib) - 1 == 1600 * 65_536
    assert int(peak_kib) < 60_000


def test_closed_reader_does_not_stop_the_script(job: Job) -> None:
    job.trial({"train.py": "for i in range(20_000): print('line', i)\nopen('done', 'w')"})
    process = job.start()
    assert process.stdout is not None
    process.stdout.read(100)
    process.stdout.close()
    assert (process.wait(timeout=30), (job.ml / "code/done").exists()) == (0, True)
    finish_quietly(process)


def finish_quietly(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stderr):
        if pipe is not None:
            pipe.close()


def test_main_restores_signal_handlers(
    job: Job, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    job.trial({"train.py": "print('in process'); raise SystemExit(4)"})
    for name, value in job.environ.items():
        monkeypatch.setenv(name, value)
    before = signal.getsignal(signal.SIGTERM)
    assert (main([]), signal.getsignal(signal.SIGTERM)) == (4, before)
    assert capfd.readouterr().out == "in process\n"


def test_requirements_are_installed_only_with_the_option(job: Job) -> None:
    job.trial({"train.py": "print('ran')", "requirements.txt": "no-such-file.whl\n"})
    assert job.run().out == "ran\n"


def test_failed_requirements_are_the_failure_reason(job: Job) -> None:
    job.trial({"train.py": "print('ran')", "requirements.txt": "./no-such-file.whl\n"})
    done = job.run(["--install-requirements"])
    assert (done.code, "ran\n" in done.out) == (1, False)
    assert job.failure.startswith("requirements.txt: pip ended with exit code 1: ERROR: ")
    assert "no-such-file.whl" in job.failure


@pytest.fixture
def job_of_uv(job: Job, tmp_path: Path) -> Job:
    """A job with a requirement, whose `python` belongs to an environment of uv, which has no pip."""
    uv, folder = oracle("tools").python.with_name("uv"), tmp_path / "env"
    subprocess.run([uv, "venv", "--quiet", "--python", PYTHON, folder], check=True)
    make_wheel(tmp_path / "wheels", "smsweepdemo")
    job.environ["PATH"] = f"{folder / 'bin'}:{os.defpath}"
    for tool in ("PIP", "UV"):
        job.environ |= {f"{tool}_FIND_LINKS": str(tmp_path / "wheels"), f"{tool}_NO_INDEX": "1"}
    job.environ |= {"PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1", "UV_OFFLINE": "1"}
    script = "import sys, smsweepdemo; print(smsweepdemo.__file__.startswith(sys.prefix), smsweepdemo.VERSION)"
    return job.trial({"train.py": script, "requirements.txt": "smsweepdemo==1.0\n"})


@pytest.mark.oracle
def test_requirements_are_installed_into_environment_of_uv(job_of_uv: Job, tmp_path: Path) -> None:
    done = job_of_uv.run(["--install-requirements"])
    assert (done.code, done.out.splitlines()[-1]) == (0, "True 1.0"), done
    assert not list(tmp_path.glob("env/lib/python*/site-packages/pip"))


@pytest.mark.oracle
def test_uv_installs_requirements_if_there_is_no_pip(job_of_uv: Job, tmp_path: Path) -> None:
    hide_ensurepip(job_of_uv, tmp_path)
    done = job_of_uv.run(["--install-requirements"])
    assert done.code == 1
    assert (
        f"{tmp_path}/env/bin/python has neither pip nor ensurepip, and PATH has no uv; install"
        in job_of_uv.failure
    )
    job_of_uv.environ["PATH"] += f":{oracle('tools').python.parent}"
    done = job_of_uv.run(["--install-requirements"])
    assert (done.code, done.out.splitlines()[-1]) == (0, "True 1.0"), done


def hide_ensurepip(job: Job, tmp_path: Path) -> None:
    """Put an empty ensurepip before that of the standard library."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "ensurepip.py").write_text(f"_WHEEL_PKG_DIR = {str(tmp_path)!r}\n")
    job.environ["PYTHONPATH"] = str(tmp_path / "empty")


def test_python3_replaces_a_missing_python(job: Job, tmp_path: Path) -> None:
    job.environ["PATH"] = str(tmp_path)
    job.trial({"train.py": "import sys; print(sys.executable)"})
    assert job.run().out == f"{PYTHON}\n"
