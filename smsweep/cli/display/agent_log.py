"""Messages about the trials of an agent: changes of state, key values, and grouped failures."""

from __future__ import annotations

from collections import Counter

from smsweep.cli.text import EMPTY, cell, clean, pairs
from smsweep.core.json_documents import TrialFields
from smsweep.services.views import json_views

BROKEN = ("failed", "crashed")
ENDED = (*BROKEN, "finished", "stopped", "killed")
MAX_METRICS = 4  # in a line


class FailureTally:
    """Counts failures by reason, and detects changes of state.

    Args:
        sweep_id: The sweep.
        metric: The sweep's own metric, which is shown first.
    """

    def __init__(self, sweep_id: str, metric: str) -> None:
        self.sweep_id = sweep_id
        self.metric = metric
        self.reasons: Counter[str] = Counter()  # of failed and crashed trials, first lines only
        self.details: dict[str, str] = {}  # reason -> the lines below its first line, from its first trial
        self._known: dict[int, tuple[str, int]] = {}  # active trials: last state and attempt

    def note(self, trial: TrialFields) -> bool:
        """Record a trial, as `json_views.trial_data` returns it. Return True if its state or attempt changed."""
        number, state = trial["number"], (trial["state"], trial["attempt"])
        is_news = self._known.get(number) != state
        self._known[number] = state
        if trial["state"] in ENDED:
            del self._known[number]
        if trial["state"] in BROKEN:
            reason = json_views.shared_reason(first_line(trial["reason"])) or "no reason given"
            self.reasons[reason] += 1
            self.details.setdefault(reason, trial["reason"].partition("\n")[2])
        return is_news

    def line(self, trial: TrialFields) -> str:
        """Return one line with the state of a trial and its key values."""
        return f"{self.sweep_id}/{trial['number']} {trial['state']}  {news(trial, self.metric)}".rstrip()


def news(trial: TrialFields, metric: str) -> str:
    """Return the reason of a trial's state if it has one, else its last metrics, else its params."""
    if trial["reason"]:
        return clean(first_line(trial["reason"]))
    names = sorted(trial["metrics"], key=lambda name: name != metric)[:MAX_METRICS]
    texts = [pairs({name: trial["metrics"][name]}) for name in names]
    best = cell(trial["objective"])
    if metric in names and best not in (EMPTY, cell(trial["metrics"][metric])):
        texts[0] += f" (best {best})"  # the value in tables, by which trials are compared
    return " ".join(texts) or pairs(json_views.flat_params(trial["params"]))


def failure_advice(sweep_id: str) -> str:
    """Return the command that shows the log of failed trials."""
    return f"read the log with: smsweep logs {sweep_id}/N"


def indented(text: str, n_most: int) -> str:
    """Return the last `n_most` lines of a text, indented."""
    return "".join(f"    {clean(line)}\n" for line in text.splitlines()[-n_most:])


def first_line(reason: str) -> str:
    """Return the first line of a reason; the rest can be a traceback."""
    return reason.partition("\n")[0]
