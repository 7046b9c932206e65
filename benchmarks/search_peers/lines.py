"""Serve a search to search_quality.py from its project's environment: one line of JSON per request and answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

Sweep = Mapping[str, Any]  # a W&B sweep config


class Search(Protocol):
    """A search that proposes trials one by one, numbered from 0, and receives the last value of each."""

    def ask(self, number: int) -> dict[str, Any]: ...
    def tell(self, number: int, value: float) -> None: ...


class Pruning(Search, Protocol):
    """A search that also stops trials early if the first line has a rule. `tell` receives all ended trials."""

    def stops(self, number: int, value: float) -> bool: ...


def serve(make: Callable[[Sweep, int], Search] | Callable[[Sweep, int], Pruning]) -> None:
    """Answer requests until stdin ends. The first line has the sweep and the seed.

    A line with only a `number` asks for the params of a trial; `params` are used instead of new ones. A line with
    `resume` asks for the number of a paused trial to continue, or null. A line with `reported` is the next value
    of a trial's curve. The answer says whether the trial must stop or pause.
    """
    start = json.loads(sys.stdin.readline())
    search = make(start["sweep"], start["seed"])
    for line in sys.stdin:
        question = json.loads(line)
        if "reported" in question:
            assert hasattr(search, "stops")
            print(json.dumps(search.stops(question["number"], question["reported"])), flush=True)
        elif "value" in question:
            search.tell(question["number"], question["value"])
        elif "resume" in question:
            assert hasattr(search, "resume")
            print(json.dumps(search.resume()), flush=True)
        else:
            print(json.dumps(search.ask(**question)), flush=True)
