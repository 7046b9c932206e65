"""How much is said on stderr: the only place that configures logging."""

from __future__ import annotations

import logging
import sys

from smsweep.util.log_levels import NOTE

QUIET, NORMAL, VERBOSE, DEBUG = -1, 0, 1, 2
LEVELS = {QUIET: logging.ERROR, NORMAL: NOTE, VERBOSE: logging.INFO, DEBUG: logging.DEBUG}
LOGGER = logging.getLogger("smsweep")


class StderrHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        write_err(self.format(record))


class Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        record.levelname = record.levelname.lower()
        return super().format(record)


def write_err(line: str) -> None:
    """Write a line to whatever stderr is at that moment: a live display takes its place and stays below.

    Not by `typer.echo`, which looks for the real stream behind it.
    """
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def set_level(level: int) -> None:
    """Say more or less from now on; DEBUG also says when and where."""
    level = max(QUIET, min(level, DEBUG))
    where = "%(asctime)s %(name)s " if level == DEBUG else ""
    handler = StderrHandler()
    handler.setFormatter(Formatter(f"{where}%(levelname)s: %(message)s"))
    LOGGER.handlers[:] = [handler]
    LOGGER.propagate = False
    LOGGER.setLevel(LEVELS[level])


def is_quiet() -> bool:
    return LOGGER.level >= logging.ERROR
