"""kill -9 of the emulator: its jobs continue, and the next emulator of the folder completes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.support.account import Account

SCRIPT = "import time; print('before', flush=True); time.sleep(4); print('after')"


@contextmanager
def served(folder: Path) -> Iterator[Account]:
    """Run `smsweep emulator` until the `with` ends, then kill it."""
    command = [sys.executable, "-m", "smsweep.cli.main", "--quiet", "emulator", "--port", "0", "--json"]
    environ = {**os.environ, "SMSWEEP_DIR": str(folder)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)
    try:
        assert process.stdout is not None
        output: Any = SimpleNamespace(**json.loads(process.stdout.readline()))
        yield Account(output)
    finally:
        process.kill()
        process.communicate()


def test_job_survives_killed_emulator_and_next_emulator_completes_it(tmp_path: Path) -> None:
    with served(tmp_path) as account:
        account.create("lives", SCRIPT)
        account.wait_for_line("lives", "before")
    with served(tmp_path) as account:
        assert account.wait("lives")["TrainingJobStatus"] == "Completed"
        assert account.lines("lives") == ["before", "after"]
        assert account.statuses("lives") == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
        created = [entry for entry in account.admin("GET", "ledger") if entry["action"] == "CreateTrainingJob"]
        assert [entry["outcome"] for entry in created] == ["accepted"]
