"""Progress of an agent: live on a terminal, one line an event elsewhere; always on stderr."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from typing import Protocol, TextIO

from smsweep.cli.display.agent_log import Tally
from smsweep.cli.logging_setup import is_quiet
from smsweep.cli.output import say
from smsweep.core.json_documents import TrialFields


class Display(AbstractContextManager["Display"], Protocol):
    """Told of each trial after the tally took it in. is_news: its state changed, not only its metrics."""

    def changed(self, trial: TrialFields, is_news: bool) -> None: ...


class LineDisplay(AbstractContextManager["LineDisplay"]):
    """One line per change of state."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def changed(self, trial: TrialFields, is_news: bool) -> None:
        if is_news:
            say(self._tally.line(trial))

    def __exit__(self, *raised: object) -> None:
        pass


def open_display(tally: Tally) -> Display:
    if not can_be_live(sys.stderr):
        return LineDisplay(tally)
    from smsweep.cli.display.live_display import LiveDisplay  # rich is slow to import

    return LiveDisplay(tally, sys.stderr)


def can_be_live(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown") and not is_quiet()
