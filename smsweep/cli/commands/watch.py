"""`smsweep watch`: follow a sweep that agents run on this or other machines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Annotated

import typer

from smsweep.cli.display.agent_log import failure_advice, news
from smsweep.cli.options import NewestSweepId, Quiet, Verbose
from smsweep.cli.output import print_message, print_result
from smsweep.cli.streams import can_be_live, is_quiet
from smsweep.cli.text import cell, clean, counts
from smsweep.core.json_documents import EventDocument
from smsweep.core.trial import ended_of
from smsweep.errors import TrialsFailed
from smsweep.services import signals
from smsweep.services.views import json_views
from smsweep.services.views import watcher as watching
from smsweep.services.views.watcher import Poller, SweepView

WATCH_EXAMPLES = """
smsweep watch abcd1234
smsweep watch abcd1234 | tee progress.log
smsweep watch abcd1234 --json | jq 'select(.event == "best")'
smsweep watch -q abcd1234 && smsweep report abcd1234
"""

PrintEvent = Callable[[EventDocument], None]
INTERRUPTED = 130  # exit code
FRAME_S = 0.25  # between two drawings


def watch(
    sweep_id: NewestSweepId = "",
    interval: Annotated[
        float, typer.Option("--interval", min=0.1, metavar="S", help="Seconds between two polls.")
    ] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document per line and event.")] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Follow a sweep until it has ended.

    Shows a live view on a terminal, and one line per event in pipes and files. Only reads: agents may run on other
    machines, and Ctrl-C stops watching, not the sweep. Exit codes: 0 if the sweep has ended, 3 if all trials
    failed, 130 after Ctrl-C.
    """
    with watching.Watcher(sweep_id) as watcher, signals.exit_on_sigterm():
        poller = Poller(watcher, interval)
        try:
            if can_be_live(sys.stdout) and not as_json:
                watch_live(poller)
            else:
                watch_lines(
                    poller, ignore_event if is_quiet() else print_json_event if as_json else line_printer(watcher)
                )
        except KeyboardInterrupt:
            print_message(f"the sweep continues; watch it again with: smsweep watch {watcher.sweep.id}")
            raise typer.Exit(INTERRUPTED) from None
    assert poller.view is not None
    check(poller.view)


def watch_live(poller: Poller) -> None:
    from smsweep.cli.display.live_display import Screen, show  # rich is slow to import

    with Screen(sys.stdout, stays=True) as screen:
        while poller.view is None or not poller.view.is_over:
            show(screen, poller, "Ctrl-C stops watching, not the sweep")
            time.sleep(FRAME_S)
        show(screen, poller)
    sweep = poller.view.document
    print_message(f"sweep {sweep['id']} is {sweep['state']}: {counts(sweep['trials'])}")


def watch_lines(poller: Poller, print_event: PrintEvent) -> None:
    warned = ""
    while poller.view is None or not poller.view.is_over:
        view = poller.poll()
        for event in view.events if view else ():
            print_event(event)
        if poller.trouble != warned and poller.trouble:
            print_message(f"warning: {poller.trouble}")
        warned = poller.trouble
        time.sleep(0 if view and view.is_over else min(FRAME_S, poller.interval_s))


def print_json_event(event: EventDocument) -> None:
    print_result(json.dumps(json_views.json_safe(event), default=str))


def line_printer(watcher: watching.Watcher) -> PrintEvent:
    """Return a function that prints an event as one line; "metrics" events print nothing."""
    sweep_id, metric = watcher.sweep.id, watching.metric_name(watcher.sweep)

    def print_event(event: EventDocument) -> None:
        if event["event"] == "sweep":
            ended = ended_of(event["trials"], event["expected_trial_count"])
            print_result(f"{sweep_id} {event['state']}  {ended}: {counts(event['trials'])}")
        elif event["event"] == "trial":
            about = "removed" if event["removed"] else f"{event['state']}  {news(event, metric)}"
            print_result(f"{sweep_id}/{event['number']} {about}".rstrip())
        elif event["event"] == "best":
            print_result(f"{sweep_id}/{event['number']} best  {clean(metric)}={cell(event['objective'])}")

    return print_event


def ignore_event(event: EventDocument) -> None:
    pass


def check(view: SweepView) -> None:
    """Raise TrialsFailed, with grouped reasons, if every ended trial failed."""
    n_failed = sum(n for _, n in view.reasons)
    if n_failed and n_failed == view.n_ended:
        summary = "the trial failed" if n_failed == 1 else f"all {n_failed} trials failed"
        reasons = "\n".join(f"  {n} x {clean(reason)}" for reason, n in view.reasons)
        advice = failure_advice(view.document["id"])
        raise TrialsFailed(f"{summary}:\n{reasons}\n{advice}")
