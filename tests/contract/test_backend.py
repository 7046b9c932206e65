"""Contract of backends: one suite for processes, containers, and SageMaker with the emulator."""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from smsweep.errors import JobRejected
from smsweep.services import emulator
from tests.support.jobs import Jobs, read_all, running, script_lines
from tests.support.sagemaker_jobs import cloud_jobs
from tools.docker_engine import IMAGE

ENVIRON = {"PATH": "/usr/local/bin:/usr/bin:/bin"}

PATIENT = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("told", flush=True), sys.exit(0)))
print("ready", flush=True)
time.sleep(60)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("told", flush=True))
print("ready", flush=True)
while True:
    time.sleep(60)
"""


# SageMaker's grace period is always 120 s. CloudWatch splits lines of 1 MB.
NOT_ON_SAGEMAKER = {
    "test_long_line_is_complete_in_one_or_more_parts",
    "test_stopped_job_is_stopping_until_its_end",
    "test_script_that_ignores_sigterm_is_killed_after_the_grace_period",
    "test_later_stop_can_shorten_the_grace_period",
    "test_stop_is_carried_out_after_its_client_is_closed",
    "test_wait_returns_when_a_job_ends",
}


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker), "sagemaker"])
def jobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Jobs]:
    if request.param == "sagemaker":
        if request.node.originalname in NOT_ON_SAGEMAKER:
            pytest.skip("SageMaker does not support this")
        with emulator.run_emulator(folder=tmp_path / "emulator", environ=ENVIRON) as endpoint:
            sagemaker_jobs = cloud_jobs(endpoint, tmp_path)
            yield sagemaker_jobs
            sagemaker_jobs.close()
        return
    if request.param == "docker":
        request.getfixturevalue("docker_engine")
        opened = Jobs(folder=tmp_path, kind="docker", image=IMAGE)
    else:
        opened = Jobs(folder=tmp_path, kind="process")
    yield opened
    opened.close()


def test_job_completes(jobs: Jobs) -> None:
    done = jobs.run("plain", "print('one')\nprint('two')")
    assert done.lines == ("one", "two")
    assert (done.status.status, done.status.secondary_status) == ("Completed", "Completed")
    assert done.status.exit_code == 0
    assert done.status.failure_reason == ""


def test_start_and_end_are_in_utc_and_in_order(jobs: Jobs) -> None:
    status = jobs.run("times", "").status
    assert status.started_at is not None
    assert status.ended_at is not None
    assert status.started_at.utcoffset() == timedelta(0)
    assert status.started_at <= status.ended_at


def test_failed_job_has_exit_code_and_exception(jobs: Jobs) -> None:
    status = jobs.run("fails", "raise SystemExit(7)").status
    assert (status.status, status.exit_code) == ("Failed", 7)
    reason = jobs.run("raises", "raise ValueError('no such optimizer')").status.failure_reason
    assert reason.startswith("ValueError: no such optimizer")


def test_failure_reason_has_at_most_1024_characters(jobs: Jobs) -> None:
    status = jobs.run("long", "raise ValueError('x' * 5000)").status
    assert 500 < len(status.failure_reason) <= 1024


def test_params_reach_the_script(jobs: Jobs) -> None:
    done = jobs.run("args", "import sys; print(sys.argv[1:])", params={"lr": 0.1, "name": "a b; $(c)"})
    assert done.lines == ("['--lr', '0.1', '--name', 'a b; $(c)']",)


def test_environment_and_job_name_reach_the_script(jobs: Jobs) -> None:
    script = "import os; print(os.environ['TRAINING_JOB_NAME'], os.environ['COLOUR'])"
    done = jobs.run("environment", script, environment={"COLOUR": "grün"})
    assert done.lines == (f"{jobs.name('environment')} grün",)


def test_submit_twice_starts_one_job(jobs: Jobs) -> None:
    request = jobs.request("twice", "import secrets; print(secrets.token_hex())")
    jobs.backend.submit(request)
    jobs.backend.submit(request)
    first = jobs.finish(request["TrainingJobName"])
    jobs.backend.submit(request)
    assert jobs.finish(request["TrainingJobName"]) == first
    assert len(first.lines) == 1


def test_unknown_jobs_are_absent_and_cause_no_errors(jobs: Jobs) -> None:
    assert jobs.backend.describe(["nobody"]) == {}
    assert jobs.backend.read_logs("nobody").lines == ()
    jobs.backend.stop("nobody")
    jobs.backend.forget("nobody")


def test_describe_returns_many_jobs(jobs: Jobs) -> None:
    names = [jobs.start(f"many-{number}", f"raise SystemExit({number})") for number in range(3)]
    for name in names:
        jobs.finish(name)
    found = jobs.backend.describe([*names, "nobody"])
    assert [found[name].exit_code for name in names] == [0, 1, 2]
    assert len(found) == 3


def test_running_job_is_in_progress(jobs: Jobs) -> None:
    name = jobs.start("running", PATIENT)
    jobs.until_says(name, "ready")
    status = jobs.until(name, lambda status: status.secondary_status != "Downloading")
    assert (status.status, status.secondary_status) == ("InProgress", "Training")
    jobs.backend.stop(name, grace_s=0)
    jobs.finish(name)


def test_stop_sends_sigterm_and_does_not_wait(jobs: Jobs) -> None:
    name = jobs.start("stop", PATIENT)
    jobs.until_says(name, "ready")
    asked_at = time.monotonic()
    jobs.backend.stop(name)
    assert time.monotonic() - asked_at < 20
    done = jobs.finish(name)
    assert done.lines == ("ready", "told")
    assert (done.status.status, done.status.secondary_status) == ("Stopped", "Stopped")


def test_stopped_job_is_stopping_until_its_end(jobs: Jobs) -> None:
    name = jobs.start("stopping", STUBBORN)
    jobs.until_says(name, "ready")
    jobs.backend.stop(name)
    jobs.until_says(name, "told")
    assert jobs.backend.describe([name])[name].status == "Stopping"
    jobs.backend.stop(name, grace_s=0)
    jobs.finish(name)


def test_script_that_ignores_sigterm_is_killed_after_the_grace_period(jobs: Jobs) -> None:
    name = jobs.start("stubborn", STUBBORN)
    jobs.until_says(name, "ready")
    jobs.backend.stop(name, grace_s=0.5)
    done = jobs.finish(name)
    assert done.lines == ("ready", "told")
    assert done.status.status == "Stopped"


def test_later_stop_can_shorten_the_grace_period(jobs: Jobs) -> None:
    name = jobs.start("hurry", STUBBORN)
    jobs.until_says(name, "ready")
    jobs.backend.stop(name)
    jobs.backend.stop(name, grace_s=0)
    assert jobs.finish(name).status.status == "Stopped"


def test_job_is_stopped_when_it_exits_with_0_after_a_stop(jobs: Jobs) -> None:
    name = jobs.start("well", PATIENT)
    jobs.until_says(name, "ready")
    jobs.backend.stop(name)
    assert jobs.finish(name).status.status == "Stopped"


def test_stop_of_an_ended_job_changes_nothing(jobs: Jobs) -> None:
    done = jobs.run("over", "")
    jobs.backend.stop(done.status.name)
    assert jobs.backend.describe([done.status.name]) == {done.status.name: done.status}


def test_max_runtime_stops_a_job_with_one_sigterm(jobs: Jobs) -> None:
    slow_to_leave = PATIENT.replace("sys.exit", "time.sleep(0.5), sys.exit")
    assert slow_to_leave != PATIENT
    done = jobs.run("limit", slow_to_leave, max_run_s=1)
    assert (done.status.status, done.status.secondary_status) == ("Stopped", "MaxRuntimeExceeded")
    assert done.lines == ("ready", "told")


def test_log_has_whole_lines_of_both_streams(jobs: Jobs) -> None:
    script = "import os\nfor n in range(200): os.write(1, b'out %d\\n' % n); os.write(2, b'err %d\\n' % n)"
    lines = jobs.run("streams", script).lines
    assert [line for line in lines if line.startswith("out")] == [f"out {n}" for n in range(200)]
    assert [line for line in lines if line.startswith("err")] == [f"err {n}" for n in range(200)]
    assert len(lines) == 400


def test_unusual_output_is_complete(jobs: Jobs) -> None:
    output = b"\xff\xfe bad\n\n  10%\r 100%\r\n" + "é".encode() * 40_000 + b"\n" + b"x" * 32_768 + b"\nno end"
    (jobs.folder / "data").mkdir()
    (jobs.folder / "data" / "output").write_bytes(output)
    script = (
        "import os, sys\nsys.stdout.buffer.write(open(os.environ['SM_CHANNEL_DATA'] + '/output', 'rb').read())"
    )
    lines = jobs.run("strange", script, channels={"data": (jobs.folder / "data").as_uri()}).lines
    assert lines == ("\ufffd\ufffd bad", "", "  10%\r 100%", "é" * 40_000, "x" * 32_768, "no end")


def test_long_line_is_complete_in_one_or_more_parts(jobs: Jobs) -> None:
    lines = jobs.run("megabytes", "print('x' * 3_000_000); print('after')").lines
    assert "".join(lines[:-1]) == "x" * 3_000_000
    assert lines[-1] == "after"


def test_cursor_is_valid_for_another_client(jobs: Jobs) -> None:
    name = jobs.start(
        "cursor", "print('first', flush=True); input_ = __import__('time').sleep(1); print('second')"
    )
    jobs.until_says(name, "first")
    cursor = jobs.backend.read_logs(name).cursor
    jobs.finish(name)
    page = jobs.another().read_logs(name, cursor)
    assert (script_lines(page.lines), page.is_last) == (("second",), True)


def test_line_without_an_end_is_returned_after_the_job_has_ended(jobs: Jobs) -> None:
    script = "import os, time\nos.write(1, b'whole\\nha')\ntime.sleep(1)\nos.write(1, b'lf')"
    name = jobs.start("half", script)
    jobs.until_says(name, "whole")
    assert read_all(jobs.backend, name) == ("whole",)
    assert jobs.finish(name).lines == ("whole", "half")


def test_job_continues_after_its_client_is_closed(jobs: Jobs) -> None:
    name = jobs.start("outlive", "import time; print('begun', flush=True); time.sleep(1); print('done')")
    jobs.until_says(name, "begun")
    jobs.backend.close()
    done = jobs.finish(name, jobs.another())
    assert done.lines == ("begun", "done")
    assert done.status.status == "Completed"


def test_another_client_can_stop_a_job(jobs: Jobs) -> None:
    name = jobs.start("elsewhere", PATIENT)
    jobs.until_says(name, "ready")
    other = jobs.another()
    other.stop(name)
    assert jobs.finish(name, other).status.status == "Stopped"
    assert jobs.finish(name).status.status == "Stopped"


def test_stop_is_carried_out_after_its_client_is_closed(jobs: Jobs) -> None:
    name = jobs.start("order", STUBBORN)
    jobs.until_says(name, "ready")
    jobs.backend.stop(name, grace_s=1)
    jobs.until_says(name, "told")
    jobs.backend.close()
    assert jobs.finish(name, jobs.another()).status.status == "Stopped"


def test_clients_of_one_place_have_the_same_place(jobs: Jobs) -> None:
    assert jobs.backend.place == jobs.another().place


def test_forgotten_job_does_not_run_again(jobs: Jobs) -> None:
    request = jobs.request("forgotten", "print('once')")
    jobs.backend.submit(request)
    done = jobs.finish(request["TrainingJobName"])
    jobs.backend.forget(done.status.name)
    jobs.backend.submit(request)
    assert jobs.backend.describe([done.status.name]).get(done.status.name, done.status) == done.status


def test_missing_channel_is_rejected_with_its_name(jobs: Jobs) -> None:
    request = jobs.request("refused", "", channels={"train": "file:///no/such/folder"})
    with pytest.raises(JobRejected, match=r"channel train: .*/no/such/folder"):
        jobs.backend.submit(request)


def test_channel_has_its_files(jobs: Jobs) -> None:
    data = jobs.folder / "data"
    data.mkdir()
    (data / "a.csv").write_text("1,2\n")
    script = "import os; print(open(os.environ['SM_CHANNEL_TRAIN'] + '/a.csv').read().strip())"
    assert jobs.run("channel", script, channels={"train": data.as_uri()}).lines == ("1,2",)


def test_hyperparameters_file_has_the_strings_of_the_request(jobs: Jobs) -> None:
    request = jobs.request("map", "", params={"lr": 0.1, "layers": [1, 2]})
    jobs.backend.submit(request)
    jobs.finish(request["TrainingJobName"])
    written = json.loads((jobs.ml("map") / "input" / "config" / "hyperparameters.json").read_text())
    assert written == request["HyperParameters"]


def test_wait_returns_when_a_job_ends(jobs: Jobs) -> None:
    jobs.start("wake", "")
    asked_at = time.monotonic()
    jobs.backend.wait(30)
    assert time.monotonic() - asked_at < 20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has child subreapers")
def test_processes_end_with_their_job_even_in_another_session(jobs: Jobs) -> None:
    child = "import subprocess, sys; subprocess.Popen(['sleep', '{name}'], start_new_session=True)"
    grandchild = f"{child}; import time; time.sleep(300)"
    seconds = str(10**6 + secrets.randbelow(10**6))  # the argument identifies the process
    script = f"""
import subprocess, sys
{child.replace("{name}", seconds)}
subprocess.Popen([sys.executable, '-c', {grandchild.replace("{name}", seconds)!r}], start_new_session=True)
import time; time.sleep(0.5)
print('done')
"""
    done = jobs.run("outlive", script)
    assert (done.status.status, done.lines) == ("Completed", ("done",))
    assert seconds not in {argument for argv in running() for argument in argv}
