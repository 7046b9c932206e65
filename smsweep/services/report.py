"""Make the report and the figures of a sweep. Secrets are masked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from smsweep.errors import UsageError
from smsweep.report.figures.common import Figure
from smsweep.report.figures.registry import FIGURES
from smsweep.report.page import page
from smsweep.report.snapshot import Snapshot
from smsweep.services.labels import parse_sweep_id
from smsweep.services.views.json_views import table
from smsweep.services.views.live_store import LiveSweep
from smsweep.services.workspace import Workspace
from smsweep.source.written_files import record_written


def report(sweep_id: str) -> str:
    """Return the report of a sweep as one HTML page that needs no network.

    Raises:
        NotFound: If there is no such sweep.
        UsageError: If Plotly is not installed.
    """
    plotly_js = plotly_source()
    seen = gather(sweep_id)
    columns, rows = table(seen.trials)
    return page(seen, columns, rows, plotly_js)


def figure(sweep_id: str, name: str) -> Figure:
    """Return a figure as Plotly's JSON. Raises NotFound, or UsageError for an unknown name."""
    if name not in FIGURES:
        raise UsageError(f"no figure {name!r}; use one of {', '.join(FIGURES)}")
    return FIGURES[name].make(gather(sweep_id))


def gather(sweep_id: str) -> Snapshot:
    """Read the data of figures and reports. Secrets are replaced by `***`."""
    workspace = Workspace()
    live = LiveSweep(parse_sweep_id(sweep_id), workspace)
    with workspace.store() as store:
        live.read(store)
    return live.snapshot()


def plotly_source() -> str:
    """Return the JavaScript of Plotly. Raises UsageError if Plotly is not installed."""
    try:
        from plotly.offline import get_plotlyjs  # an extra, and slow to import
    except ImportError as err:
        raise _without_plotly(err) from err
    return str(get_plotlyjs())


def plotly_figure(figure: Figure) -> Any:
    """Return a figure as a Plotly object for notebooks. Raises UsageError if Plotly is not installed."""
    try:
        from plotly.graph_objects import Figure as PlotlyFigure  # an extra, and slow to import
    except ImportError as err:
        raise _without_plotly(err) from err
    return PlotlyFigure(figure)


def write(text: str, path: Path) -> None:
    """Write a page to a file. Raises UsageError if the file cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as err:
        raise UsageError(f"{path}: cannot be written: {err.strerror}; name another file with -o") from err
    record_written(Workspace().dir, [path])


def _without_plotly(err: ImportError) -> UsageError:
    return UsageError(f"Plotly is not available ({err}); pip install 'smsweep[report]'")
