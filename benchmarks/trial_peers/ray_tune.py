"""Ray Tune: python ray_tune.py TRIALS SLOTS SECONDS. Trials are calls of a function in reused workers."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import ray
from ray import tune

TRIALS, SLOTS, SECONDS = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
TIMES = Path(os.environ["TIMES"])


def train(config: dict[str, Any]) -> None:
    begin = time.time()
    time.sleep(SECONDS)
    tune.report({"loss": config["a"]})
    with TIMES.open("a") as file:
        file.write(f"{begin} {time.time()}\n")


if __name__ == "__main__":
    ray.init(num_cpus=SLOTS, include_dashboard=False, object_store_memory=200_000_000, log_to_driver=False)
    done = tune.run(
        train,
        config={"a": tune.uniform(0, 1)},
        num_samples=TRIALS,
        resources_per_trial={"cpu": 1},
        storage_path=str(Path("results").absolute()),
        reuse_actors=True,  # the default starts a worker process for each trial, which takes more than its second
        verbose=0,
    )
    assert len(done.trials) == TRIALS and all(trial.status == "TERMINATED" for trial in done.trials)
    ray.shutdown()
