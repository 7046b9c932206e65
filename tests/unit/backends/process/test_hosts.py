"""Jobs with several hosts on the process backend."""

from __future__ import annotations

from pathlib import Path

import pytest

from smsweep.backends.process.backend import prepare
from smsweep.core.job import JobTemplate

SEVERAL = {"InstanceGroups": [{"InstanceGroupName": name, "InstanceCount": 1} for name in ("a", "b")]}


@pytest.mark.parametrize(
    ("resources", "warning"),
    [
        ({}, ""),
        ({"InstanceCount": 1}, ""),
        ({"InstanceCount": 3}, "asks for 3 instances"),
        (SEVERAL, "asks for 2"),
    ],
)
def test_prepare_warns_about_several_hosts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, resources: dict[str, object], warning: str
) -> None:
    prepare(JobTemplate(request={"ResourceConfig": resources}), tmp_path, tmp_path, {}, upload=True)
    assert warning in caplog.text if warning else not caplog.text
