"""Hints about files that a trial misses, although the source folder has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from smsweep.services.sweeps.snapshot import explain_missing_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "data").mkdir(parents=True)
    for name in ("source/data/x.csv", "source/w.pt", "source/no gaps.npy", "shared.csv", "source/train.py"):
        (tmp_path / name).touch()
    return source


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        ("FileNotFoundError: [Errno 2] No such file or directory: 'data/x.csv' (exit code 1)", "data/x.csv"),
        ("FileNotFoundError: [Errno 2] No such file or directory: './data'", "./data"),
        ("FileNotFoundError: data/x.csv not found.", "data/x.csv"),
        ("exit code 1; last line: cat: data/x.csv: No such file or directory", "data/x.csv"),
        ("OSError: File w.pt does not exist", "w.pt"),
        ("FileNotFoundError: No such file or directory: '/w/.smsweep/jobs/a-0/ml/code/w.pt'", "w.pt"),
        ('RuntimeError: unable to open file "no gaps.npy"', "no gaps.npy"),
        ("FileNotFoundError: [Errno 2] No such file or directory: '../shared.csv'", "../shared.csv"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'data/y.csv'", ""),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/data/x.csv'", ""),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'train.py'", ""),
        ("ValueError: the column of data/x.csv is empty", ""),
        ("KeyError: 'data'", ""),
    ],
)
def test_only_missing_files_of_the_source_folder_are_explained(folder: Path, reason: str, name: str) -> None:
    explained = explain_missing_file(f"{reason}\nTraceback", folder, {"train.py"})
    if not name:
        assert explained == f"{reason}\nTraceback"
        return
    assert explained.startswith(f"{reason}; {name} exists in {folder}, but is not in the copy in which trials run")
    assert explained.endswith("\nTraceback")
    assert "--in-place" in explained


def test_hint_names_the_path_for_inputs(folder: Path) -> None:
    reason = "No such file or directory: 'data/x.csv'"
    assert f'add inputs: {{data: "file://{folder}/data"}} to job.yaml' in explain_missing_file(reason, folder, ())
    assert f'{{w: "file://{folder}/w.pt"}}' in explain_missing_file("No such file: 'w.pt'", folder, ())
