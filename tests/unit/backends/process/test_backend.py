"""The end of one job polls only that job, so that the cost of a trial does not grow with the number of slots."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from smsweep.backends.process.backend import POLL_S
from tests.support.jobs import PATIENCE_S, Jobs

SLEEPS = "import time; print('started'); time.sleep(600)"
ENDS = """
import pathlib, time
while not pathlib.Path({go!r}).exists():
    time.sleep(0.01)
print('last')
"""


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    opened = Jobs(folder=tmp_path, kind="process")
    yield opened
    opened.backend.stop(opened.name("sleeps"), grace_s=0)
    opened.close()


def wait_for_end(jobs: Jobs, name: str, names: list[str]) -> None:
    """Wait for a job's end as the agent does."""
    deadline = time.monotonic() + PATIENCE_S
    while not jobs.backend.describe(names)[name].is_terminal:
        assert time.monotonic() < deadline
        jobs.backend.wait(10)


def test_end_of_a_job_is_described_at_once_with_its_last_lines(jobs: Jobs, tmp_path: Path) -> None:
    go = tmp_path / "go"
    names = [jobs.start("sleeps", SLEEPS), jobs.start("ends", ENDS.format(go=str(go)))]
    assert {status.is_terminal for status in jobs.backend.describe(names).values()} == {False}
    go.touch()
    jobs.backend.wait(30)
    statuses = jobs.backend.describe(names)
    assert [statuses[name].status for name in names] == ["InProgress", "Completed"]
    assert jobs.backend.read_logs(names[1]).lines == ("last",)


def test_end_of_a_job_does_not_poll_the_other_jobs(jobs: Jobs, tmp_path: Path) -> None:
    go = tmp_path / "go"
    names = [jobs.start("sleeps", SLEEPS), jobs.start("ends", ENDS.format(go=str(go)))]
    go.touch()
    wait_for_end(jobs, names[1], names)
    jobs.backend.describe(names)  # without a wait, all jobs are polled
    pid = tmp_path / "jobs" / names[0] / "pid"
    content = pid.read_text()
    pid.write_text("damaged")
    jobs.backend.wait(0)
    assert jobs.backend.describe(names)[names[0]].status == "InProgress"
    assert jobs.backend.read_logs(names[0]).lines == ()
    pid.write_text(content)


def test_running_jobs_are_polled_again_after_a_short_time(jobs: Jobs) -> None:
    name = jobs.start("sleeps", SLEEPS)
    jobs.backend.describe([name])
    lines: list[str] = []
    deadline = time.monotonic() + PATIENCE_S
    while not lines:
        assert time.monotonic() < deadline
        jobs.backend.wait(POLL_S)
        jobs.backend.describe([name])
        lines += jobs.backend.read_logs(name).lines
    assert lines == ["started"]


def test_stop_is_described_at_once(jobs: Jobs) -> None:
    name = jobs.start("sleeps", SLEEPS)
    jobs.until(name, lambda status: status.status == "InProgress")
    jobs.backend.wait(0)
    jobs.backend.stop(name)
    assert jobs.backend.describe([name])[name].status != "InProgress"


def test_job_has_no_variables_of_the_job_before(jobs: Jobs) -> None:
    script = "import os; print(os.environ.get('OWN'), os.environ.get('COMMON'))"
    first = jobs.run("first", script, environment={"OWN": "1", "COMMON": "a"})
    second = jobs.run("second", script, environment={"COMMON": "b"})
    third = jobs.run("third", script, environment={"OWN": "1"})
    assert [*first.lines, *second.lines, *third.lines] == ["1 a", "None b", "1 None"]


def test_invalid_variable_or_argument_fails_only_its_job(jobs: Jobs) -> None:
    assert jobs.run("variable", "", environment={"A=B": "1"}).status.exit_code == 70
    request = jobs.request("argument", "")
    request["AlgorithmSpecification"]["ContainerArguments"] = ["--grace-s", "none"]
    jobs.backend.submit(request)
    assert jobs.finish(jobs.name("argument")).status.status == "Failed"
    assert jobs.run("valid", "print('ran')").lines == ("ran",)
