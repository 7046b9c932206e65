"""Tests of the zip with the runtime."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import zipfile

from smsweep.source.runtime_zip import runtime_zip
from tests.unit.runtime.jobs import Job

HASH = """
import hashlib{}
from smsweep.source.runtime_zip import runtime_zip
print(hashlib.sha256(runtime_zip()).hexdigest())
"""


def test_runtime_zip_is_reproducible() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", HASH.format(also)], capture_output=True, text=True, check=True
        ).stdout
        for also in ("", ", json, email.message, http.client, sqlite3")
    }
    assert found == {hashlib.sha256(runtime_zip()).hexdigest() + "\n"}


def test_runtime_zip_has_only_the_runtime() -> None:
    names = zipfile.ZipFile(io.BytesIO(runtime_zip())).namelist()
    sources = {name.removesuffix("c") for name in names}
    assert {"__main__.py", "smsweep/__init__.py", "smsweep/runtime/job/entrypoint.py"} <= sources
    top = {"__main__.py", "sitecustomize.py", "smsweep/__init__.py", "smsweep/_version.py"}
    assert all(name.startswith("smsweep/runtime/") for name in sources - top)


def test_other_smsweep_modules_in_a_job_raise_a_clear_error(job: Job) -> None:
    done = job.trial({"train.py": "from smsweep import sweep"}).run()
    assert (done.code, "smsweep.sweep is not available inside a job" in done.out) == (1, True)


def test_importing_smsweep_loads_no_submodule() -> None:
    code = "import smsweep, sys; print([name for name in sys.modules if name.startswith('smsweep.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
