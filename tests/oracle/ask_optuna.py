"""Propose trials with Optuna's samplers. Runs in an environment with Optuna and smsweep.

stdin: {"cases": [{"config", "trials", "n", "seed"}]}; stdout: for each case the answers of
`smsweep.suggest`, at once and one by one, with each answer pending for the next.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

from smsweep import suggest


def one_by_one(case: dict[str, Any]) -> list[Any]:
    trials, proposed = list(case["trials"]), []
    for _ in range(case["n"]):
        for params in suggest(case["config"], trials, 1, case["seed"]):
            trials.append({"number": len(trials), "params": params, "state": "pending"})
            proposed.append(params)
    return proposed


if __name__ == "__main__":
    warnings.simplefilter("error")
    cases = json.load(sys.stdin)["cases"]
    answers = [
        {
            "at_once": suggest(case["config"], case["trials"], case["n"], case["seed"]),
            "one_by_one": one_by_one(case),
        }
        for case in cases
    ]
    json.dump(answers, sys.stdout)
