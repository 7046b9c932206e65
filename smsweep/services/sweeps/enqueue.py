"""Queue trials with params that the user chose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from smsweep.config_files.search_rules import conflict, params_problems
from smsweep.config_files.yaml_reader import read_yaml
from smsweep.core.repeats import Repeats
from smsweep.core.sweep import Sweep, SweepState, with_structure
from smsweep.core.trial import History, Params, Trial
from smsweep.errors import ConfigError, StoreConflict, StoreUnavailable, UsageError
from smsweep.search.registry import make_completion, make_strategy
from smsweep.search.start_points import n_left, with_pending
from smsweep.services.labels import parse_sweep_id
from smsweep.services.sweeps.create import read_prior
from smsweep.services.sweeps.search_program import config_of
from smsweep.services.workspace import Workspace
from smsweep.space.distribution import Distribution, can_have
from smsweep.space.space import SearchSpace
from smsweep.store import notes

ATTEMPTS = 20  # insertions, while other processes add trials


def enqueue(sweep_id: str, params: Mapping[str, Any] | Iterable[str]) -> list[Trial]:
    """Queue a trial with params that the user chose. A finished sweep is running again.

    The search method chooses missing values. Start points that have no trial yet are queued first, because the
    first numbers are theirs. So are the trials that complete an assignment of `repeats`. All are added at once, so
    that a killed process has added the trial or nothing.

    Args:
        sweep_id: Id of the sweep.
        params: Values of some parameters, or texts NAME=VALUE with values in YAML. Dotted names and nested names
            are equivalent.

    Returns:
        The new trial. With `repeats`, all trials of the assignment.

    Raises:
        NotFound: If there is no such sweep.
        UsageError: If the params are not in the space or in a tried cell of a grid, the sweep accepts no trials,
            or W&B chooses its params.
    """
    with Workspace().store() as store:
        sweep = store.get_sweep(parse_sweep_id(sweep_id))
        if notes.WANDB_SWEEP.get(store, sweep.id):
            raise UsageError(f"W&B chooses the params of sweep {sweep.id}; start the run from W&B")
        config, n = config_of(store, sweep), sweep.job.repeats
        given = params if isinstance(params, Mapping) else _read(params, config.space)
        for key, problem in params_problems(given, config.space):
            raise UsageError(f"{'.'.join(key) or 'params'}: {problem}")
        space = with_structure(config, sweep.job.search).space
        if space.structure is not None and (problem := conflict(given, space)):
            raise UsageError(f"params: {problem}")
        strategy = make_strategy(config, sweep.seed, sweep.job)
        completion = make_completion(config, sweep.seed, sweep.job.search)
        prior = read_prior(store, sweep)
        for _ in range(ATTEMPTS):
            history = History(store.list_trials(sweep.id, since=0), prior=prior)
            first = strategy.suggest(history, _n_first(sweep, history))
            seen = Repeats(n, config.metric, config.metrics).follow(with_pending(history, first))
            chosen = completion.complete(given, seen)
            if chosen is None:
                raise UsageError(
                    f"sweep {sweep.id} has tried all cells of its grid with these values; repeat a trial with: "
                    f"smsweep reproduce {sweep.id}/N"
                )
            with suppress(StoreConflict):  # it is not finished
                store.set_sweep_state(sweep.id, [SweepState.FINISHED], SweepState.RUNNING)
            try:
                return store.add_trials(sweep.id, history.next_number, [*first, *[chosen] * n])[-n:]
            except StoreConflict:  # another process added trials, or the sweep accepts none
                state = store.get_sweep(sweep.id).state
                if not state.takes_trials and state is not SweepState.FINISHED:
                    raise UsageError(
                        f"sweep {sweep.id} is {state.value} and accepts no trials; continue it with: "
                        f"smsweep sweep --resume {sweep.id}"
                    ) from None
        raise StoreUnavailable(f"other processes keep adding trials to sweep {sweep.id}; try again")


def _n_first(sweep: Sweep, history: History) -> int:
    """Return how many trials come before the user's: start points, and the rest of an assignment with repeats."""
    n, cap = sweep.job.repeats, sweep.config.run_cap
    n_points = len(sweep.job.search.start_points)
    if n == 1:
        return n_left(n_points if cap is None else min(n_points, cap), history)
    n_wanted = n_points * n if cap is None else min(n_points * n, cap)
    n_complete = -(-history.next_number // n) * n
    return max(-(-n_wanted // n) * n, n_complete) - history.next_number


def _read(texts: Iterable[str], space: SearchSpace) -> Params:
    """Return params from texts NAME=VALUE. Raises UsageError."""
    leaves = {".".join(path): leaf for path, leaf in space.leaves}
    params: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise UsageError(f"{text!r}: expected NAME=VALUE, such as lr=0.01")
        if name in params:
            raise UsageError(f"{name}: it is set twice; remove one of the values")
        params[name] = _value(value, leaves.get(name))
    return params


def _value(text: str, leaf: Distribution | None) -> Any:
    try:
        value = read_yaml(text, "").data
    except ConfigError:
        return text
    # A parameter can list the text "1", and not the number.
    is_text = leaf is not None and not can_have(leaf, value) and can_have(leaf, text)
    return text if is_text else value
