"""The live display of an agent on a terminal: a bar, the running trials, the best so far, failures."""

from __future__ import annotations

from contextlib import AbstractContextManager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from smsweep import sdk
from smsweep.cli.output import say
from smsweep.cli.tally import Tally
from smsweep.cli.text import counts

MOST_RUNNING = 8  # lines; more would push the bar off a small terminal
FAILURES = ("failed", "crashed")


class LiveDisplay(AbstractContextManager["LiveDisplay"]):
    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._task = self._bar.add_task(tally.sweep_id, total=tally.expected, completed=tally.n_ended)
        self._live = Live(
            get_renderable=self._draw, console=Console(stderr=True), transient=True, refresh_per_second=4
        )

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._live.stop()

    def changed(self, run: sdk.api.ApiRun, is_news: bool) -> None:
        self._bar.update(self._task, completed=self._tally.n_ended)
        if is_news and run.state in FAILURES:
            say(f"{run.trial.label} {run.state}  {self._tally.news(run)}")  # stays above the display

    def _draw(self) -> RenderableType:
        lines: list[RenderableType] = [self._bar]
        running = list(self._tally.active.values())
        for run in running[:MOST_RUNNING]:
            lines.append(_one_line(f"  {run.trial.label} {run.state:<8} {self._tally.news(run)}"))
        if len(running) > MOST_RUNNING:
            lines.append(_one_line(f"  and {len(running) - MOST_RUNNING} more"))
        failures = {state: self._tally.ended[state] for state in FAILURES}
        if any(failures.values()):
            lines.append(_one_line(f"  {counts(failures)}", style="red"))
        if self._tally.best:
            lines.append(_one_line(f"  {self._tally.best_text()}", style="green"))
        return Group(*lines)


def _one_line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
