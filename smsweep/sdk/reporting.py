"""Gather what a report or a figure shows of a sweep, without secrets, and write the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from smsweep.errors import UsageError
from smsweep.fronts import front as find_front
from smsweep.report.axes import axes_of
from smsweep.report.figures.parts import Figure
from smsweep.report.figures.table import FIGURES
from smsweep.report.page import page
from smsweep.report.snapshot import Snapshot
from smsweep.sdk.execute import load_job_text, now
from smsweep.sdk.labels import parse_sweep_id
from smsweep.sdk.origin import ORIGIN_NOTE
from smsweep.sdk.views import flat_params, json_safe, list_trials, show, table
from smsweep.sdk.workspace import Workspace
from smsweep.source.redaction import environment_secrets, redact
from smsweep.sweeps import Sweep
from smsweep.tables import LazyTable

# Plotly is an extra, and slow to load.
PLOTLY: LazyTable[Any] = LazyTable(
    {"javascript": "plotly.offline:get_plotlyjs", "Figure": "plotly.graph_objects:Figure"}
)


def report(sweep_id: str) -> str:
    """Return a sweep's report: one HTML page that needs no network. Raises NotFound, UsageError without Plotly."""
    plotly_js = plotly_source()
    seen = gather(sweep_id)
    columns, rows = table(seen.trials)
    return page(seen, columns, rows, plotly_js)


def figure(sweep_id: str, name: str) -> Figure:
    """Return one figure as Plotly's JSON. Raises UsageError for a name that none has."""
    if name not in FIGURES:
        raise UsageError(f"no figure {name!r}; there are {', '.join(FIGURES)}")
    return FIGURES[name].make(gather(sweep_id))


def gather(sweep_id: str) -> Snapshot:
    """Read a sweep as it is now. Where a secret would show, `***` stands."""
    workspace = Workspace()
    with workspace.store() as store:
        sweep = store.get_sweep(parse_sweep_id(sweep_id))
        origin = store.get_note(sweep.id, ORIGIN_NOTE) or {}
        names = [metric.name for metric in (sweep.config.metrics or (sweep.config.metric,)) if metric]
        curves = {
            name: {trial.number: trial.curve for trial in store.list_trials(sweep.id, curve_of=name)}
            for name in names[:1]  # the figures show the first alone
        }
        front = find_front(store.list_trials(sweep.id), sweep.config.metrics) if sweep.config.metrics else []
    clean = Cleaner(_secrets(sweep, workspace))
    trials = [clean(json_safe(trial)) for trial in list_trials(sweep.id)]
    return Snapshot(
        sweep=clean(json_safe(show(sweep.id))),
        trials=trials,
        axes=axes_of(sweep.config.space, [flat_params(trial["params"]) for trial in trials]),
        curves=curves,
        front=frozenset(trial.number for trial in front),
        config=clean(sweep.sweep_yaml),
        job=clean(sweep.job_yaml),
        origin=clean(origin),
        made_at=now(),
    )


class Cleaner:
    """Masks secrets in all texts of JSON data; each different text is looked at once."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = secrets
        self._known: dict[str, str] = {}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, str):
            if value not in self._known:
                self._known[value] = redact(value, self._secrets)
            return self._known[value]
        if isinstance(value, dict):
            return {self(key): self(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self(item) for item in value]
        return value


def plotly_source() -> str:
    """Return the plotting library that goes into pages. Raises UsageError where it is not installed."""
    return str(_plotly("javascript")())


def drawn(figure: Figure) -> Any:
    """Return a figure as Plotly's own object, which notebooks show. Raises UsageError without Plotly."""
    return _plotly("Figure")(figure)


def write(text: str, path: Path) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as err:
        raise UsageError(f"{path}: cannot be written: {err.strerror}; name another file with -o") from err


def _plotly(part: str) -> Any:
    try:
        return PLOTLY[part]
    except ImportError as err:
        raise UsageError(f"figures need Plotly ({err}); pip install 'smsweep[report]'") from err


def _secrets(sweep: Sweep, workspace: Workspace) -> tuple[str, ...]:
    job_environ = load_job_text(sweep.job_yaml).request.get("Environment", {})
    return environment_secrets({**workspace.environ, **job_environ})
