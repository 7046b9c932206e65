"""`smsweep best`: the best trial of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smsweep.cli.options import Json, SweepId
from smsweep.cli.output import answer, answer_json, say
from smsweep.cli.text import cell, clean, pairs
from smsweep.errors import NotFound, UsageError
from smsweep.services.views import json_views, model_download

EXAMPLES = """
smsweep best abcd1234
smsweep best abcd1234 --download model
smsweep best abcd1234 --json
"""


def best(
    sweep_id: SweepId,
    download: Annotated[
        Path | None, typer.Option("--download", metavar="DIR", help="Put its model into a new folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the best trial and its params.

    Of several metrics the front: each trial that no other beats by all of them.

    Best over all that a trial reported of the sweep's metric; failed and crashed trials do not count.
    """
    shown = json_views.show(sweep_id)
    if shown["metrics"]:
        show_front(shown["id"], download, as_json=as_json)
        return
    metric, trial = shown["metric"], shown["best"]
    if metric is None:
        raise UsageError(
            f"sweep {shown['id']} has no metric, so no trial of it is best; "
            "a sweep's YAML names one as metric: {name: loss, goal: minimize}"
        )
    if trial is None:
        raise NotFound(
            f"no trial of sweep {shown['id']} that counts has a number as its {metric['name']!r} yet (text, "
            "NaN and infinities are none; failed and crashed ones do not count); see what they did report: "
            f"smsweep trials {shown['id']} --json"
        )
    if download is not None:
        model_download.download_model(shown["id"], trial["number"], download)
        say(f"its model is in {download}")
    if as_json:
        answer_json(trial)
        return
    repeats = trial.get("repeats")
    mean = f"  mean {cell(repeats['mean'])} of {len(repeats['trials'])} repeats" if repeats else ""
    answer(f"{shown['id']}/{trial['number']}  {clean(metric['name'])}={cell(trial['objective'])}{mean}")
    answer(pairs(json_views.flat_params(trial["params"])))


def show_front(sweep_id: str, download: Path | None, *, as_json: bool) -> None:
    """Show every trial that no other beats by all metrics at once. download: for their models, one folder each."""
    trials = json_views.front(sweep_id)
    if not trials and not as_json:
        raise NotFound(f"no trial of sweep {sweep_id} that counts has values of all its metrics yet")
    if download is not None:
        for trial in trials:
            model_download.download_model(sweep_id, trial["number"], download / str(trial["number"]))
        say(f"the model of trial N is in {download / 'N'}")
    if as_json:
        answer_json(trials)
        return
    for trial in trials:
        answer(f"{sweep_id}/{trial['number']}  {pairs(trial['outcome'])}")
        answer(f"  {pairs(json_views.flat_params(trial['params']))}")
