"""`smsweep watch`: see a sweep that agents run, here or elsewhere, to its end."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Annotated

import typer

from smsweep.cli.display.agent_log import look_closer, news
from smsweep.cli.display.progress import can_be_live
from smsweep.cli.display.refresher import Looker
from smsweep.cli.logging_setup import is_quiet
from smsweep.cli.options import Quiet, SweepId, Verbose
from smsweep.cli.output import answer, say
from smsweep.cli.text import cell, clean, counts
from smsweep.core.json_documents import EventDocument
from smsweep.errors import TrialsFailed
from smsweep.services import signals
from smsweep.services.views import json_views
from smsweep.services.views import watcher as watching
from smsweep.services.views.watcher import Look

EXAMPLES = """
smsweep watch abcd1234
smsweep watch abcd1234 | tee progress.log
smsweep watch abcd1234 --json | jq 'select(.event == "best")'
smsweep watch -q abcd1234 && smsweep report abcd1234
"""

Tell = Callable[[EventDocument], None]
INTERRUPTED = 130  # exit code
FRAME_S = 0.25  # between two drawings, or two thoughts of looking


def watch(
    sweep_id: SweepId,
    interval: Annotated[
        float, typer.Option("--interval", "-n", min=0.1, metavar="S", help="Seconds between two looks.")
    ] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document a line and event.")] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Watch a sweep until it has ended.

    On a terminal that is a live view, elsewhere a line for each event. It only reads: agents may run on other
    machines, and Ctrl-C ends the watching, never the sweep. Exit codes: 0 when the sweep has ended, 3 when all its
    trials failed, 130 after Ctrl-C.
    """
    with watching.Watcher(sweep_id) as watcher, signals.leaving_at_once():
        looker = Looker(watcher, interval)
        try:
            if can_be_live(sys.stdout) and not as_json:
                watch_live(looker)
            else:
                watch_lines(looker, tell_nothing if is_quiet() else tell_json if as_json else line_teller(watcher))
        except KeyboardInterrupt:
            say(f"the sweep goes on; watch it again with: smsweep watch {watcher.sweep.id}")
            raise typer.Exit(INTERRUPTED) from None
    assert looker.look is not None
    check(looker.look)


def watch_live(looker: Looker) -> None:
    from smsweep.cli.display.live_display import Screen, show  # rich is slow to import

    with Screen(sys.stdout, stays=True) as screen:
        while looker.look is None or not looker.look.is_over:
            show(screen, looker, "Ctrl-C stops watching, not the sweep")
            time.sleep(FRAME_S)
        show(screen, looker)
    shown = looker.look.shown
    say(f"sweep {shown['id']} is {shown['state']}: {counts(shown['trials'])}")


def watch_lines(looker: Looker, tell: Tell) -> None:
    told = ""
    while looker.look is None or not looker.look.is_over:
        look = looker.try_again()
        for event in look.events if look else ():
            tell(event)
        if looker.trouble != told and looker.trouble:
            say(f"warning: {looker.trouble}")
        told = looker.trouble
        time.sleep(0 if look and look.is_over else min(FRAME_S, looker.interval_s))


def tell_json(event: EventDocument) -> None:
    answer(json.dumps(json_views.json_safe(event), default=str))


def line_teller(watcher: watching.Watcher) -> Tell:
    """Return what prints an event as one line; that a trial has reported is none."""
    sweep_id, metric = watcher.sweep.id, watching.metric_name(watcher.sweep)

    def tell(event: EventDocument) -> None:
        if event["event"] == "sweep":
            of = "" if event["expected_trial_count"] is None else f" of {event['expected_trial_count']}"
            n_trials = sum(event["trials"].values())
            answer(f"{sweep_id} {event['state']}  {n_trials}{of} trials: {counts(event['trials'])}")
        elif event["event"] == "trial":
            about = "removed" if event["removed"] else f"{event['state']}  {news(event, metric)}"
            answer(f"{sweep_id}/{event['number']} {about}".rstrip())
        elif event["event"] == "best":
            answer(f"{sweep_id}/{event['number']} best  {clean(metric)}={cell(event['objective'])}")

    return tell


def tell_nothing(event: EventDocument) -> None:
    pass


def check(look: Look) -> None:
    """Raise TrialsFailed, with the reasons grouped, when no trial ended in any other way."""
    n_failed = sum(n for _, n in look.reasons)
    if n_failed and n_failed == look.n_ended:
        said = "the trial failed" if n_failed == 1 else f"all {n_failed} trials failed"
        reasons = "\n".join(f"  {n} x {clean(reason)}" for reason, n in look.reasons)
        advice = look_closer(look.shown["id"], (reason for reason, _ in look.reasons))
        raise TrialsFailed(f"{said}:\n{reasons}\n{advice}")
