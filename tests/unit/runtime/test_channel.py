"""Tests of metrics on stdout from real processes: each point arrives once and in order among other output."""

from __future__ import annotations

import textwrap
from datetime import datetime, timezone

from smsweep.api.api import rows
from smsweep.core.trial import MetricPoint
from smsweep.engine.metric_parser import MetricParser
from tests.unit.runtime.jobs import Done, Job

AT = datetime(2025, 1, 1, tzinfo=timezone.utc)

NOISY = """
import sys, smsweep
for i in range(10_000):
    sys.stderr.write(f"\\r\\x1b[32m{i / 100:3.0f}%|####    | {i}/10000 [00:01<00:02]")
    if i % 7 == 0: sys.stdout.write("half a line")
    if i % 100 == 0: print("loss=" + "x" * 5000, flush=True)
    smsweep.log({"i": i})
"""
PROCESSES = """
import os, smsweep, sys, threading
rank = 0
for number in (1, 2, 3):
    if os.fork() == 0:
        rank = number
        break
def work(name):
    for i in range(250):
        sys.stderr.write("noise " * 50)
        smsweep.log({f"{rank}/{name}": i})
threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
for thread in threads: thread.start()
for thread in threads: thread.join()
if rank == 0:
    for _ in range(3): os.wait()
"""


INTERRUPTED = """
import signal, smsweep
signal.signal(signal.SIGALRM, lambda *_: smsweep.log({"told": 1}))
for i in range(2000):
    if i % 10 == 0: signal.setitimer(signal.ITIMER_REAL, 0.0001)  # it comes within one of the next calls
    smsweep.log({"i": i})
"""


SAME_NAME = """
import os, smsweep, subprocess, sys
if len(sys.argv) > 2:
    first = int(sys.argv[2])
else:
    smsweep.log({"i": 0})
    others = [subprocess.Popen([sys.executable, sys.argv[0], "-", str(first)]) for first in (1000, 2000)]
    first = 3000 if os.fork() == 0 else 1
for i in range(first, first + 500):
    smsweep.log({"i": i})
if first == 1:
    for other in others: other.wait()
    os.wait()
"""


def points(done: Done) -> list[MetricPoint]:
    return MetricParser().read(done.out.split("\n"), AT).points


def test_ten_thousand_points_between_progress_bars_arrive_once_and_in_order(job: Job) -> None:
    done = job.trial({"train.py": NOISY}).run()
    assert [(point.value, point.step) for point in points(done)] == [(i, i) for i in range(10_000)]


def test_points_of_several_processes_and_threads_arrive_once_and_in_order(job: Job) -> None:
    done = job.trial({"train.py": PROCESSES}).run()
    found: dict[str, list[object]] = {}
    for point in points(done):
        found.setdefault(point.name, []).append(point.value)
    assert found == {f"{rank}/{name}": list(range(250)) for rank in range(4) for name in "ab"}


def test_points_of_several_processes_are_separate_rows(job: Job) -> None:
    done = job.trial({"train.py": SAME_NAME}, {"x": 1}).run()
    logged = [int(str(row["i"])) for row in rows(points(done))]
    for first in (1, 1000, 2000, 3000):
        assert [i for i in logged if first <= i < first + 500] == list(range(first, first + 500))
    assert len(logged) == 2001


def test_points_arrive_while_stdout_is_redirected(job: Job) -> None:
    script = """
    import os, smsweep
    smsweep.log({"x": 0})
    job = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    smsweep.log({"x": 1})
    os.close(1)
    smsweep.log({"x": 2})
    with open("mine", "wb", buffering=0) as mine:  # has the number of stdout now
        assert mine.fileno() == 1
        smsweep.log({"x": 3})
    assert os.path.getsize("mine") == 0
    os.dup2(job, 1)
    smsweep.log({"x": 4})
    os.closerange(3, 100)
    os.dup2(os.open("more", os.O_RDWR | os.O_CREAT), 5)
    os.dup2(5, 1)
    smsweep.log({"x": 5})  # not visible, and not written to a file that the script opened since
    assert os.path.getsize("more") > 0
    """
    done = job.trial({"train.py": textwrap.dedent(script)}).run()
    assert (done.code, [(point.value, point.step) for point in points(done)]) == (0, [(i, i) for i in range(5)])


def test_logging_with_stdout_closed_does_not_stop_the_script(job: Job) -> None:
    script = """
    import os, smsweep
    os.close(1)
    smsweep.log({"x": 1})
    open("survived", "w").close()
    """
    done = job.trial({"train.py": textwrap.dedent(script)}).run()
    assert ((job.ml / "code/survived").exists(), "metrics cannot be written" in done.out) == (True, True)


def test_record_waits_while_non_blocking_stdout_is_full(job: Job) -> None:
    script = """
    import os, smsweep
    os.set_blocking(1, False)
    for i in range(3000): smsweep.log({"i": i, "fill": "x" * 1000})
    """
    done = job.trial({"train.py": textwrap.dedent(script)}).run()
    assert [point.value for point in points(done) if point.name == "i"] == list(range(3000))


def test_child_script_logs_to_the_trial(job: Job) -> None:
    files = {
        "train.py": "import subprocess, sys; subprocess.run([sys.executable, 'worker.py'])",
        "worker.py": "import smsweep; smsweep.log({'lr': smsweep.init().config.lr})",
    }
    done = job.trial(files, {"lr": 0.5}).run()
    assert [(point.name, point.value) for point in points(done)] == [("lr", 0.5)]


def test_signal_handler_can_log_during_a_log(job: Job) -> None:
    done = job.trial({"train.py": INTERRUPTED}).run()
    found = [point.value for point in points(done) if point.name == "i"]
    assert (done.code, found, '"told": 1' in done.out) == (0, list(range(2000)), True)
