"""HEBO with its default settings."""

from __future__ import annotations

import random
import warnings
from typing import Any

import numpy as np
import torch
from hebo.design_space.design_space import DesignSpace
from hebo.optimizers.hebo import HEBO
from lines import Form, Sweep, forms, serve  # type: ignore[import-not-found]  # beside this script

warnings.filterwarnings("ignore")
torch.set_num_threads(1)


class Hebo:
    def __init__(self, sweep: Sweep, seed: int) -> None:
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        self._forms = forms(sweep)
        searched = {name: form for name, form in self._forms.items() if form.kind != "constant"}
        space = DesignSpace().parse([described(name, form) for name, form in searched.items()])
        self._hebo = HEBO(space, scramble_seed=seed)
        self._sign = -1 if sweep["metric"].get("goal") == "maximize" else 1
        self._asked: dict[int, Any] = {}

    def ask(self, number: int) -> dict[str, Any]:
        rows = self._asked[number] = self._hebo.suggest(n_suggestions=1)
        return {
            name: form.values[0] if form.kind == "constant" else form.value(rows.iloc[0][name])
            for name, form in self._forms.items()
        }

    def tell(self, number: int, value: float) -> None:
        self._hebo.observe(self._asked.pop(number), np.array([[self._sign * value]]))


def described(name: str, form: Form) -> dict[str, Any]:
    if form.kind == "choice":
        return {"name": name, "type": "cat", "categories": list(form.values)}
    kind = "int" if form.kind == "int" else "pow" if form.is_log else "num"
    return {"name": name, "type": kind, "lb": form.low, "ub": form.high}


if __name__ == "__main__":
    serve(Hebo)
