"""Tests do not depend on the shell that starts them, or on the tests before them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from smsweep.cli.streams import QUIET, set_level
from tests.support.markdown import ROOT

CHILD = "import signal, sys; sys.exit(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"


def test_process_of_a_test_receives_sigint() -> None:
    assert subprocess.run([sys.executable, "-c", CHILD], check=False).returncode == 0


def test_process_of_a_test_receives_sigint_when_suite_started_with_sigint_ignored() -> None:
    test = f"{__file__}::{test_process_of_a_test_receives_sigint.__name__}"
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-c", ignoring, *suite],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("run", ["first", "second"])
def test_log_level_of_a_command_does_not_reach_the_next_test(run: str, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("smsweep").warning("a warning of the %s run", run)
    assert caplog.messages == [f"a warning of the {run} run"]
    set_level(QUIET)
