"""Serve a search to search_quality.py from its project's environment: one line of JSON per request and answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Sweep = Mapping[str, Any]  # a W&B sweep config; its run_cap is the number of trials


class Search(Protocol):
    """A search that proposes trials one by one, numbered from 0, and receives the last value of each."""

    def ask(self, number: int) -> dict[str, Any]: ...
    def tell(self, number: int, value: float) -> None: ...


class Pruning(Search, Protocol):
    """A search that also stops trials early if the first line has a rule. `tell` receives all ended trials."""

    def stops(self, number: int, value: float) -> bool: ...


@dataclass(frozen=True)
class Form:
    """A parameter of a sweep as other searches know it: a constant, a choice, or a number between two bounds."""

    kind: str  # constant, choice, int or float
    values: Sequence[Any] = ()  # of a constant or a choice; of an int that is the index of an ordered number
    low: float = 0
    high: float = 0
    is_log: bool = False
    step: float | None = None

    def value(self, drawn: Any) -> Any:
        """Return the value in the sweep."""
        if self.kind == "int":
            return self.values[int(drawn)] if self.values else int(drawn)
        if self.step:
            stepped = round(float(drawn) / self.step) * self.step
            return max(stepped, self.step) if self.is_log else stepped
        return float(drawn) if self.kind == "float" else drawn


def forms(sweep: Sweep) -> dict[str, Form]:
    """Return the parameters of a sweep, in order. Numbers in `values` are ordered, which suits all peers."""
    found = {}
    for name, spec in sweep["parameters"].items():
        values = spec["values"] if "values" in spec else [spec["value"]] if "value" in spec else []
        if len(values) == 1:
            found[name] = Form("constant", values)
        elif values and any(isinstance(value, (bool, str)) for value in values):
            found[name] = Form("choice", values)
        elif values:
            found[name] = Form("int", sorted(values), 0, len(values) - 1)
        else:
            low, high = spec["min"], spec["max"]
            is_log, step = "log" in spec.get("distribution", ""), spec.get("q")
            is_int = isinstance(low, int) and isinstance(high, int) and not is_log and not step
            found[name] = Form("int" if is_int else "float", (), low, high, is_log, step)
    return found


def serve(make: Callable[[Sweep, int], Search] | Callable[[Sweep, int], Pruning]) -> None:
    """Answer requests until stdin ends. The first line has the sweep and the seed.

    A line with `reported` is the next value of a trial's curve. The answer says whether the trial must
    stop.
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
