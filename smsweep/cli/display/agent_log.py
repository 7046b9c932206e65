"""What an agent tells of its trials as they change: which is news, what matters of one, why others failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from smsweep.cli.text import clean, pairs
from smsweep.core.json_documents import TrialFields
from smsweep.services.sweeps import missing_files
from smsweep.services.views import json_views

BROKEN = ("failed", "crashed")
ENDED = (*BROKEN, "finished", "stopped", "killed")
MOST_METRICS = 4  # in a line


class Tally:
    """Takes in each trial that changed, as `views.trial_data` has it. metric: the sweep's own, named first."""

    def __init__(self, sweep_id: str, metric: str) -> None:
        self.sweep_id = sweep_id
        self.metric = metric
        self.reasons: Counter[str] = Counter()  # of failed and crashed trials, first lines only
        self.details: dict[str, str] = {}  # what stood below the first line of each reason when it came first
        self._told: dict[int, tuple[str, int]] = {}  # of active trials: state and attempt last told

    def note(self, trial: TrialFields) -> bool:
        """Take in a trial as it is now; True when its state changed, and not only its metrics."""
        number, state = trial["number"], (trial["state"], trial["attempt"])
        is_news = self._told.get(number) != state
        self._told[number] = state
        if trial["state"] in ENDED:
            del self._told[number]
        if trial["state"] in BROKEN:
            reason = json_views.alike(first_line(trial["reason"])) or "no reason given"
            self.reasons[reason] += 1
            self.details.setdefault(reason, trial["reason"].partition("\n")[2])
        return is_news

    def line(self, trial: TrialFields) -> str:
        """Return a trial's state and what matters most about it, as one line."""
        return f"{self.sweep_id}/{trial['number']} {trial['state']}  {news(trial, self.metric)}".rstrip()


def news(trial: TrialFields, metric: str) -> str:
    """Return what matters most about a trial now: why it is so, else its metrics, else its params."""
    if trial["reason"]:
        return clean(first_line(trial["reason"]))
    names = sorted(trial["metrics"], key=lambda name: name != metric)[:MOST_METRICS]
    return pairs({name: trial["metrics"][name] for name in names}) or pairs(
        json_views.flat_params(trial["params"])
    )


def look_closer(sweep_id: str, reasons: Iterable[str]) -> str:
    """Return what may be the matter with trials that failed for those reasons, and where to see more."""
    lost = missing_files.lost(reasons)
    return f"{clean(lost)}\n" * bool(lost) + f"look closer with: smsweep logs {sweep_id}/N"


def indented(text: str, n_most: int) -> str:
    """Return the last lines of a text, each set in and ended."""
    return "".join(f"    {clean(line)}\n" for line in text.splitlines()[-n_most:])


def first_line(reason: str) -> str:
    """Return the telling line of a reason: below it may stand a whole traceback."""
    return reason.partition("\n")[0]
