"""What a sweep would run, without running or writing anything."""

from __future__ import annotations

from dataclasses import dataclass

from smsweep.runtime import command
from smsweep.sdk.create import JobLike, SweepLike, check_can_run, load_job, load_sweep
from smsweep.search.methods import METHODS, expected_trial_count
from smsweep.trials import History, Params

JSON_FILE = "$WANDB_DIR/wandb/sweep-<sweep id>/config-<run id>.json"  # known only when a trial runs


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedTrial:
    number: int
    params: Params
    argv: tuple[str, ...]  # exactly what its job will execute; no shell is involved


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    method: str
    expected_trial_count: int | None  # None: as many as you let it run
    trials: tuple[PlannedTrial, ...]  # the first ones
    warnings: tuple[str, ...]


def plan(
    config: SweepLike, *, job: JobLike = None, n: int = 5, seed: int = 0, environ: dict[str, str] | None = None
) -> Plan:
    """Return the first n trials a sweep would run, and what may surprise. Raises ConfigError.

    seed: draws of random and bayes follow from it; give the one you create the sweep with to see its own.
    environ: what `${envvar:NAME}` reads; nothing when None.
    """
    parsed, parsed_job = load_sweep(config), load_job(job)
    sweep_config = parsed.config
    check_can_run(sweep_config)
    strategy = METHODS[sweep_config.method](sweep_config, seed)
    expected = expected_trial_count(sweep_config)
    wanted = n if expected is None else min(n, expected)
    trials = [
        PlannedTrial(
            number=number,
            params=params,
            argv=tuple(
                command.expand(
                    sweep_config.command, sweep_config.program, params, environ=environ or {}, json_file=JSON_FILE
                )
            ),
        )
        for number, params in enumerate(strategy.suggest(History(), wanted))
    ]
    return Plan(
        method=sweep_config.method,
        expected_trial_count=expected,
        trials=tuple(trials),
        warnings=(
            *parsed.warnings,
            *parsed_job.warnings,
            *command.warnings(sweep_config.command, sweep_config.program, environ=environ),
        ),
    )
