"""Syne Tune's LocalBackend: python syne_tune_local.py TRIALS SLOTS SECONDS. Each trial is a process."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from syne_tune import StoppingCriterion, Tuner
from syne_tune.backend import LocalBackend
from syne_tune.config_space import uniform
from syne_tune.optimizer.baselines import RandomSearch

TRIALS, SLOTS, SECONDS = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
TRAIN = """\
import os, sys, time
begin = time.time()
from argparse import ArgumentParser
from syne_tune import Reporter
parser = ArgumentParser()
parser.add_argument("--a", type=float)
parser.add_argument("--seconds", type=float)
options, _ = parser.parse_known_args()
time.sleep(options.seconds)
Reporter()(loss=options.a)
with open(os.environ["TIMES"], "a") as file:
    file.write(f"{begin} {time.time()}\\n")
"""

if __name__ == "__main__":
    logging.getLogger().setLevel(logging.ERROR)
    script = Path("train_syne.py").absolute()
    script.write_text(TRAIN)
    tuner = Tuner(
        trial_backend=LocalBackend(entry_point=str(script)),
        scheduler=RandomSearch({"a": uniform(0, 1), "seconds": SECONDS}, metrics=["loss"]),
        stop_criterion=StoppingCriterion(max_num_trials_started=TRIALS),
        n_workers=SLOTS,
        sleep_time=0.05,  # the default of 5 s keeps slots empty for five times the length of a trial
        wait_trial_completion_when_stopping=True,
        save_tuner=False,
    )
    tuner.run()
    assert tuner.tuning_status.num_trials_completed >= TRIALS, tuner.tuning_status
