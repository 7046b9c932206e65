"""Read sweeps and trials like W&B's public API: `Api().sweep(path).runs`."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from math import inf, isnan
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from smsweep.core.objective import objective
from smsweep.core.repeats import Best, find_best
from smsweep.core.sweep import Goal, Sweep
from smsweep.core.trial import MetricPoint, Scalar, Trial
from smsweep.errors import NotFound, UsageError
from smsweep.runtime.script.records import URL
from smsweep.search.registry import expected_trial_count
from smsweep.services.labels import full_label, parse_sweep_id, parse_trial
from smsweep.services.workspace import Workspace, find_trial
from smsweep.space.distribution import MISSING
from smsweep.wandb_compat.run_filters import Lookup, make_filter, ordered
from smsweep.wandb_compat.runs_table import duration_s, metrics_of, params_of, run_id, run_name, runs_table

if TYPE_CHECKING:
    from smsweep.core.json_documents import AgentDocument

Row = dict[str, Scalar]


class _Shaped:
    """Base of classes that mirror W&B's API. A missing attribute raises an error that lists the existing ones."""

    _instead: Mapping[str, str] = {}  # W&B's attributes without a counterpart -> the alternative

    if not TYPE_CHECKING:  # so that a type checker reports missing attributes

        def __getattr__(self, name: str) -> Any:
            cls = type(self)
            if hasattr(cls, name):  # a property that raised AttributeError
                return object.__getattribute__(self, name)
            names = ", ".join(each for each in sorted({*dir(cls), *vars(self)}) if not each.startswith("_"))
            advice = cls._instead.get(name) or f"it has: {names}; keep `import wandb` for the rest of W&B's API"
            raise AttributeError(f"smsweep's {cls.__name__} has no {name!r}; {advice}")


