"""Pages of a log file."""

from __future__ import annotations

from pathlib import Path

from smsweep.backends.log_file import LINE_BYTES, read_page


def test_a_progress_bar_without_a_line_end_is_cut_between_its_states(tmp_path: Path) -> None:
    log = tmp_path / "log"
    states = [f"{number:>80}%" for number in range(3 * LINE_BYTES // 82)]
    log.write_text("\r".join(states))
    found: list[str] = []
    cursor, is_last = "", False
    while not is_last:
        page = read_page(log, cursor, is_complete=True)
        cursor, is_last = page.cursor, page.is_last
        found += [state for line in page.lines for state in line.split("\r")]
    assert found == states
