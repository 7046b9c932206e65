"""What an agent's display knows of its sweep: counts, running trials, the best so far, why others failed."""

from __future__ import annotations

from collections import Counter
from typing import Any

from smsweep import sdk
from smsweep.cli.text import cell, clean, pairs

Best = tuple[float, str]  # objective, label
NO_BEST = ("failed", "crashed")  # what these reported before they broke cannot be had again
NOT_ENDED = ("pending", "running", "stopping")
MOST_METRICS = 4  # in a line


class Tally:
    """Built from `views.show` before the agent starts; takes in each trial that changed."""

    def __init__(self, shown: dict[str, Any]) -> None:
        metric, best = shown["metric"], shown["best"]
        self.sweep_id: str = shown["id"]
        self.metric: str = metric["name"] if metric else ""
        self.expected: int | None = shown["expected_trial_count"]
        self.active: dict[int, sdk.api.ApiRun] = {}
        self.ended = Counter({state: n for state, n in shown["trials"].items() if state not in NOT_ENDED})
        self.reasons: Counter[str] = Counter()  # of failed and crashed trials, first lines only
        self._sign = -1 if metric and metric["goal"] == "maximize" else 1
        self._best_ended: Best | None = (best["objective"], f"{self.sweep_id}/{best['number']}") if best else None
        self._states: dict[int, tuple[str, int]] = {}  # of active trials: state and attempt last told

    def note(self, run: sdk.api.ApiRun) -> bool:
        """Take in a trial as it is now; True when its state changed, and not only its metrics."""
        number, told = run.trial.number, (run.state, run.trial.attempt)
        is_news = self._states.get(number) != told
        self._states[number] = told
        if run.trial.state.is_active:
            self.active[number] = run
            return is_news
        self.active.pop(number, None)
        if run.trial.state.is_terminal:
            del self._states[number]
            self.ended[run.state] += 1
            if run.state in NO_BEST:
                self.reasons[sdk.views.alike(first_line(run.trial.reason)) or "no reason given"] += 1
            else:
                self._best_ended = self._better(self._best_ended, run)
        return is_news

    @property
    def n_ended(self) -> int:
        return sum(self.ended.values())

    @property
    def best(self) -> Best | None:
        """Return objective and label of the best trial that ended well or still runs."""
        best = self._best_ended
        for run in self.active.values():
            best = self._better(best, run)
        return best

    def best_text(self) -> str:
        return f"best {clean(self.metric)}={cell(self.best[0])} ({self.best[1]})" if self.best else ""

    def news(self, run: sdk.api.ApiRun) -> str:
        """Return what matters most about a trial now: why it is so, else its metrics, else its params."""
        if run.trial.reason:
            return clean(first_line(run.trial.reason))
        return pairs(self._last_metrics(run)) or pairs(sdk.views.flat_params(run.trial.params))

    def _last_metrics(self, run: sdk.api.ApiRun) -> dict[str, object]:
        """Return the last values of a few metrics, the sweep's own first."""
        names = sorted(run.summary, key=lambda name: name != self.metric)
        return {name: run.summary[name] for name in names[:MOST_METRICS]}

    def _better(self, best: Best | None, run: sdk.api.ApiRun) -> Best | None:
        value = run.objective
        if value is None or (best is not None and value * self._sign >= best[0] * self._sign):
            return best
        return value, run.trial.label


def first_line(reason: str) -> str:
    """Return the telling line of a reason: below it may stand a whole traceback."""
    return reason.partition("\n")[0]
