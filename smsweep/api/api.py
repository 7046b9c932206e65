"""Read sweeps and trials the way W&B's public API does: `Api().sweep(path).runs`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from math import inf, isnan
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smsweep.core.objective import objective
from smsweep.core.repeats import find_best
from smsweep.core.sweep import Goal, Sweep
from smsweep.core.trial import MetricPoint, Scalar, Trial
from smsweep.engine.agent_state import AgentResult
from smsweep.errors import UsageError
from smsweep.runtime.script.records import URL
from smsweep.search.registry import expected_trial_count
from smsweep.services.agents.run_agent import agent, preflight
from smsweep.services.labels import parse_sweep_id, parse_trial
from smsweep.services.sweeps.create import sweep
from smsweep.services.sweeps.load import JobLike, SweepLike, compile_estimator
from smsweep.services.workspace import Workspace, find_trial
from smsweep.wandb_compat.runs_table import metrics_of, params_of, run_id, run_name, runs_table

Row = dict[str, Scalar]


class _Shaped:
    """Shaped like an object of W&B's API: what it lacks of that is told with what there is."""

    if not TYPE_CHECKING:  # which would take any name for one that is there

        def __getattr__(self, name: str) -> Any:
            own = type(self)
            if hasattr(own, name):  # a property that raised
                return object.__getattribute__(self, name)
            there = ", ".join(each for each in sorted({*dir(own), *vars(self)}) if not each.startswith("_"))
            raise AttributeError(f"smsweep's {own.__name__} has no {name!r}; it has: {there}")


