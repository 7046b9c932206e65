"""Serves a search to search_quality.py, in the environment of its own project: a line of JSON in, one out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

Sweep = Mapping[str, Any]  # a W&B sweep config


class Search(Protocol):
    """Asked trial by trial, numbered from 0 on; told the last value of each that ends."""

    def ask(self, number: int) -> dict[str, Any]: ...
    def tell(self, number: int, value: float) -> None: ...


class Pruning(Search, Protocol):
    """One that also ends trials early, if the first line names a rule. Its `tell` hears of all trials that end."""

    def stops(self, number: int, value: float) -> bool: ...


def serve(make: Callable[[Sweep, int], Search] | Callable[[Sweep, int], Pruning]) -> None:
    """Answer until stdin ends. The first line says which sweep and seed.

    A line with `reported` is the next value of a trial's curve, answered by whether it is to end there.
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
        else:
            print(json.dumps(search.ask(question["number"])), flush=True)
