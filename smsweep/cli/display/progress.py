"""Progress of an agent on stderr: live on a terminal, one line per event otherwise."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from typing import Protocol, TextIO

from smsweep.cli.display.agent_log import FailureTally
from smsweep.cli.output import print_message
from smsweep.cli.streams import is_quiet
from smsweep.core.json_documents import TrialFields


class Display(AbstractContextManager["Display"], Protocol):
    """Shows changes of trials. `is_news` is True if the state changed, not only the metrics."""

    def changed(self, trial: TrialFields, is_news: bool) -> None: ...


class LineDisplay(AbstractContextManager["LineDisplay"]):
    """Prints one line per change of state."""

    def __init__(self, tally: FailureTally) -> None:
        self._tally = tally

    def changed(self, trial: TrialFields, is_news: bool) -> None:
        if is_news:
            print_message(self._tally.line(trial))

    def __exit__(self, *raised: object) -> None:
        pass


def open_display(tally: FailureTally) -> Display:
    if not can_be_live(sys.stderr):
        return LineDisplay(tally)
    from smsweep.cli.display.live_display import LiveDisplay  # rich is slow to import

    return LiveDisplay(tally, sys.stderr)


def can_be_live(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown") and not is_quiet()
