"""rich's live display, with the cursor kept above the display.

A terminal that changes its width wraps all lines again, keeps the cursor on its line, and notifies the program
later. A cursor on the last line is then an unknown number of rows below the first line. So the cursor stays on the
first line.
"""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderResult
from rich.live import Live
from rich.segment import ControlType, Segment

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
