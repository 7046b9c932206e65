"""The process backend passes the contract that plug-ins can run."""

from __future__ import annotations

from smsweep.backends.registry import BACKENDS, PREPARE, SETTINGS
from smsweep.backends.spec import BackendSpec
from smsweep.testing import BackendContract


class TestProcess(BackendContract):
    spec = BackendSpec(
        open=lambda context: BACKENDS["process"](
            context.jobs_dir, context.runtime_zip, context.environ, context.clock
        ),
        prepare=PREPARE["process"],
        check_settings=SETTINGS["process"],
    )
