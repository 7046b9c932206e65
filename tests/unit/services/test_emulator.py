"""The values that `--faults` accepts."""

from __future__ import annotations

from pathlib import Path

import pytest

from smsweep.errors import UsageError
from smsweep.services.emulator import read_faults


def test_faults_are_read_from_json_yaml_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text("quota: 3\n")
    for given in ('{"quota": 3}', "quota: 3", file, str(file), {"quota": 3}):
        assert read_faults(given) == {"quota": 3}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nowhere.json", "nowhere.json: No such file or directory"),
        ("/", "/: Is a directory"),
        ('{"quota": ', "neither YAML nor JSON"),
        ("- a: b", "expected a mapping"),
    ],
)
def test_invalid_faults_raise_a_usage_error(given: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"^faults: {message}"):
        read_faults(given)
