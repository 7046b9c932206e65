"""The live view of a sweep on a terminal: header, progress bar, running trials, best trial, cost, failures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from smsweep.cli.text import cell, clean, counted, counts, front, lasting, pairs, place_use, used
from smsweep.core.json_documents import SweepDocument, TrialFields
from smsweep.core.repeats import mean_text
from smsweep.services.views import json_views
from smsweep.services.views.watcher import Slot, SweepView

Row = tuple[str, ...]
NARROW = 64  # columns; narrower terminals show params on a second line
SPARK = (4, 24)  # columns: minimum, maximum
MIN_BAR = 4  # columns
MAX_REASONS = 3
DIGITS = 4  # of params
STYLES = {
    "running": "cyan",
    "stopping": "yellow",
    "paused": "yellow",
    "stopped": "yellow",
    "cancelled": "yellow",
    "finished": "green",
    "lost": "red",
}
BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-~=+*#"  # for terminals without Unicode, from low to high


class Dashboard:
    """A state of the sweep as a rich renderable, never wider or higher than the terminal."""

    def __init__(self, view: SweepView, *, note: str = "") -> None:
        """Args: view: What to draw. note: A last line, such as the effect of Ctrl-C."""
        self._view = view
        self._note = note

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, view = options.max_width, self._view
        head = [_one_line(_header(view.document), "bold"), _bar(view, width)]
        tail = [line for text, style in self._tail() for line in _lines(text, style, console, width)]
        height = console.size.height - 1  # minus the line of the cursor
        ended = {s: n for s, n in view.document["trials"].items() if s not in ("running", "stopping")}
        middle = [_one_line(f"  {counts(ended)}")] if ended else []
        room = height - len(head) - len(middle) - len(tail)
        lines = [*head, *_slots(view, width, room, is_ascii=options.ascii_only), *middle, *tail][:height]
        yield from map(_in_ascii, lines) if options.ascii_only else lines

    def _tail(self) -> Iterator[tuple[str, str]]:
        """Yield the lines below the running trials, with their styles."""
        view = self._view
        yield best(view), "green"
        yield used(view.document["usage"]), ""
        yield "; ".join(map(place_use, view.document["places"])), ""
        for reason in dict.fromkeys(each["reason"] for each in view.document["waiting"][:1]):
            yield f"waiting: {clean(reason)}", "yellow"
        for reason, n in view.reasons[:MAX_REASONS]:
            yield f"{n} x {clean(reason)}", "red"
        if others := sum(n for _, n in view.reasons[MAX_REASONS:]):
            yield f"and {counted(others, 'failure')} for other reasons", "red"
        for text in (clean(view.document["outlook"]), hint(view), self._note):
            yield text, "dim"


def best(view: SweepView) -> str:
    """Return the best trial, or the Pareto front of several metrics; "" if there is none yet."""
    trial, sweep = view.document["best"], view.document
    if sweep["metrics"]:
        return f"front: {trials}" if (trials := front(sweep)) else ""
    if not trial or not sweep["metric"]:
        return ""
    name = clean(sweep["metric"]["name"])
    value = f": {mean}" if (mean := mean_text(trial)) else f"={cell(trial['objective'])}"
    return f"best {name}{value} ({sweep['id']}/{trial['number']})  {_params(view, trial)}"


def hint(view: SweepView) -> str:
    """Return the command that makes an idle sweep continue; "" if the sweep is not idle."""
    sweep_id, state = view.document["id"], view.document["state"]
    if state == "paused":
        return f"paused; continue with: smsweep sweep --resume {sweep_id}"
    if state == "running" and not view.slots:
        return f"no trial is running; run trials with: smsweep agent {sweep_id}"
    if any(slot.is_lost for slot in view.slots):
        return f"an agent is lost; continue its trials with: smsweep agent {sweep_id}"
    return ""


def _header(sweep: SweepDocument) -> str:
    metrics = sweep["metrics"] or ([sweep["metric"]] if sweep["metric"] else [])
    goals = ", ".join(f"{metric['goal']} {clean(metric['name'])}" for metric in metrics)
    return "  ".join(
        part for part in (sweep["id"], sweep["state"], clean(sweep["name"]), sweep["method"], goals) if part
    )


def _bar(view: SweepView, width: int) -> Table | Text:
    """Return the progress bar, with ended trials, elapsed time and estimated time left."""
    spent = lasting((view.at - view.started_at).total_seconds()) if view.started_at and not view.is_over else ""
    remaining = f"about {lasting(view.eta_s)} left" if view.eta_s is not None and not view.is_over else ""
    done = (
        f"{counted(view.n_ended, 'trial')} ended" if view.expected is None else f"{view.n_ended}/{view.expected}"
    )
    text = "  ".join(part for part in (done, spent, remaining) if part)
    if view.expected is None or width < len(text) + MIN_BAR + 2:
        return _one_line(text)
    grid = Table.grid(padding=(0, 2, 0, 0))
    bar = ProgressBar(total=max(view.expected, 1), completed=view.n_ended, width=min(60, width - len(text) - 2))
    grid.add_row(bar, _one_line(text))
    return grid


def _slots(view: SweepView, width: int, room: int, *, is_ascii: bool) -> list[Text]:
    """Return the running trials that fit into `room` lines, aligned."""
    lines_each = 2 if width < NARROW else 1
    slots = view.slots
    n_visible = len(slots) if len(slots) * lines_each <= room else max(1, (room - 1) // lines_each)
    rows = [_row(slot) for slot in slots[:n_visible]]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    others = width if lines_each == 2 else width * 3 // 5  # the rest is for the params
    spark = max(SPARK[0], min(SPARK[1], others - sum(widths) - 2 * (len(widths) + 1)))
    lines = []
    for slot, row in zip(slots, rows, strict=False):
        columns = [set_cell_size(text, w) for text, w in zip(row, widths, strict=True)]
        curve = set_cell_size(sparkline(slot.curve, spark, is_ascii=is_ascii), spark)
        params = _params(view, slot.trial)
        aligned, style = "  ".join(["", *columns, curve]), STYLES.get(row[1], "")
        if lines_each == 1:
            lines.append(_one_line(f"{aligned}  {params}", style))
        else:
            lines += [_one_line(aligned.rstrip(), style), _one_line(f"    {params}", "dim")]
    if len(slots) > n_visible:
        lines.append(_one_line(f"  and {len(slots) - n_visible} more running"))
    return lines


def _row(slot: Slot) -> Row:
    state = "lost" if slot.is_lost else f"waiting: {slot.waits_for}" if slot.waits_for else slot.trial["state"]
    step = "" if slot.step is None else f"step {slot.step}"
    return str(slot.trial["number"]), state, step, cell(slot.curve[-1], 5) if slot.curve else ""


def _params(view: SweepView, trial: TrialFields) -> str:
    """Return the params of a trial that differ between trials."""
    params = json_views.flat_params(trial["params"])
    return pairs({name: value for name, value in params.items() if name not in view.fixed}, DIGITS)


def _lines(text: str, style: str, console: Console, width: int) -> list[Text]:
    """Return a text as one line, or two on a narrow terminal; no line for ""."""
    if not text:
        return []
    if width >= NARROW or cell_len(text) <= width:
        return [_one_line(text, style)]
    first = Text(text).wrap(console, width)[0].plain
    return [_one_line(first, style), _one_line(f"  {text[len(first) :].strip()}", style)]


def _in_ascii(line: Table | Text) -> Table | Text:
    if isinstance(line, Text):
        plain = line.plain.encode("ascii", "backslashreplace").decode()
        return Text(plain, style=line.style, no_wrap=True, overflow="crop")
    return line


def _one_line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def sparkline(values: Sequence[float], width: int, *, is_ascii: bool = False) -> str:
    """Return a curve of at most `width` characters.

    Args:
        values: Finite numbers, oldest first. More than `width` values are averaged in groups.
        width: In characters.
        is_ascii: Use ASCII characters instead of block characters.

    Returns:
        One character per value or group, scaled from the lowest to the highest; "" without values.
    """
    levels = ASCII if is_ascii else BLOCKS
    n = min(width, len(values))
    means = [fmean(values[i * len(values) // n : (i + 1) * len(values) // n]) for i in range(n)]
    low, high = min(means, default=0.0), max(means, default=0.0)
    scale = high - low
    if not 0 < scale < float("inf"):
        return levels[len(levels) // 2 - 1] * n
    return "".join(levels[min(int((mean - low) / scale * len(levels)), len(levels) - 1)] for mean in means)
