"""`repeats` in job.yaml, from the repeat number in the script to the best mean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Cli, cli, folder

__all__ = ["cli", "folder"]  # fixtures

TRAIN = """
import argparse, os, smsweep
parser = argparse.ArgumentParser()
parser.add_argument("--a", type=int)
a, repeat = parser.parse_known_args()[0].a, int(os.environ["SMSWEEP_REPEAT"])
smsweep.log({"loss": {1: [1.0, 9.0], 2: [4.0, 2.0]}[a][repeat]})
"""


def test_best_assignment_has_best_mean(cli: Cli, folder: Path) -> None:
    (folder / "train.py").write_text(TRAIN)
    (folder / "sweep.yaml").write_text((folder / "sweep.yaml").read_text().replace("[1, 2, 4]", "[1, 2]"))
    (folder / "job.yaml").write_text("repeats: 2\n")
    sweep_id = cli("run", "sweep.yaml", "--job", "job.yaml", "--quiet").out.strip()
    shown = json.loads(cli("show", sweep_id, "--json").out)
    assert (shown["trials"], shown["expected_trial_count"]) == ({"finished": 4}, 4)
    best = json.loads(cli("best", sweep_id, "--json").out)
    assert (best["number"], best["objective"]) == (3, 2.0)
    # the variance of both assignments together is (32 + 2) / 2, with two degrees of freedom
    assert best["repeats"].pop("interval") == pytest.approx([3 - 12.545, 3 + 12.545], abs=1e-3)
    assert best["repeats"] == {"mean": 3.0, "n_values": 2, "trials": [2, 3], "objectives": [4.0, 2.0]}
    shown = "loss=2  mean 3 of 2 repeats (95 % interval -9.54529 to 15.5453)"
    assert cli("best", sweep_id).out == f"{sweep_id}/3  {shown}\na=2\n"
