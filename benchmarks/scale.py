"""A sweep of 100,000 trials with 1,000 concurrent jobs, on a simulated clock with SageMaker's API limits.

    python -m benchmarks.scale [--trials 1000 10000 100000] [--slots 1000] [--mean 1800] [--look 5] [--again 0.05]

Agent, controller, store (SQLite) and SageMaker backend are real. Only AWS's client and the clock are
simulated. Prints for each size: utilisation of the slots, API calls per trial, CPU time per trial, memory,
and size of the store.
"""

from __future__ import annotations

import argparse
import gc
import logging
import random
import resource
import tempfile
import time
from pathlib import Path
from unittest import mock

from benchmarks.simulated_account import Clock, SimulatedAccount
from smsweep.backends.sagemaker import backend as backend_module
from smsweep.config_files.job_yaml import parse_job
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.job import Site
from smsweep.core.sweep import Sweep
from smsweep.engine import agent as agents_module
from smsweep.engine.agent import Agent
from smsweep.engine.agent_state import AgentOptions
from smsweep.engine.controller import Controller, Rules
from smsweep.engine.failure_limit import FailureLimit
from smsweep.engine.job_request import training_job
from smsweep.engine.metric_parser import MetricParser
from smsweep.engine.places import Place
from smsweep.search.registry import make_strategy
from smsweep.stopping.registry import make_rule
from smsweep.store.open import open_store

JOB = """
image_uri: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/train:1
role: arn:aws:iam::123456789012:role/trainer
instance_type: ml.m5.large
max_run: 86400
"""
SITE = Site(
    assets_uri="s3://bucket/assets", output_uri="s3://bucket/jobs", checkpoint_uri="s3://bucket/checkpoints"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--slots", type=int, default=1_000)
    parser.add_argument("--mean", type=float, default=1_800.0, help="average run time of a script, in seconds")
    parser.add_argument("--look", type=float, default=5.0, help="seconds between two polls of the agent")
    parser.add_argument("--again", type=float, default=0.05, help="seconds to the next poll after a change")
    options = parser.parse_args()
    logging.disable()
    for n in options.trials:
        shortest = mock.patch.object(agents_module, "SHORTEST_SLEEP_S", options.again)
        with tempfile.TemporaryDirectory() as folder, shortest:
            measure(n, min(options.slots, n), options.mean, options.look, Path(folder))


def measure(n_trials: int, slots: int, mean_s: float, look_s: float, folder: Path) -> None:
    gc.collect()
    clock = Clock()
    account = SimulatedAccount(clock=clock, quota=slots, mean_s=mean_s, rng=random.Random(0))
    begin_s = time.process_time()
    sweep_through(n_trials, slots, look_s, clock, account, folder)
    cpu_s = time.process_time() - begin_s
    simulated_s = clock.now_s
    # Upper bound with the limit on CreateTrainingJob: all slots busy, after one job per second filled them.
    used = account.busy_s / (slots * simulated_s)
    refused = sum(count for (_, outcome), count in account.calls.items() if outcome != "answered")
    print(f"{n_trials} trials, {slots} slots, scripts of {mean_s:.0f} s: {simulated_s / 3600:.1f} simulated hours")
    print(f"  slots used {100 * used:.1f} %, including the start and the end; calls refused: {refused}")
    for (action, outcome), count in sorted(account.calls.items()):
        print(f"  {action:20} {outcome:24} {count / n_trials:8.2f} per trial")
    print(f"  CPU {1000 * cpu_s / n_trials:.1f} ms per trial, {100 * cpu_s / simulated_s:.1f} % of one core")
    store_mib = sum(file.stat().st_size for file in folder.iterdir()) / 2**20
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"  store {store_mib:.0f} MiB, memory at most {peak_mib:.0f} MiB, including the simulated account",
        flush=True,
    )


def sweep_through(
    n_trials: int, slots: int, look_s: float, clock: Clock, account: SimulatedAccount, folder: Path
) -> None:
    """Run a sweep to its end."""
    config = {
        "program": "train.py",
        "method": "random",
        "run_cap": n_trials,
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"lr": {"min": 0.0, "max": 1.0}, "depth": {"min": 1, "max": 100}},
    }
    parsed, template = parse_sweep(config), parse_job(JOB).template
    url = f"sqlite:///{folder / 'store.db'}"
    store = open_store(url, environ={}, parse=lambda *_: (parsed.config, template), clock=clock.utc)
    sweep = store.create_sweep(Sweep(id="abcd1234", config=parsed.config, job=template, sweep_yaml=parsed.text))
    strategy = make_strategy(sweep.config, sweep.seed)
    with mock.patch.object(backend_module, "Aws", lambda environ: account):
        backend = backend_module.SageMakerBackend({}, clock.time, clock.monotonic)
    agent = Agent(
        store,
        [Place(backend=backend, render=lambda trial: training_job(template, sweep, trial, SITE), slots=slots)],
        Controller(store, sweep, Rules(strategy=strategy, stopping=make_rule(sweep.config, ()))),
        MetricParser(),
        agent_id="agent",
        options=AgentOptions(longest_sleep_s=look_s),
        flapping=FailureLimit(clock.utc(), max_consecutive=None),
        clock=clock.utc,
        sleep=clock.sleep,
    )
    agent.run()
    counts = store.count_trials(sweep.id)
    assert {state.value: n for state, n in counts.items()} == {"finished": n_trials}, counts
    store.close()


if __name__ == "__main__":
    main()
