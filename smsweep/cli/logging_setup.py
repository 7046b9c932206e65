"""Logging on stderr. No other module configures logging."""

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
    """Write a line to the current `sys.stderr`, which a live display replaces to print above itself.

    `typer.echo` does not work for this, because it bypasses the replaced stream.
    """
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def set_level(level: int) -> None:
    """Set the log level: QUIET, NORMAL, VERBOSE or DEBUG. DEBUG adds time and logger name."""
    level = max(QUIET, min(level, DEBUG))
    prefix = "%(asctime)s %(name)s " if level == DEBUG else ""
    handler = StderrHandler()
    handler.setFormatter(Formatter(f"{prefix}%(levelname)s: %(message)s"))
    LOGGER.handlers[:] = [handler]
    LOGGER.propagate = False
    LOGGER.setLevel(LEVELS[level])


def is_quiet() -> bool:
    return LOGGER.level >= logging.ERROR