class ApiRun(_Shaped):
    """A trial, as it was when it was read. Read it again with `Api().run(label)`."""

    _instead = {  # noqa: RUF012 - never changes
        **dict.fromkeys(("files", "file", "logged_artifacts"), "list the files of jobs with: smsweep show ID/N"),
        "console_logs": "read its log with: smsweep logs ID/N",
        "delete": "remove it with: smsweep rm ID/N",
        "load": "read it again with: Api().run(label)",
        "wait_until_finished": "wait with: smsweep watch ID",
        **dict.fromkeys(("update", "save"), "runs are read-only; log values in the script with: smsweep.log"),
    }

    def __init__(self, trial: Trial, sweep: Sweep, best: Best | None = None) -> None:
        self.trial = trial
        self._sweep = sweep
        self._best = best

    @property
    def id(self) -> str:
        """Id of the run in W&B: SWEEP-NUMBER."""
        return run_id(self.trial)

    @property
    def name(self) -> str:
        """Name of the run."""
        return run_name(self.trial, self._sweep)

    @property
    def state(self) -> str:
        """State of the trial."""
        return self.trial.state.value

    @property
    def created_at(self) -> str | None:
        """When the run was added to its sweep, as ISO 8601."""
        return self.trial.created_at.isoformat() if self.trial.created_at else None

    @property
    def group(self) -> str:
        """Group of the run in W&B: the id of its sweep."""
        return self.trial.sweep_id

    @property
    def sweep_name(self) -> str:
        """Id of the run's sweep, which W&B's API calls its name."""
        return self.trial.sweep_id

    @property
    def path(self) -> list[str]:
        """Entity, project and id, as of `Api().run`."""
        return [self.entity, self.project, self.id]

    @property
    def config(self) -> dict[str, Any]:
        """The params, nested as in the sweep's config."""
        return dict(params_of(self.trial))

    @property
    def summary(self) -> dict[str, Scalar]:
        """The last value of each metric. Values that the script set in its summary replace them."""
        return metrics_of(self.trial)

    @property
    def summary_metrics(self) -> dict[str, Scalar]:
        """The same as `summary`."""
        return self.summary

    @property
    def url(self) -> str | None:
        """URL of the run on W&B; None if the script did not log to W&B."""
        url = self.trial.summary.get(URL)
        return url if isinstance(url, str) else None

    @property
    def objective(self) -> float | None:
        """Value of the sweep's metric; None without a value."""
        metric = self._sweep.config.metric
        return objective(self.trial, metric) if metric else None

    @property
    def repeats(self) -> dict[str, Any] | None:
        """The repeats of the best run: their `mean`, its 95 % `interval`, `n_values`, `trials` and `objectives`.

        None for a run that `best_run` did not return, or without repeats.
        """
        from smsweep.services.views.json_views import best_data  # slow to import

        repeats = best_data(self._best, self._sweep).get("repeats") if self._best else None
        return dict(repeats) if repeats else None

    @property
    def sweep(self) -> ApiSweep:
        """The sweep of the run."""
        return ApiSweep(self._sweep)

    @property
    def project(self) -> str:
        """W&B project; "" without one."""
        return self._sweep.project

    @property
    def entity(self) -> str:
        """W&B entity; "" without one."""
        return self._sweep.entity

    @property
    def username(self) -> str:
        """The same as `entity`. W&B deprecates this name."""
        return self.entity

    def scan_history(
        self,
        keys: Iterable[str] | None = None,
        page_size: int = 1000,
        min_step: int | None = None,
        max_step: int | None = None,
        use_cache: bool = True,
    ) -> Iterator[Row]:
        """Yield every row that the script logged, oldest first, with `_step` and `_timestamp`.

        Args:
            keys: Yield only rows that have all of these keys, with only these columns. Default: all rows.
            page_size: Ignored; for compatibility with W&B.
            min_step: First step. Default: no limit.
            max_step: The step after the last one. Default: no limit.
            use_cache: Ignored; for compatibility with W&B.

        Raises:
            UsageError: If `keys` is a string.
        """
        del page_size, use_cache  # the rows are in the store
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
        """Return a sample of the rows that the script logged, evenly spaced.

        Args:
            samples: Maximum number of rows.
            keys: Use only rows that have `x_axis` and all of these keys, with only these columns. Default: all.
            x_axis: A key that each row must have if `keys` is given.
            pandas: Return a pandas DataFrame if pandas is installed.
            stream: Ignored; for compatibility with W&B.

        Returns:
            A DataFrame or a list of rows.

        Raises:
            UsageError: If `keys` is a string.
        """
        del stream
        wanted = _names(keys)
        every = list(self.scan_history(wanted and dict.fromkeys((x_axis, *wanted))))
        if len(every) > samples:
            every = [every[index * len(every) // samples] for index in range(samples)]
        return _data_frame(every) if pandas else every

    def reproduce(self, *, backend: str | None = None, tolerance: float = 0.01) -> dict[str, Any]:
        """Run the trial again as the only run of a new sweep, and compare both, as `smsweep reproduce --json`.

        Args:
            backend: Name of the backend. Default: the backend that ran the trial.
            tolerance: Maximum relative difference for the verdict "within tolerance".

        Raises:
            NotFound: If the trial was removed.
            SourceError: If the source snapshot is not on this machine.
            UsageError: If the trial has not ended, or ran a Python function.
        """
        from smsweep.services.reproduce import reproduce  # slow to import

        return dict(reproduce(self.trial.label, backend=backend, tolerance=tolerance))

    def __repr__(self) -> str:
        return f"<Run {self.trial.label} ({self.state})>"

    def to_html(self, height: int = 420, hidden: bool = False) -> str:
        """Return the HTML that a notebook shows. For the arguments, see `ApiSweep.to_html`."""
        del height
        return _foldable(self._repr_html_(), "run", hidden=hidden)

    def _repr_html_(self) -> str:
        from smsweep.services.views.notebook_html import run_html  # only notebooks need it

        return str(run_html(self.trial, self._sweep))


class Runs(list[ApiRun]):
    """Runs of a sweep, or of several sweeps."""

    def _repr_html_(self) -> str:
        from smsweep.services.views.notebook_html import runs_html  # only notebooks need it

        groups = itertools.groupby(self, lambda run: run._sweep)
        tables = [str(runs_html([run.trial for run in group], sweep)) for sweep, group in groups]
        return "".join(tables) or "no runs"


class ApiAgent(_Shaped):
    """An agent of a sweep, as it was when it was read."""

    def __init__(self, document: AgentDocument, runs: Iterable[ApiRun]) -> None:
        self.document = document  # as `smsweep agents --json` prints it
        self.id = document["id"]
        self._runs = Runs(runs)

    @property
    def name(self) -> str:
        """The same as `id`."""
        return self.id

    @property
    def host(self) -> str:
        """Name of the agent's machine."""
        return self.id.partition(":")[0]

    @property
    def state(self) -> str:
        """RUNNING, DRAINING, STOPPING or LOST. smsweep keeps no agents that have exited."""
        return self.document["state"].upper()

    def runs(self, per_page: int = 50) -> Runs:
        """Return the runs that the agent holds now.

        Args:
            per_page: Ignored; for compatibility with W&B.
        """
        del per_page
        return self._runs

    def __repr__(self) -> str:
        return f"<Agent {self.id} ({self.state})>"


class ApiSweep(_Shaped):
    """A sweep, as it was when it was read. `runs` reads the runs at each access."""

    _instead = {  # noqa: RUF012 - never changes
        "url": "show it in a browser with: smsweep ui",
        "get": "read it with: Api().sweep(ID)",
    }

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep

    @property
    def id(self) -> str:
        """Id of the sweep."""
        return self.sweep.id

    @property
    def name(self) -> str:
        """Name of the sweep; its id without a name."""
        return self.sweep.name or self.sweep.id

    @property
    def project(self) -> str:
        """W&B project; "" without one."""
        return self.sweep.project

    @property
    def entity(self) -> str:
        """W&B entity; "" without one."""
        return self.sweep.entity

    @property
    def username(self) -> str:
        """The same as `entity`. W&B deprecates this name."""
        return self.entity

    @property
    def path(self) -> list[str]:
        """Entity, project and id, as of `Api().sweep`."""
        return [self.entity, self.project, self.id]

    @property
    def state(self) -> str:
        """State of the sweep."""
        return self.sweep.state.value

    @property
    def config(self) -> dict[str, Any]:
        """The sweep config as the user wrote it."""
        return dict(self.sweep.config.document)

    @property
    def order(self) -> str | None:
        """The order of `best_run` in W&B's notation, such as "+summary_metrics.loss" (ascending)."""
        metric = self.sweep.config.metric
        return f"{'+' if metric.goal is Goal.MINIMIZE else '-'}summary_metrics.{metric.name}" if metric else None

    @property
    def expected_run_count(self) -> int | None:
        """Number of runs: the cells of a grid, at most `run_cap`; None if unlimited."""
        return expected_trial_count(self.sweep.config, self.sweep.job)

    @property
    def runs(self) -> Runs:
        """The runs by ascending number."""
        with Workspace().store() as store:
            trials = store.list_trials(self.id)
        return Runs(ApiRun(trial, self.sweep) for trial in sorted(trials, key=lambda trial: trial.number))

    def load(self, force: bool = False) -> dict[str, Any]:
        """Read the sweep again, and return its document, as `smsweep show --json`.

        Args:
            force: Ignored, because each call reads the store; for compatibility with W&B.

        Raises:
            NotFound: If the sweep was removed.
        """
        from smsweep.services.views.json_views import show  # slow to import

        del force
        self.sweep = Api().sweep(self.id).sweep
        return dict(show(self.id))

    def agents(self) -> list[ApiAgent]:
        """Return the agents of the sweep on all machines, as `smsweep agents --sweep ID`."""
        from smsweep.services.agents.records import list_agents  # reads processes; few scripts list agents

        runs = {run.trial.number: run for run in self.runs}
        return [
            ApiAgent(document, (runs[number] for number in document["trials"] if number in runs))
            for document in list_agents(self.id)
        ]

    def agent(self, agent_id: str) -> ApiAgent:
        """Return an agent by its id.

        Raises:
            NotFound: If the sweep has no such agent.
        """
        agents = {agent.id: agent for agent in self.agents()}
        if agent_id not in agents:
            known = ", ".join(agents) or "none"
            raise NotFound(f"sweep {self.id} has no agent {agent_id!r}; its agents: {known}")
        return agents[agent_id]

    @property
    def plot(self) -> Any:
        """The figures of the sweep, for example `plot.history()`. Need the extra `report`."""
        from smsweep.api.plots import Plots  # numpy is slow to import

        return Plots(self.id)

    def report(self) -> Any:
        """Make the report. A notebook shows it; `.html` is its text; `.save(path)` writes it to a file.

        Raises:
            UsageError: Without the extra `report`.
        """
        from smsweep.api.plots import Report  # numpy is slow to import

        return Report(self.id)

    def to_dataframe(self) -> Any:
        """Return a pandas DataFrame with a row for each run and the columns of W&B's table export.

        Raises:
            ImportError: If pandas is not installed.
        """
        return import_module("pandas").DataFrame(runs_table((run.trial for run in self.runs), self.sweep))

    def export(
        self,
        to: str | PathLike[str],
        format: str | None = None,  # noqa: A002 - the name of the command line option
        *,
        force: bool = False,
    ) -> int:
        """Export all trials, as `smsweep export --to`.

        Args:
            to: A file, a storage or a folder.
            format: csv, json, parquet, wandb, optuna, mlflow, tensorboard or tuning-job. Default: by the file
                extension, else csv.
            force: Replace an existing export.

        Returns:
            Number of trials; 0 for tuning-job.

        Raises:
            UsageError: If the target exists or cannot be written, or the format needs an extra.
            ConfigError: If the format is tuning-job and the sweep has a feature that tuning jobs do not have.
        """
        from smsweep.services.export import export  # slow to import

        return export(self.id, fspath(to), form=format, force=force).n_trials

    def confirm(self, top: int = 5, repeats: int = 3) -> int:
        """Ask agents to repeat the best runs with new seeds, as `smsweep confirm`.

        Args:
            top: Number of best runs to repeat.
            repeats: Repeats of each of them on average.

        Returns:
            The maximum number of repeats that the next agents will run.

        Raises:
            UsageError: If an argument is invalid, or the sweep has no best run that could be repeated.
        """
        from smsweep.services.sweeps.control import confirm  # slow to import

        return confirm(self.id, top=top, repeats=repeats).n_left

    def update(self, changes: Mapping[str, Any] | None = None, /, **values: Any) -> ApiSweep:
        """Change the config of the sweep while it runs, as `smsweep set`. Agents apply it at their next poll.

        Args:
            changes: Keys with dots and their new values, such as {"parameters.lr.max": 0.1}. None removes a key.
            values: The same for keys without dots, such as `run_cap=200` and `budget={"usd": 50}`.

        Returns:
            The changed sweep.

        Raises:
            ConfigError: If a key cannot change, or the changed config is invalid. Then nothing changes.
            UsageError: If there is no change.
        """
        from smsweep.config_files.config_change import Change  # slow to import
        from smsweep.services.sweeps.change import change

        wanted = {**(changes or {}), **values}
        self.sweep = change(self.id, [Change(key=key, value=value) for key, value in wanted.items()]).sweep
        return self

    def enqueue(self, params: Mapping[str, Any]) -> ApiRun:
        """Queue a run with chosen params, as `smsweep enqueue`.

        Args:
            params: Values of some parameters. The search method chooses missing values.

        Returns:
            The pending run. With `repeats`, the first one of its params.

        Raises:
            UsageError: If the params are not in the search space or in a tried cell of a grid, or the sweep
                accepts no runs.
        """
        from smsweep.services.sweeps.enqueue import enqueue  # slow to import

        return ApiRun(enqueue(self.id, params)[0], self.sweep)

    def enqueue_run(self, config: Mapping[str, Any], display_name: str | None = None) -> str:
        """Queue a run as `enqueue` does, and return its id.

        Args:
            config: Values of some parameters. The search method chooses missing values.
            display_name: Ignored, because a run is named after its sweep; for compatibility with W&B.

        Raises:
            UsageError: As `enqueue`.
        """
        del display_name
        return self.enqueue(config).id

    def best_run(self, order: str | None = None) -> ApiRun | None:
        """Return the best run; None if no run has a value.

        Args:
            order: Metric to compare by its last value: "+name" for the lowest, "-name" or "name" for the highest.
                Default: the sweep's objective.
        """
        runs = self.runs
        if order is None:
            metric = self.sweep.config.metric
            constraints = self.sweep.job.search.outcome_constraints
            trials = [run.trial for run in runs]
            best = find_best(trials, metric, self.sweep.job.repeats, constraints) if metric else None
            return ApiRun(best.trial, self.sweep, best) if best else None
        name, is_ascending = order.lstrip("+-").removeprefix("summary_metrics."), order.startswith("+")
        pairs = [(run, run.summary.get(name)) for run in runs]
        with_value = [(run, value) for run, value in pairs if isinstance(value, (int, float)) and not isnan(value)]
        choose = min if is_ascending else max
        return choose(with_value, key=lambda pair: pair[1], default=(None, 0))[0]

    def __repr__(self) -> str:
        return f"<Sweep {self.id} ({self.state})>"

    def to_html(self, height: int = 420, hidden: bool = False) -> str:
        """Return the HTML that a notebook shows.

        Args:
            height: Ignored, because the HTML has no frame; for compatibility with W&B.
            hidden: Return HTML that the user unfolds.
        """
        del height
        return _foldable(self._repr_html_(), "sweep", hidden=hidden)

    def _repr_html_(self) -> str:
        from smsweep.services.views.notebook_html import sweep_html  # only notebooks need it

        return str(sweep_html(self.sweep))


class Sweeps(list[ApiSweep]):
    """Sweeps of one store."""

    def _repr_html_(self) -> str:
        from smsweep.services.views.notebook_html import sweeps_html  # only notebooks need it

        return str(sweeps_html([each.sweep for each in self]))


class ApiProject(_Shaped):
    """A project: the sweeps that have its name."""

    _instead = {  # noqa: RUF012 - never changes
        "url": "smsweep has no page of a project; list its sweeps with: .sweeps()"
    }

    def __init__(self, name: str, entity: str, sweeps: Iterable[Sweep]) -> None:
        self.name = name
        self.entity = entity
        self._sweeps = Sweeps(map(ApiSweep, sweeps))

    @property
    def path(self) -> list[str]:
        """Entity and name."""
        return [self.entity, self.name]

    def sweeps(self, per_page: int = 50) -> Sweeps:
        """Return the sweeps of the project, newest first.

        Args:
            per_page: Ignored; for compatibility with W&B.
        """
        del per_page
        return self._sweeps

    def __repr__(self) -> str:
        return f"<Project {'/'.join(filter(None, self.path))}>"


class Api(_Shaped):
    """Reads sweeps and runs from the store (`SMSWEEP_STORE`, default: a file in `SMSWEEP_DIR`)."""

    _instead = {  # noqa: RUF012 - never changes
        "create_run": "a run belongs to a sweep; add one with: Api().sweep(ID).enqueue_run(config)",
    }

    def __init__(self, overrides: Mapping[str, Any] | None = None, **ignored: Any) -> None:
        del overrides, ignored  # for compatibility with wandb.Api

    def sweep(self, path: str) -> ApiSweep:
        """Return a sweep.

        Args:
            path: "ID", "entity/project/ID", "entity/project/sweeps/ID", or the exact name of a sweep.

        Raises:
            NotFound: If there is no such sweep.
            UsageError: If several sweeps have the name.
        """
        with Workspace().store() as store:
            return ApiSweep(store.get_sweep(parse_sweep_id(full_label(path))))

    def sweeps(self) -> Sweeps:
        """Return all sweeps, newest first."""
        workspace = Workspace()
        if not workspace.has_store:
            return Sweeps()
        with workspace.store() as store:
            return Sweeps(ApiSweep(sweep) for sweep in store.list_sweeps())

    def project(self, name: str, entity: str | None = None) -> ApiProject:
        """Return a project.

        Args:
            name: Name of the project.
            entity: W&B entity. A sweep without an entity belongs to all entities. Default: all.

        Raises:
            NotFound: If no sweep has the project.
        """
        return ApiProject(name, entity or "", (each.sweep for each in self._sweeps_of(name, entity or "")))

    def runs(
        self,
        path: str | None = None,
        filters: Mapping[str, Any] | None = None,
        order: str = "+created_at",
        per_page: int = 50,
        include_sweeps: bool = False,
        lazy: bool = True,
    ) -> Runs:
        """Return the runs of all sweeps of a project that match W&B's filters.

        Args:
            path: "project" or "entity/project". A sweep without an entity belongs to all entities. Default: all
                projects.
            filters: Fields and values, such as `{"state": "finished", "config.lr": {"$lt": 0.1}}`. The fields are
                `state`, `name` (the id of the run), `displayName`, `sweep`, `group`, `createdAt`, `duration` (in
                seconds), `config.NAME` and `summary_metrics.NAME`. The operators are `$and`, `$or`, `$nor`, `$eq`,
                `$ne`, `$gt`, `$gte`, `$lt`, `$lte`, `$in`, `$nin`, `$exists` and `$regex`.
            order: A field with "+" (ascending) or "-" (descending). Runs without a value come last.
            per_page: Ignored; for compatibility with W&B.
            include_sweeps: Ignored; for compatibility with W&B.
            lazy: Ignored; for compatibility with W&B.

        Raises:
            NotFound: If no sweep has the project.
            UsageError: If the path, a filter or the order is invalid.
        """
        del per_page, include_sweeps, lazy
        matches = make_filter(filters, _field)
        entity, _, project = (path or "").strip("/ ").rpartition("/")
        if "/" in entity:
            raise UsageError(f"{path!r} is not a project; write it as entity/project")
        sweeps = self._sweeps_of(project, entity) if project else self.sweeps()
        found = [run for sweep in reversed(sweeps) for run in sweep.runs if matches(_lookup(run))]
        return Runs(ordered(found, order, _lookup, _field))

    def _sweeps_of(self, project: str, entity: str) -> Sweeps:
        """Return the sweeps of a project, newest first. Raises NotFound."""
        sweeps = self.sweeps()
        found = Sweeps(
            each for each in sweeps if each.project == project and (not entity or each.entity in ("", entity))
        )
        if not found:
            known = ", ".join(sorted({"/".join(each.path[:2]).strip("/") for each in sweeps if each.project}))
            raise NotFound(f"{project}: no sweep has this project; the projects: {known or 'none'}")
        return found

    def flush(self) -> None:
        """Do nothing, because each call reads the store. W&B's API has a cache, which its method clears."""

    def run(self, path: str) -> ApiRun:
        """Return a run.

        Args:
            path: "ID/N", "NAME/N" with the name of a sweep, or "entity/project/ID-N".

        Raises:
            NotFound: If there is no such run.
        """
        sweep_id, number = parse_trial(full_label(path))
        with Workspace().store() as store:
            return ApiRun(find_trial(store, sweep_id, number), store.get_sweep(sweep_id))

    def diff(self, a: str, b: str) -> dict[str, Any]:
        """Compare two runs or two sweeps, as `smsweep diff --json`.

        Args:
            a: A run ("ID/N") or a sweep ("ID"); a name of a sweep works as its id.
            b: The other run or sweep.

        Raises:
            NotFound: If there is no such run or sweep.
            UsageError: If one is a run and the other a sweep.
        """
        from smsweep.services.views.diff import diff  # slow to import

        return dict(diff(full_label(a), full_label(b)))


FIELDS: Mapping[str, Callable[[ApiRun], Any]] = {  # of filters and orders
    "createdAt": lambda run: run.trial.created_at,
    "displayName": lambda run: run.name,
    "duration": lambda run: duration_s(run.trial),
    "group": lambda run: run.group,
    "name": lambda run: run.id,
    "state": lambda run: run.state,
    "sweep": lambda run: run.sweep_name,
}
CONFIG, SUMMARY = "config", "summary_metrics"


@functools.cache
def _field(name: str) -> Callable[[ApiRun], Any]:
    """Return the function that reads a field of a run. Raises UsageError for a field that runs do not have."""
    section, _, key = name.partition(".")
    if section == CONFIG and key:
        return lambda run: _config_value(run.config, key.split("."))
    if section == SUMMARY and key:
        return lambda run: run.summary.get(key, MISSING)
    head, *words = name.split("_")
    read = FIELDS.get(head + "".join(map(str.capitalize, words)))
    if read is None:
        known = ", ".join([*FIELDS, f"{CONFIG}.NAME", f"{SUMMARY}.NAME"])
        raise UsageError(f"{name!r} is not a field of smsweep's runs; use one of {known}")
    return read


def _lookup(run: ApiRun) -> Lookup:
    return lambda name: _field(name)(run)


def _config_value(config: object, names: Sequence[str]) -> Any:
    """Return a value of a config. W&B's server has `value` after the first name: `config.lr.value`."""
    if not names:
        return config
    if not isinstance(config, Mapping):
        return config if names == ["value"] else MISSING
    if names[0] in config:
        return _config_value(config[names[0]], names[1:])
    return _config_value(config, names[1:]) if names[0] == "value" else MISSING


def _foldable(html: str, name: str, *, hidden: bool) -> str:
    return f"<details><summary>{name}</summary>{html}</details>" if hidden else html


def rows(points: Iterable[MetricPoint]) -> Iterator[Row]:
    """Group points into the rows that the script logged.

    Consecutive points of the same step are a row. Points without a step are a row until a name repeats.
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
        if point.name != "_step":  # as in W&B, a metric with this name does not change the step
            row[point.name] = point.value
    if row:
        yield row


def _names(keys: Iterable[str] | None) -> list[str]:
    """Return keys as a list. Raises UsageError for a string, which would be a list of letters."""
    if isinstance(keys, str):
        raise UsageError(f"keys: expected a list of names, got {keys!r}; write [{keys!r}]")
    return list(keys or ())


def _data_frame(every: list[Row]) -> Any:
    try:
        pandas = import_module("pandas")  # not a dependency, and slow to import
    except ImportError:
        return every
    return pandas.DataFrame(every)
