"""The table of runs that W&B exports: convert trials to it, and read runs from a CSV file of it."""

from __future__ import annotations

import ast
import csv
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smsweep.config_files.yaml_reader import read_scalar
from smsweep.core.sweep import Goal, Metric, Sweep
from smsweep.core.trial import Params, Scalar, Trial, TrialState, is_number
from smsweep.errors import NotFound, UsageError
from smsweep.exports.contents import WANDB_COLUMNS
from smsweep.runtime.script.records import IDLE, PARAMS, RUN, STOPPED, URL
from smsweep.space.distribution import MISSING, Distribution, can_have
from smsweep.space.space import SearchSpace

Row = dict[str, Any]

STATES = {  # states with another name in W&B
    TrialState.STOPPED: "killed",  # W&B's own state of a run that early termination stopped
    TrialState.STOPPING: "running",
}
# States of runs that have ended, in W&B and in smsweep. Runs in other states are skipped.
ENDED = frozenset({"finished", "failed", "crashed", "killed", "stopped"})
# Prefixes of columns: smsweep's export, other exports, W&B's table. Explicit prefixes come first: a plain `lr` may
# be a metric with that name, and a plain `number` may be the trial's number.
PARAM_PREFIXES = ("params.", "config.", "")
METRIC_PREFIXES = ("metrics.", "summary.", "")
WHOLE = ("config", "summary")  # columns with a mapping in each cell, as in W&B's documentation of exports
# Names in a mapping that are not Python literals, but that Python or JSON writes.
WORDS: Mapping[str, Any] = {
    **dict.fromkeys(("nan", "NaN"), math.nan),
    **dict.fromkeys(("inf", "Infinity"), math.inf),
    "true": True,
    "false": False,
    "null": None,
}
CsvRow = Mapping[str, str]


def runs_table(trials: Iterable[Trial], sweep: Sweep) -> list[Row]:
    """Return a sweep's trials as rows of the table that W&B exports."""
    return [wandb_row(trial, name=run_name(trial, sweep), summary=metrics_of(trial)) for trial in trials]


def wandb_row(trial: Trial, *, name: str, summary: Mapping[str, Scalar]) -> Row:
    """Return one row: W&B's own columns, then params, then metrics. Nested names are joined with dots.

    Runtime is in seconds. If names are equal, W&B's columns and then metrics keep theirs: the param becomes
    `config.NAME`, the metric `summary.NAME`.
    """
    seconds = duration_s(trial)
    state = STATES.get(trial.state, trial.state.value)
    created = trial.created_at.isoformat() if trial.created_at else None
    row = dict(zip(WANDB_COLUMNS, (name, state, created, seconds, trial.sweep_id, run_id(trial)), strict=True))
    params = {
        f"config.{key}" if key in row or key in summary else key: value
        for key, value in _flat(params_of(trial)).items()
    }
    return {**row, **params, **{f"summary.{key}" if key in row else key: value for key, value in summary.items()}}


def duration_s(trial: Trial) -> float | None:
    """Return the seconds from the start of a trial's last attempt to its end; None if it has not ended."""
    return (trial.ended_at - trial.started_at).total_seconds() if trial.started_at and trial.ended_at else None


def _flat(values: Mapping[str, Any], prefix: str = "") -> Row:
    flat: Row = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def params_of(trial: Trial) -> Params:
    """Return a trial's params: those that W&B's server chose, otherwise smsweep's own."""
    chosen = {name: value for name, value in trial.summary.items() if name.startswith(PARAMS)}
    return {name.removeprefix(PARAMS): value for name, value in chosen.items()} if chosen else trial.params


def run_id(trial: Trial) -> str:
    """Return the id of a trial's run in W&B's table."""
    return f"{trial.sweep_id}-{trial.number}"


def run_name(trial: Trial, sweep: Sweep) -> str:
    """Return the name of a trial's run in W&B's table."""
    return f"{sweep.name or sweep.id}-{trial.number}"


def metrics_of(trial: Trial) -> dict[str, Scalar]:
    """Return the last value of each metric; values that the script set in its summary take precedence."""
    return {**{name: stats.last for name, stats in trial.metrics.items()}, **summary_of(trial)}


def summary_of(trial: Trial) -> dict[str, Scalar]:
    """Return the values that the script itself set in the trial's summary."""
    return {
        name: value
        for name, value in trial.summary.items()
        if name not in (IDLE, RUN, STOPPED, URL) and not name.startswith(PARAMS)
    }


def usage_of(trial: Trial) -> dict[str, Any]:
    """Return the resources that the trial's jobs used, and the URL of its W&B run."""
    url = trial.summary.get(URL)
    return {**trial.usage, **({"wandb_url": url} if url else {})}


@dataclass(frozen=True, kw_only=True, slots=True)
class RunsCsv:
    runs: tuple[dict[str, Any], ...]  # JSON: params (nested as in the space), state, values by metric
    warnings: tuple[str, ...]  # one per reason why data are not used


def read_runs_csv(path: Path, space: SearchSpace, metrics: Sequence[Metric]) -> RunsCsv:
    """Read the runs that a search can use from a table with one run per row, and params and metrics in columns.

    Raises:
        NotFound: If the file does not exist.
        UsageError: If the file is not a CSV file.
    """
    return read_rows(str(path), list(_rows(path)), space, metrics)