class ApiRun(_Shaped):
    """One trial. A snapshot; `Api().run(label)` reads it anew."""

    def __init__(self, trial: Trial, sweep: Sweep) -> None:
        self.trial = trial
        self._sweep = sweep

    @property
    def id(self) -> str:
        return run_id(self.trial)

    @property
    def name(self) -> str:
        return run_name(self.trial, self._sweep)

    @property
    def state(self) -> str:
        return self.trial.state.value

    @property
    def config(self) -> dict[str, Any]:
        """The params as assigned, nested as in the sweep's config."""
        return dict(params_of(self.trial))

    @property
    def summary(self) -> dict[str, Scalar]:
        """Last value of each metric, under what the script set as its own summary."""
        return metrics_of(self.trial)

    @property
    def summary_metrics(self) -> dict[str, Scalar]:
        """The summary, by W&B's other name for it."""
        return self.summary

    @property
    def url(self) -> str | None:
        """Its page on W&B, where the script has one."""
        url = self.trial.summary.get(URL)
        return url if isinstance(url, str) else None

    @property
    def objective(self) -> float | None:
        metric = self._sweep.config.metric
        return objective(self.trial, metric) if metric else None

    @property
    def sweep(self) -> ApiSweep:
        return ApiSweep(self._sweep)

    @property
    def project(self) -> str:
        return self._sweep.project

    @property
    def entity(self) -> str:
        return self._sweep.entity

    def scan_history(
        self,
        keys: Iterable[str] | None = None,
        page_size: int = 1000,
        min_step: int | None = None,
        max_step: int | None = None,
        use_cache: bool = True,
    ) -> Iterator[Row]:
        """Yield every row the script logged, oldest first, with `_step` and `_timestamp`.

        keys: only rows that have all of these, and only these columns; none for all. min_step, max_step: only
        rows from the one to below the other. page_size, use_cache: accepted as W&B's.
        """
        del page_size, use_cache  # nothing is fetched
        wanted = _names(keys)
        first, end = (-inf if min_step is None else min_step), (inf if max_step is None else max_step)
        with Workspace().store() as store:
            points = store.read_points(self.trial.sweep_id, self.trial.number)
        for row in rows(points):
            if not first <= float(row["_step"] or 0) < end:
                continue
            if not wanted:
                yield row
            elif all(key in row for key in wanted):
                yield {key: row[key] for key in wanted}

    def history(
        self,
        samples: int = 500,
        keys: Iterable[str] | None = None,
        x_axis: str = "_step",
        pandas: bool = True,
        stream: str = "default",
    ) -> Any:
        """Return at most `samples` rows, evenly chosen.

        A pandas DataFrame where pandas is installed and not declined, else a list. keys: only rows that have
        all of these and x_axis, and only these columns; none for all. stream: accepted as W&B's; there is one.
        """
        del stream
        wanted = _names(keys)
        every = list(self.scan_history(wanted and dict.fromkeys((x_axis, *wanted))))
        if len(every) > samples:
            every = [every[index * len(every) // samples] for index in range(samples)]
        return _data_frame(every) if pandas else every

    def reproduce(self, *, backend: str | None = None, tolerance: float = 0.01) -> dict[str, Any]:
        """Run it again as the only run of a new sweep, and return how the two compare.

        As `smsweep reproduce --json`. backend: the one that ran it if None. tolerance: relative to the values.
        Raises NotFound, SourceError; UsageError for a run that has not ended or called a Python function.
        """
        from smsweep.services.reproduce import reproduce  # slow to import

        return dict(reproduce(self.trial.label, backend=backend, tolerance=tolerance))

    def __repr__(self) -> str:
        return f"<Run {self.trial.label} ({self.state})>"

    def _repr_html_(self) -> str:
        from smsweep.services.views.notebook_html import run_html  # only notebooks need it

        return str(run_html(self.trial, self._sweep))


class Runs(list[ApiRun]):
    """The runs of a sweep."""

    def _repr_html_(self) -> str:
        from smsweep.services.views.notebook_html import runs_html  # only notebooks need it

        return str(runs_html([run.trial for run in self], self[0]._sweep)) if self else "no runs"


class ApiSweep(_Shaped):
    """One sweep. A snapshot of the sweep; its runs are read when asked for."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep

    @property
    def id(self) -> str:
        return self.sweep.id

    @property
    def name(self) -> str:
        return self.sweep.name or self.sweep.id

    @property
    def project(self) -> str:
        return self.sweep.project

    @property
    def entity(self) -> str:
        return self.sweep.entity

    @property
    def state(self) -> str:
        return self.sweep.state.value

    @property
    def config(self) -> dict[str, Any]:
        """The sweep's config as its author wrote it."""
        return dict(self.sweep.config.document)

    @property
    def order(self) -> str | None:
        """What `best_run` sorts by, in W&B's words, such as "+summary_metrics.loss" (the least first)."""
        metric = self.sweep.config.metric
        return f"{'+' if metric.goal is Goal.MINIMIZE else '-'}summary_metrics.{metric.name}" if metric else None

    @property
    def expected_run_count(self) -> int | None:
        """Cells of a grid, at most run_cap; None where there is no end."""
        return expected_trial_count(self.sweep.config, self.sweep.job.repeats)

    @property
    def runs(self) -> Runs:
        """By ascending number."""
        with Workspace().store() as store:
            trials = store.list_trials(self.id)
        return Runs(ApiRun(trial, self.sweep) for trial in sorted(trials, key=lambda trial: trial.number))

    @property
    def plot(self) -> Any:
        """The report's figures for a notebook: `plot.history()` and so on. Need the extra `report`."""
        from smsweep.api.plots import Plots  # numpy is slow to import

        return Plots(self.id)

    def report(self) -> Any:
        """Return the report as it is now: shown in a notebook, `.html` as text, `.save(path)` as a file.

        Raises UsageError without the extra `report`.
        """
        from smsweep.api.plots import Report  # numpy is slow to import

        return Report(self.id)

    def to_dataframe(self) -> Any:
        """Return a pandas DataFrame with a row for each run, its columns those of the table that W&B exports.

        Raises ImportError where pandas is not installed.
        """
        return import_module("pandas").DataFrame(runs_table((run.trial for run in self.runs), self.sweep))

    def export(
        self,
        to: str | PathLike[str],
        format: str | None = None,  # noqa: A002 - the flag's name
        *,
        force: bool = False,
    ) -> int:
        """Write all trials to a file, a storage or a folder, as `smsweep export --to`, and return how many.

        format: csv, json, parquet, wandb, optuna, mlflow or tensorboard; by the file's ending if None, else csv.
        Raises UsageError for what is there already (force replaces it), cannot be written, or needs an extra.
        """
        from smsweep.services.export import export  # slow to import

        return export(self.id, fspath(to), form=format, force=force).n_trials

    def best_run(self, order: str | None = None) -> ApiRun | None:
        """Return the run with the best objective; None when there is none.

        order: another metric to sort by, "+name" ascending or "-name" (or "name") descending, by last value.
        """
        runs = self.runs
        if order is None:
            metric = self.sweep.config.metric
            best = find_best([run.trial for run in runs], metric, self.sweep.job.repeats) if metric else None
            return ApiRun(best.trial, self.sweep) if best else None
        name, is_ascending = order.lstrip("+-").removeprefix("summary_metrics."), order.startswith("+")
        found = [(run, run.summary.get(name)) for run in runs]
        with_value = [(run, value) for run, value in found if isinstance(value, (int, float)) and not isnan(value)]
        choose = min if is_ascending else max
        return choose(with_value, key=lambda pair: pair[1], default=(None, 0))[0]

    def __repr__(self) -> str:
        return f"<Sweep {self.id} ({self.state})>"

    def _repr_html_(self) -> str:
        from smsweep.services.views.notebook_html import sweep_html  # only notebooks need it

        return str(sweep_html(self.sweep))


class Sweeps(list[ApiSweep]):
    """Sweeps of one store."""

    def _repr_html_(self) -> str:
        from smsweep.services.views.notebook_html import sweeps_html  # only notebooks need it

        return str(sweeps_html([each.sweep for each in self]))


class Api(_Shaped):
    """Reads the store of the current `SMSWEEP_DIR` or `SMSWEEP_STORE`."""

    def __init__(self, overrides: Mapping[str, Any] | None = None, **ignored: Any) -> None:
        del overrides, ignored  # accepted as wandb.Api does

    def sweep(self, path: str) -> ApiSweep:
        """path: "ID", or "entity/project/ID" or "entity/project/sweeps/ID" as W&B writes it. Raises NotFound."""
        with Workspace().store() as store:
            return ApiSweep(store.get_sweep(parse_sweep_id(path)))

    def sweeps(self) -> Sweeps:
        """Newest first."""
        workspace = Workspace()
        if not workspace.has_store:
            return Sweeps()
        with workspace.store() as store:
            return Sweeps(ApiSweep(sweep) for sweep in store.list_sweeps())

    def run(self, path: str) -> ApiRun:
        """path: "ID/N". Raises NotFound."""
        sweep_id, number = parse_trial(path)
        with Workspace().store() as store:
            return ApiRun(find_trial(store, sweep_id, number), store.get_sweep(sweep_id))

    def diff(self, a: str, b: str) -> dict[str, Any]:
        """Return what differs between two runs ("ID/N") or two sweeps ("ID"), as `smsweep diff --json`.

        Raises NotFound; UsageError for a run and a sweep.
        """
        from smsweep.services.views.diff import diff  # slow to import

        return dict(diff(a, b))


def rows(points: Iterable[MetricPoint]) -> Iterator[Row]:
    """Put points back into the rows they were logged as.

    Consecutive points of one step are one row; points without a step share a row until a name comes again.
    """
    row: Row = {}
    row_step: int | None = None
    index = 0
    for point in points:
        is_same = point.step == row_step and (point.step is not None or point.name not in row)
        if row and not is_same:
            yield row
            index += 1
            row = {}
        if not row:
            row_step = point.step
            row = {"_step": index if point.step is None else point.step, "_timestamp": point.time.timestamp()}
        if point.name != "_step":  # what a script calls so does not move its row, as with W&B
            row[point.name] = point.value
    if row:
        yield row


def _names(keys: Iterable[str] | None) -> list[str]:
    """Raises UsageError for a single name, which would be taken for a list of letters."""
    if isinstance(keys, str):
        raise UsageError(f"keys: expected a list of names, got {keys!r}; write [{keys!r}]")
    return list(keys or ())


def _data_frame(every: list[Row]) -> Any:
    try:
        pandas = import_module("pandas")  # not ours to install, and slow to import
    except ImportError:
        return every
    return pandas.DataFrame(every)


def run(
    config: SweepLike,
    *,
    entity: str | None = None,
    project: str | None = None,
    prior_runs: Iterable[str | Path] | str | Path | None = None,
    name: str | None = None,
    program: str | None = None,
    job: JobLike = None,
    estimator: Any = None,
    inputs: Any = None,
    seed: int | None = None,
    reuse: bool = False,
    on_created: Callable[[str], None] = lambda sweep_id: None,
    **agent_options: Any,
) -> AgentResult:
    """Create a sweep and run an agent on it; takes the arguments of both.

    What its backend cannot run raises before anything is created.
    """
    compiled = compile_estimator(estimator, inputs, job)
    backend = agent_options.get("backend")
    if agent_options.get("function") is None:
        preflight(
            config,
            program=program or (compiled.program if compiled else None),
            job=compiled.document if compiled else job,
            backend=compiled.chosen_backend(backend, os.environ) if compiled else backend,
            notify=agent_options.get("notify") or (),
        )
    sweep_id = sweep(
        config,
        entity,
        project,
        prior_runs,
        name=name,
        program=program,
        job=job,
        estimator=compiled,
        seed=seed,
        reuse=reuse,
    )
    on_created(sweep_id)
    return agent(sweep_id, estimator=compiled, **agent_options)
