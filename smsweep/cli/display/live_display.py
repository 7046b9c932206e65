"""The live display on a terminal, for `watch` and during `run` and `agent`."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import TextIO

from rich.console import Console, RenderableType
from rich.text import Text

from smsweep.cli.display.agent_log import BROKEN, FailureTally
from smsweep.cli.display.dashboard import Dashboard
from smsweep.cli.display.refresher import Poller
from smsweep.cli.display.terminal_live import CursorAbove
from smsweep.cli.output import print_message
from smsweep.core.json_documents import TrialFields
from smsweep.errors import SmsweepError
from smsweep.services.views import watcher as watching

FRAME_S = 0.25  # between two drawings
POLL_S = 0.5  # minimum between two polls


class Screen(AbstractContextManager["Screen"]):
    """Draws each board over the last one at the bottom of the terminal, also after a change of its size."""

    def __init__(self, stream: TextIO, *, stays: bool) -> None:
        """Args: stream: The terminal. stays: Keep the last board on the terminal at the end."""
        self._console = Console(file=stream)
        self._board: RenderableType = Text("")
        self._stays = stays
        self._live = CursorAbove(
            get_renderable=lambda: self._board,
            console=self._console,
            auto_refresh=False,
            transient=not stays,
        )

    def __enter__(self) -> Screen:
        self._live.start()
        return self

    def __exit__(self, *raised: object) -> None:
        if not self._stays:
            self._board = Text("")
        self._live.stop()

    def draw(self, board: RenderableType) -> None:
        self._board = board
        self._live.refresh()


class LiveDisplay(AbstractContextManager["LiveDisplay"]):
    """A thread that draws the state of a sweep while an agent runs."""

    def __init__(self, tally: FailureTally, stream: TextIO) -> None:
        self._tally = tally
        self._screen = Screen(stream, stays=False)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="smsweep-display", daemon=True)

    def __enter__(self) -> LiveDisplay:
        self._screen.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._done.set()
        self._thread.join()
        self._screen.__exit__(*raised)

    def changed(self, trial: TrialFields, is_news: bool) -> None:
        if is_news and trial["state"] in BROKEN:
            print_message(self._tally.line(trial))  # stays above the display

    def _run(self) -> None:
        try:
            with watching.Watcher(self._tally.sweep_id) as watcher:
                poller = Poller(watcher, POLL_S)
                while not self._done.wait(FRAME_S):
                    show(self._screen, poller)
        except SmsweepError:
            return  # the agent gets the same error and reports it


def show(screen: Screen, poller: Poller, note: str = "") -> None:
    """Poll if the interval has passed, and draw."""
    poller.poll()
    if poller.look is not None:
        screen.draw(Dashboard(poller.look, note=poller.trouble or note))
