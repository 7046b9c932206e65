"""The live display on a terminal, for `watch` and during `run` and `agent`.

The cursor stays on the first line of the display. A terminal that changes its width wraps all lines again,
keeps the cursor on its line, and notifies the program later. A cursor on the last line would then be an unknown
number of rows below the first line.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import TextIO

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderResult
from rich.live import Live
from rich.segment import ControlType, Segment
from rich.text import Text

from smsweep.cli.display.agent_log import BROKEN, FailureTally
from smsweep.cli.display.dashboard import Dashboard
from smsweep.cli.output import print_message
from smsweep.core.json_documents import TrialFields
from smsweep.errors import SmsweepError
from smsweep.services.views import watcher as watching
from smsweep.services.views.watcher import Poller

FRAME_S = 0.25  # between two drawings
POLL_S = 0.5  # minimum between two polls
# Erase to the end, but not from the first column: in the first row, tmux saves the screen to its history.
ERASE = "\r \x1b[J\r\x1b[K"
CUT, WRAP = "\x1b[?7l", "\x1b[?7h"  # for long lines; a cut line is one row at any width


class CursorAbove(Live):
    """Draws over its last output, also after the terminal was resized."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Return the renderables to print, with the display below them."""
        if not self.console.is_interactive:
            return super().process_renderables(renderables)
        return [_Code(ERASE), *renderables, _Drawing(self.renderable, is_last=not self.is_started)]

    def stop(self) -> None:
        """Draw a last time, and keep the result on the terminal unless the display is transient."""
        was_started = self.is_started
        super().stop()
        if was_started and self.console.is_interactive and not self.transient:
            self.console.line()


class _Code:
    def __init__(self, code: str) -> None:
        self._code = code

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield _control(self._code)


class _Drawing:
    def __init__(self, renderable: RenderableType, *, is_last: bool) -> None:
        self._renderable = renderable
        self._is_last = is_last

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._renderable, options, pad=False)
        yield _control(CUT)
        for n, line in enumerate(lines):
            if n:
                yield Segment.line()
            yield from line
        yield _control(WRAP)
        if not self._is_last:
            yield _control("\r" + (f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""))


def _control(code: str) -> Segment:
    return Segment(code, None, [(ControlType.CARRIAGE_RETURN,)])


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
    if poller.view is not None:
        screen.draw(Dashboard(poller.view, note=poller.trouble or note))
