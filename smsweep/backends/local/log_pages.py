"""Pages of whole lines from a log file that may still grow."""

from __future__ import annotations

import os
from pathlib import Path

from smsweep.backends.local.job_files import open_file
from smsweep.core.job import LogPage
from smsweep.runtime.script.records import MARK, MAX_RECORD_BYTES

PAGE_BYTES = 1 << 20  # of one page
LINE_BYTES = 1 << 20  # a longer line is cut into several


def read_page(file: Path, cursor: str, *, is_complete: bool) -> LogPage:
    """Return the whole lines after cursor (a byte offset; "" for 0), at most PAGE_BYTES of them.

    is_complete: nothing more will be written, so a last line without an end counts as whole. A line longer
    than LINE_BYTES is handed out in pieces, so that memory stays bounded. No file: an empty page. Raises
    BrokenFile if it is not a regular file.
    """
    offset = int(cursor or 0)
    try:
        with os.fdopen(open_file(file, os.O_RDONLY), "rb") as log:
            log.seek(offset)
            data = log.read(PAGE_BYTES)
    except FileNotFoundError:
        return LogPage(lines=(), cursor=cursor, is_last=is_complete)
    reached_end = len(data) < PAGE_BYTES
    if not data:
        return LogPage(lines=(), cursor=cursor, is_last=is_complete)
    if not (reached_end and is_complete):
        end = data.rfind(b"\n") + 1
        if not end and len(data) >= LINE_BYTES:
            # Between two states of a progress bar, if it is one; else not within a record that may begin here.
            record = data.rfind(MARK[:1].encode(), len(data) - MAX_RECORD_BYTES)
            end = data.rfind(b"\r") + 1 or max(record, 0) or len(data)
        data = data[:end]
    if not data:
        return LogPage(lines=(), cursor=cursor)
    lines = tuple(line.decode("utf-8", errors="replace").rstrip("\r") for line in data.split(b"\n"))
    if lines[-1] == "":
        lines = lines[:-1]
    return LogPage(lines=lines, cursor=str(offset + len(data)), is_last=reached_end and is_complete)
