"""The table of backends."""

from __future__ import annotations

import subprocess
import sys

import pytest

from smsweep.backends.registry import BUILT_IN, backend_spec, is_local


@pytest.mark.parametrize("name", BUILT_IN)
def test_local_backends_are_known_without_their_specs(name: str) -> None:
    assert is_local(name) == backend_spec(name).is_local


def test_backend_choices_import_neither_boto3_nor_docker() -> None:
    program = (
        "import sys; from smsweep.services.agents.detach import costs_money; "
        "from smsweep.backends.registry import backend_names; [costs_money(name) for name in backend_names()]; "
        "print([name for name in ('boto3', 'docker') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
