"""What --faults takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from smsweep.errors import UsageError
from smsweep.services.emulator import read_faults


def test_a_document_is_given_as_json_as_yaml_or_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text("quota: 3\n")
    for given in ('{"quota": 3}', "quota: 3", file, str(file), {"quota": 3}):
        assert read_faults(given) == {"quota": 3}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("nowhere.json", "nowhere.json: No such file or directory"),
        ("/", "/: Is a directory"),
        ('{"quota": ', "neither YAML nor JSON"),
        ("- a: b", "expected a mapping"),
    ],
)
def test_what_is_no_document_is_said(given: str, words: str) -> None:
    with pytest.raises(UsageError, match=f"^faults: {words}"):
        read_faults(given)
