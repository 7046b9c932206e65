"""The HTML of sweeps and runs in a notebook, and the progress of a running agent. Secrets are masked."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from smsweep.core.json_documents import SweepDocument, TrialDocument
from smsweep.core.repeats import mean_text
from smsweep.core.sweep import Sweep
from smsweep.core.trial import Trial, ended_of, flat_params, is_number
from smsweep.errors import SmsweepError
from smsweep.report import notebook_html
from smsweep.secrets.redact import JsonMasker
from smsweep.services.sweeps.load import secrets_of
from smsweep.services.views.json_views import json_safe, list_trials, show, trial_data
from smsweep.services.views.watcher import SweepView, Watcher
from smsweep.services.workspace import Workspace
from smsweep.util.clock import time_text

log = logging.getLogger(__name__)

BEST_ROWS = 5  # trials of a sweep
POLL_S = 1.0  # seconds between two updates of the progress


def sweep_html(sweep: Sweep) -> str:
    """Return the HTML of a sweep: its facts and its best trials."""
    clean = _cleaner(sweep)
    document = clean(json_safe(show(sweep.id)))
    listed = clean(json_safe(list_trials(sweep.id)))
    best = document["best"]["number"] if document["best"] else None
    ranked = sorted(listed, key=lambda trial: _rank(trial, document))
    return notebook_html.box(
        *_head(document),
        notebook_html.facts(_facts(document)),
        notebook_html.trials(ranked, best, BEST_ROWS) if ranked else "",
    )


def sweeps_html(sweeps: Sequence[Sweep]) -> str:
    """Return the HTML of a table of sweeps."""
    rows = []
    for sweep in sweeps[: notebook_html.MOST_ROWS]:
        document = _cleaner(sweep)(json_safe(show(sweep.id)))
        best = document["best"]
        counts = ", ".join(f"{n} {state}" for state, n in document["trials"].items())
        texts = [
            document["id"],
            document["name"],
            document["method"],
            counts,
            best and best["objective"],
            time_text(document["created_at"]),
        ]
        rows.append([notebook_html.badge(document["state"]), *map(notebook_html.escaped_text, texts)])
    return notebook_html.box(
        notebook_html.table(["state", "id", "name", "method", "trials", "best", "created"], rows)
    )


def run_html(trial: Trial, sweep: Sweep) -> str:
    """Return the HTML of a trial, with the curve of the sweep's metric."""
    clean = _cleaner(sweep)
    data = clean(json_safe(trial_data(trial, sweep)))
    metric = next(iter(sweep.config.all_metrics), None)
    curve = _curve(trial, metric.name) if metric else []
    return notebook_html.box(
        notebook_html.title(trial.label, data["place"], data["state"]),
        notebook_html.facts(
            [
                ("objective", notebook_html.escaped_text(data["objective"])),
                (clean(metric.name) if metric else "", notebook_html.spark(curve)),
                ("params", notebook_html.pairs(flat_params(data["params"]))),
                ("metrics", notebook_html.pairs(data["metrics"])),
                ("started", notebook_html.escaped_text(time_text(data["started_at"]))),
                ("ended", notebook_html.escaped_text(time_text(data["ended_at"]))),
                ("reason", notebook_html.escaped_text(data["reason"].partition("\n")[0])),
            ]
        ),
    )


def runs_html(trials: Sequence[Trial], sweep: Sweep) -> str:
    """Return the HTML of a table of trials."""
    clean = _cleaner(sweep)
    listed = [clean(json_safe(trial_data(trial, sweep))) for trial in trials[: notebook_html.MOST_ROWS + 1]]
    more = len(trials) - notebook_html.MOST_ROWS
    table = notebook_html.trials(listed[: notebook_html.MOST_ROWS], None)
    return notebook_html.box(table, f"<div style='{notebook_html.SOFT}'>and {more} more</div>" if more > 0 else "")


def view_html(view: SweepView, sweep: Sweep) -> str:
    """Return the HTML of a running sweep: its facts and its active trials."""
    clean = _cleaner(sweep)
    document = clean(json_safe(view.document))
    remaining = f"about {view.eta_s:.0f} s left" if view.eta_s is not None and not view.is_over else ""
    rows = [
        [
            notebook_html.escaped_text(slot.trial["number"]),
            notebook_html.badge(
                "lost" if slot.is_lost else f"waits: {slot.waits_for}" if slot.waits_for else slot.trial["state"]
            ),
            notebook_html.escaped_text(slot.step),
            notebook_html.escaped_text(slot.curve[-1] if slot.curve else None),
            notebook_html.spark(slot.curve),
            notebook_html.pairs(
                {
                    name: value
                    for name, value in flat_params(clean(slot.trial["params"])).items()
                    if name not in view.fixed
                }
            ),
        ]
        for slot in view.slots[: notebook_html.MOST_ROWS]
    ]
    slots = notebook_html.table(["trial", "state", "step", "last", "", "params"], rows) if rows else ""
    return notebook_html.box(
        *_head(document),
        notebook_html.facts([("time", notebook_html.escaped_text(remaining)), *_facts(document)]),
        slots,
    )


