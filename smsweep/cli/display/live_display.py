"""The live display on a terminal: of a sweep that others run (`watch`), or beside an agent of ours."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import TextIO

from rich.console import Console, RenderableType
from rich.text import Text

from smsweep.cli.display.agent_log import BROKEN, Tally
from smsweep.cli.display.dashboard import Board
from smsweep.cli.display.refresher import Looker
from smsweep.cli.display.terminal_live import CursorAbove
from smsweep.cli.output import say
from smsweep.core.json_documents import TrialFields
from smsweep.errors import SmsweepError
from smsweep.services.views import watcher as watching

FRAME_S = 0.25  # between two drawings
LOOK_S = 0.5  # between two looks, at least


class Screen(AbstractContextManager["Screen"]):
    """Draws boards over one another at the terminal's bottom, and minds that it changes its size."""

    def __init__(self, stream: TextIO, *, stays: bool) -> None:
        """stays: leave the last board behind."""
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
    """Beside an agent: a thread that looks and draws until the agent is done."""

    def __init__(self, tally: Tally, stream: TextIO) -> None:
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
            say(self._tally.line(trial))  # stays above the display

    def _run(self) -> None:
        try:
            with watching.Watcher(self._tally.sweep_id) as watcher:
                looker = Looker(watcher, LOOK_S)
                while not self._done.wait(FRAME_S):
                    show(self._screen, looker)
        except SmsweepError:
            return  # the agent meets the same, and says so


def show(screen: Screen, looker: Looker, note: str = "") -> None:
    """Look again when it is time, and draw."""
    looker.try_again()
    if looker.look is not None:
        screen.draw(Board(looker.look, note=looker.trouble or note))
