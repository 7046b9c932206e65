"""The process backend passes the contract that plug-ins can run."""

from __future__ import annotations

from smsweep.backends.registry import backend_spec
from smsweep.testing import BackendContract


class TestProcess(BackendContract):
    spec = backend_spec("process")
