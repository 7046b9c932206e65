"""Progress of an agent: live on a terminal, one line an event elsewhere; always on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from smsweep import sdk
from smsweep.cli.output import say
from smsweep.cli.talk import is_quiet
from smsweep.cli.tally import Tally
from smsweep.tables import LazyTable


class Display(AbstractContextManager["Display"], Protocol):
    """Told of each trial after the tally took it in. is_news: its state changed, not only its metrics."""

    def changed(self, run: sdk.api.ApiRun, is_news: bool) -> None: ...


class LineDisplay(AbstractContextManager["LineDisplay"]):
    """One line per change of state."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def changed(self, run: sdk.api.ApiRun, is_news: bool) -> None:
        if is_news:
            say(f"{run.trial.label} {run.state}  {self._tally.news(run)}".rstrip())

    def __exit__(self, *raised: object) -> None:
        pass


LIVE: LazyTable[Callable[[Tally], Display]] = LazyTable({"live": "smsweep.cli.live:LiveDisplay"})


def open_display(tally: Tally) -> Display:
    is_live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not is_quiet()
    return LIVE["live"](tally) if is_live else LineDisplay(tally)
