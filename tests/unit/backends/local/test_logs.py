"""Pages of a log file."""

from __future__ import annotations

from pathlib import Path

import pytest

from smsweep.backends.local.job_files import LINE_BYTES, read_page
from smsweep.runtime.script.records import METRICS, records


def read_all(log: Path) -> list[str]:
    found: list[str] = []
    cursor, is_last = "", False
    while not is_last:
        page = read_page(log, cursor, is_complete=True)
        cursor, is_last = page.cursor, page.is_last
        found += page.lines
    return found


@pytest.mark.parametrize("n_before", [-60, -30, -5, -1, 0, 1])
def test_record_after_a_long_line_is_not_split(tmp_path: Path, n_before: int) -> None:
    log = tmp_path / "log"
    (record,) = records(METRICS, {"loss": 0.5}, step=3, time=1.5)
    log.write_text("x" * (LINE_BYTES + n_before) + record + "\nmore\n")
    pieces = read_all(log)
    assert pieces[-2].endswith(record)
    assert "".join(pieces[:-1]) == "x" * (LINE_BYTES + n_before) + record


def test_progress_bar_without_a_line_end_is_split_between_states(tmp_path: Path) -> None:
    log = tmp_path / "log"
    states = [f"{number:>80}%" for number in range(3 * LINE_BYTES // 82)]
    log.write_text("\r".join(states))
    assert [state for line in read_all(log) for state in line.split("\r")] == states
