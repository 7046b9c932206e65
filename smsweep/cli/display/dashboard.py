"""How a sweep that goes on looks on a terminal: a header, a bar, the running trials, the best, failures, money."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from smsweep.cli.display.sparkline import sparkline
from smsweep.cli.text import cell, clean, counts, front, lasting, pairs, used
from smsweep.core.json_documents import SweepDocument, TrialFields
from smsweep.services.views import json_views
from smsweep.services.views.watcher import Look, Slot

Row = tuple[str, ...]
NARROW = 64  # columns; below, params have a line of their own
SPARK = (4, 24)  # columns: fewest, most
LEAST_BAR = 4  # columns
MOST_REASONS = 3
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


class Board:
    """A look as something rich draws, never wider or higher than the terminal."""

    def __init__(self, look: Look, *, note: str = "") -> None:
        """note: a last line, such as what Ctrl-C does."""
        self._look = look
        self._note = note

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, look = options.max_width, self._look
        head = [_one_line(_header(look.shown), "bold"), _bar(look, width)]
        tail = [line for text, style in self._tail() for line in _lines(text, style, console, width)]
        height = console.size.height - 1  # the cursor's line, after the last board
        ended = {s: n for s, n in look.shown["trials"].items() if s not in ("running", "stopping")}
        middle = [_one_line(f"  {counts(ended)}")] if ended else []
        room = height - len(head) - len(middle) - len(tail)
        lines = [*head, *_slots(look, width, room, is_ascii=options.ascii_only), *middle, *tail][:height]
        yield from map(_in_ascii, lines) if options.ascii_only else lines

    def _tail(self) -> Iterator[tuple[str, str]]:
        """Yield what stands below the running trials, with styles."""
        look = self._look
        yield best(look), "green"
        yield used(look.shown["usage"]), ""
        for reason in dict.fromkeys(found["reason"] for found in look.shown["waiting"][:1]):
            yield f"waits: {clean(reason)}", "yellow"
        for reason, n in look.reasons[:MOST_REASONS]:
            yield f"{n} x {clean(reason)}", "red"
        if others := sum(n for _, n in look.reasons[MOST_REASONS:]):
            yield f"and {others} more failures, of other kinds", "red"
        for text in (clean(look.shown["outlook"]), hint(look), self._note):
            yield text, "dim"


def best(look: Look) -> str:
    """Return the best trial, or how many are on the front; "" while there is none."""
    found, shown = look.shown["best"], look.shown
    if shown["metrics"]:
        return f"front: {told}" if (told := front(shown)) else ""
    if not found or not shown["metric"]:
        return ""
    name = clean(shown["metric"]["name"])
    value = found["repeats"]["mean"] if "repeats" in found else found["objective"]
    return f"best {name}={cell(value)} ({shown['id']}/{found['number']})  {_params(look, found)}"


def hint(look: Look) -> str:
    """Say why nothing happens, where somebody can do something about it."""
    sweep_id, state = look.shown["id"], look.shown["state"]
    if state == "paused":
        return f"paused; go on with: smsweep sweep --resume {sweep_id}"
    if state == "running" and not look.slots:
        return f"no trial runs; run some with: smsweep agent {sweep_id}"
    if any(slot.is_lost for slot in look.slots):
        return f"an agent is gone; another takes its trials up: smsweep agent {sweep_id}"
    return ""


def _header(shown: SweepDocument) -> str:
    metrics = shown["metrics"] or ([shown["metric"]] if shown["metric"] else [])
    goals = ", ".join(f"{metric['goal']} {clean(metric['name'])}" for metric in metrics)
    return "  ".join(
        part for part in (shown["id"], shown["state"], clean(shown["name"]), shown["method"], goals) if part
    )


def _bar(look: Look, width: int) -> Table | Text:
    """Return the bar with how many trials have ended, and how long it took and will take."""
    spent = lasting((look.at - look.started_at).total_seconds()) if look.started_at and not look.is_over else ""
    left = f"about {lasting(look.eta_s)} left" if look.eta_s is not None and not look.is_over else ""
    done = f"{look.n_ended} trials ended" if look.expected is None else f"{look.n_ended}/{look.expected}"
    said = "  ".join(part for part in (done, spent, left) if part)
    if look.expected is None or width < len(said) + LEAST_BAR + 2:
        return _one_line(said)
    grid = Table.grid(padding=(0, 2, 0, 0))
    bar = ProgressBar(total=max(look.expected, 1), completed=look.n_ended, width=min(60, width - len(said) - 2))
    grid.add_row(bar, _one_line(said))
    return grid


def _slots(look: Look, width: int, room: int, *, is_ascii: bool) -> list[Text]:
    """Return the running trials as aligned lines, as many as there is room for."""
    lines_each = 2 if width < NARROW else 1
    slots = look.slots
    n_shown = len(slots) if len(slots) * lines_each <= room else max(1, (room - 1) // lines_each)
    rows = [_row(slot) for slot in slots[:n_shown]]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    others = width if lines_each == 2 else width * 3 // 5  # the rest is for the params
    spark = max(SPARK[0], min(SPARK[1], others - sum(widths) - 2 * (len(widths) + 1)))
    lines = []
    for slot, row in zip(slots, rows, strict=False):
        columns = [set_cell_size(text, w) for text, w in zip(row, widths, strict=True)]
        curve = set_cell_size(sparkline(slot.curve, spark, is_ascii=is_ascii), spark)
        params = _params(look, slot.trial)
        aligned, style = "  ".join(["", *columns, curve]), STYLES.get(row[1], "")
        if lines_each == 1:
            lines.append(_one_line(f"{aligned}  {params}", style))
        else:
            lines += [_one_line(aligned.rstrip(), style), _one_line(f"    {params}", "dim")]
    if len(slots) > n_shown:
        lines.append(_one_line(f"  and {len(slots) - n_shown} more running"))
    return lines


def _row(slot: Slot) -> Row:
    state = "lost" if slot.is_lost else f"waits: {slot.waits_for}" if slot.waits_for else slot.trial["state"]
    step = "" if slot.step is None else f"step {slot.step}"
    return str(slot.trial["number"]), state, step, cell(slot.curve[-1], 5) if slot.curve else ""


def _params(look: Look, trial: TrialFields) -> str:
    """Return the params that make a trial differ from others."""
    params = json_views.flat_params(trial["params"])
    return pairs({name: value for name, value in params.items() if name not in look.fixed}, DIGITS)


def _lines(text: str, style: str, console: Console, width: int) -> list[Text]:
    """Return a text as the lines that it is worth: one, or two where lines are short; none for ""."""
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
