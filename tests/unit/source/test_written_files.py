"""Files that smsweep and its in-place trials wrote are not part of a source."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from smsweep.source.collect import collect
from smsweep.source.written_files import TRIALS, is_own_document, record_written, written_paths

PAGE = {"url": "http://127.0.0.1:1", "token": "x" * 40, "entry": "http://127.0.0.1:1/?t=x"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "train.py").touch()
    (tmp_path / ".smsweep").mkdir()
    return tmp_path / ".smsweep"


def names(home: Path) -> list[str]:
    return [file.name for file in collect(home.parent, written=written_paths(home))]


def test_recorded_files_and_folders_are_not_collected(home: Path) -> None:
    report, runs = home.parent / "report.html", home.parent / "runs"
    report.touch()
    runs.mkdir()
    (runs / "a.tfevents").touch()
    record_written(home, [report, runs, report])
    assert names(home) == ["train.py"]
    assert len((home / "written.jsonl").read_text().splitlines()) == 2
    (home.parent / ".smsweepignore").write_text("!report.html\n")
    assert names(home) == [".smsweepignore", "report.html", "train.py"]


def test_file_that_replaces_an_output_is_collected(home: Path) -> None:
    table, mine = home.parent / "t.csv", home.parent / "mine.csv"
    for path in (table, mine):
        path.touch()
    record_written(home, [table])
    record_written(home, [mine], by=TRIALS)  # trials replace their files, so these count by their path
    for path in (table, mine):
        path.with_suffix(".new").touch()
        path.with_suffix(".new").replace(path)
    assert names(home) == ["t.csv", "train.py"]


def test_record_without_a_workspace_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    record_written(tmp_path / ".smsweep", [tmp_path / "a.csv"])
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_damaged_record_is_ignored(home: Path) -> None:
    (home / "written.jsonl").write_bytes(b'{"path": 1\n[]\n\xff\n{"path": "/x"}\n')
    assert names(home) == ["train.py"]


def test_redirected_output_of_a_process_is_not_collected(home: Path) -> None:
    code = (
        "from pathlib import Path; from smsweep.source.written_files import *\n"
        "from smsweep.source.collect import collect\n"
        "print([f.name for f in collect(Path(), written=written_paths(Path('.smsweep')))])"
    )
    log = home.parent / "nohup.out"
    with log.open("wb") as out:
        subprocess.run([sys.executable, "-c", code], cwd=home.parent, stdout=out, stderr=out, check=True)
    assert log.read_text() == "['train.py']\n"


@pytest.mark.parametrize(
    ("content", "is_own"),
    [
        (json.dumps(PAGE), True),
        (json.dumps(PAGE, indent=2) + "\n" + json.dumps(PAGE), True),
        (
            json.dumps({"method": "grid", "expected_trial_count": 3, "rules": [], "trials": [], "warnings": []}),
            True,
        ),
        (json.dumps({**PAGE, "mine": 1}), False),
        (json.dumps({"url": "http://x", "token": "y"}), False),
        (json.dumps({"method": "grid", "lr": 1}), False),
        ('{"url": ', False),
        ("[]", False),
        ("", False),
        ("[" * 100_000, False),
    ],
)
def test_own_documents_are_recognized_by_their_keys(tmp_path: Path, content: str, is_own: bool) -> None:
    (tmp_path / "ui.json").write_text(content)
    assert is_own_document(tmp_path / "ui.json") is is_own