def read_rows(place: str, rows: Sequence[CsvRow], space: SearchSpace, metrics: Sequence[Metric]) -> RunsCsv:
    """Read the runs that a search can use from rows of such a table.

    A run is used without the params that have no value or that are not in the space.

    Args:
        place: Source of the rows, for the warnings.
        rows: The rows.
        space: The search space.
        metrics: The metrics of the sweep.
    """
    runs, reasons = [], Counter[str]()
    for row in rows:
        run, unused = _read(row, space, metrics)
        reasons.update(unused)
        if run is not None:
            runs.append(run)
    warnings = [f"{place}: {reason}: {n} of {len(rows)} runs" for reason, n in sorted(reasons.items())]
    warnings += [f"{place}: contains no runs"] if not rows else []
    return RunsCsv(runs=tuple(runs), warnings=tuple(warnings))


def _rows(path: Path) -> Iterator[CsvRow]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                cells = {name: cell for name, cell in row.items() if name and isinstance(cell, str)}
                yield cells | {key: cell for name in WHOLE for key, cell in _mapping(name, cells.get(name, ""))}
    except FileNotFoundError as err:
        raise NotFound(f"{path}: no such file") from err
    except (OSError, UnicodeDecodeError, csv.Error) as err:
        raise UsageError(f"{path}: cannot be read as CSV: {err}; export the table of runs again") from err


def _mapping(name: str, cell: str) -> Iterator[tuple[str, str]]:
    """Yield flat names and texts of a cell such as `{'lr': 0.1, 'acc': nan}` (Python or JSON)."""
    try:
        value = (
            ast.literal_eval(_NamedValues().visit(ast.parse(cell, mode="eval"))) if cell.startswith("{") else {}
        )
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return
    ahead = [(name, value)]
    while ahead:
        key, value = ahead.pop()
        if isinstance(value, dict):
            ahead += [(f"{key}.{inner}", item) for inner, item in value.items()]
        else:
            yield key, value if isinstance(value, str) else repr(value)


class _NamedValues(ast.NodeTransformer):
    """Replaces names such as `nan` and `true` by their values."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(WORDS[node.id]) if node.id in WORDS else node


def _read(row: CsvRow, space: SearchSpace, metrics: Sequence[Metric]) -> tuple[dict[str, Any] | None, list[str]]:
    """Return a run, or None if it cannot be used, and the reasons why data are not used."""
    state = _cell(row, "State", ("",)) or _cell(row, "state", ("",)) or "finished"
    if state.lower() not in ENDED:
        return None, ["not ended yet"]
    reported = {metric.name: _value(row, metric, is_one=len(metrics) == 1) for metric in metrics}
    missing = [name for name, value in reported.items() if value is None]
    if missing and state.lower() in (TrialState.FINISHED.value, "stopped"):
        return None, [f"without {name}" for name in missing]
    values, reasons, blank = [], [], []
    is_of_this_space = False
    for path, leaf in space.leaves:
        name = ".".join(path)
        cell = _cell(row, name, PARAM_PREFIXES)
        value = _param(cell, leaf) if cell else _blank(row, name, leaf)
        if leaf.size != 1 and value is MISSING and cell:
            reasons.append(f"{name} outside the space")
        elif leaf.size != 1 and value is MISSING:
            blank.append(path)
        values.append(value)
        is_of_this_space |= bool(cell) and value is not MISSING
    params = space.nest(values)
    existing = set(space.missing(params))  # without parameters that do not exist
    reasons += [f"without {'.'.join(path)}" for path in blank if path in existing]
    if not is_of_this_space:
        strange = [reason for reason in reasons if reason.endswith("outside the space")]
        return None, strange or ["none of the sweep's parameters"]
    return {"params": params, "state": state.lower(), "values": reported}, reasons


def _cell(row: CsvRow, name: str, prefixes: tuple[str, ...]) -> str:
    cells = (row.get(prefix + name, "") for prefix in prefixes)
    return next((cell.strip() for cell in cells if cell.strip()), "")


def _value(row: CsvRow, metric: Metric, *, is_one: bool) -> float | None:
    """Return a run's value of a metric. is_one: it is the only metric, so its best value counts, not its last."""
    # W&B has no value under the metric's own name if define_metric(summary="min") selects other summaries.
    best = (".min" if metric.goal is Goal.MINIMIZE else ".max", ".best")
    for kind in ("", *best, ".last") if is_one else ("", ".last", *best):
        value = _scalar(_cell(row, metric.name + kind, METRIC_PREFIXES))
        if is_number(value):
            return float(value)
    return None


def _param(cell: str, leaf: Distribution) -> Any:
    """Return the value of the distribution in a cell; MISSING if the cell has none."""
    readings = (_scalar(cell), cell, cell.removeprefix("'"), *_literal(cell))  # ' is the guard against formulas
    return next((reading for reading in readings if can_have(leaf, reading)), MISSING)


def _blank(row: CsvRow, name: str, leaf: Distribution) -> Any:
    """Return the value of an empty cell: None if the distribution contains null, which tables write as empty."""
    has_column = any(prefix + name in row for prefix in PARAM_PREFIXES)
    return None if has_column and leaf.size != 1 and can_have(leaf, None) else MISSING


def _scalar(cell: str) -> Any:
    try:
        return read_scalar(cell)
    except ValueError:
        return cell


def _literal(cell: str) -> list[Any]:
    """Return the list, mapping or None in a cell as a list of one item; [] for anything else."""
    try:
        return [ast.literal_eval(cell)] if cell[:1] in ("[", "{") or cell == "None" else []
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return []