def _head(document: SweepDocument) -> list[str]:
    ended = sum(n for state, n in document["trials"].items() if state not in ("pending", "running", "stopping"))
    name = document["name"] or document["id"]
    return [
        notebook_html.title(name, document["id"] if document["name"] else "", document["state"]),
        notebook_html.bar(ended, document["expected_trial_count"]),
    ]


def _facts(document: SweepDocument) -> list[tuple[str, str]]:
    best, usage = document["best"], document["usage"]
    metrics = document["metrics"] or ([document["metric"]] if document["metric"] else [])
    ended = ended_of(document["trials"], document["expected_trial_count"])
    counts = ", ".join(f"{n} {state}" for state, n in document["trials"].items())
    spent = [] if usage["usd"] is None else [f"${usage['usd']:.2f}"]
    spent += [f"{usage['hours']:.2f} instance hours"] if spent or usage["budget"] else []
    budget = " and ".join(
        f"${cap:g}" if name == "usd" else f"{cap:g} {name}" for name, cap in usage["budget"].items()
    )
    return [
        ("trials", notebook_html.escaped_text(f"{ended}: {counts or 'none'}")),
        (
            "metric",
            notebook_html.escaped_text("; ".join(f"{metric['goal']} {metric['name']}" for metric in metrics)),
        ),
        (
            "best",
            f"{notebook_html.escaped_text(mean_text(best) or best['objective'])} (trial {best['number']}) "
            f"{notebook_html.pairs(flat_params(best['params']))}"
            if best
            else "",
        ),
        ("spent", notebook_html.escaped_text(", ".join(spent) + (f"; budget {budget}" if budget else ""))),
        *(
            ("failures", notebook_html.escaped_text(f"{each['trials']} × {each['reason']}"))
            for each in document["failures"][:3]
        ),
    ]


def _rank(trial: TrialDocument, document: SweepDocument) -> tuple[bool, float, int]:
    """Return the sort key: first trials with an objective that did not fail, best first, then the others."""
    value, metric = trial["objective"], document["metric"]
    sign = -1 if metric and metric["goal"] == "maximize" else 1
    if is_number(value) and trial["state"] not in ("failed", "crashed"):
        return False, value * sign, trial["number"]
    return True, 0.0, trial["number"]


def _curve(trial: Trial, name: str) -> list[float]:
    with Workspace().store() as store:
        points = store.read_points(trial.sweep_id, trial.number, names=[name])
    return [float(point.value or 0) for point in points if is_number(point.value)]


def _cleaner(sweep: Sweep) -> JsonMasker:
    return JsonMasker(secrets_of(sweep, Workspace()))


class Progress:
    """The state of a sweep at one moment, as HTML for notebooks and as text."""

    def __init__(self, view: SweepView, sweep: Sweep) -> None:
        self._html = view_html(view, sweep)
        of = "" if view.expected is None else f" of {view.expected}"
        self._text = f"sweep {sweep.id} is {view.document['state']}: {view.n_ended}{of} trials ended"

    def _repr_html_(self) -> str:
        return self._html

    def __repr__(self) -> str:
        return self._text


@contextmanager
def progress(sweep_id: str) -> Iterator[None]:
    """Show the progress of a sweep below the notebook cell while the body runs."""
    from IPython.display import display  # every Jupyter kernel has it; smsweep does not depend on it

    done = threading.Event()
    with Watcher(sweep_id) as watcher:
        handle = display(Progress(watcher.poll(), watcher.sweep), display_id=True)
    thread = threading.Thread(target=_follow, args=(sweep_id, handle, done), name="smsweep-display", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _follow(sweep_id: str, handle: Any, done: threading.Event) -> None:
    try:
        with Watcher(sweep_id) as watcher:
            is_last = False
            while not is_last:
                is_last = done.wait(POLL_S)
                handle.update(Progress(watcher.poll(), watcher.sweep))
    except SmsweepError as err:
        log.debug("the progress display ends: %s", err)  # the agent reports the same error
