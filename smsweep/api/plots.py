"""The figures and the report of a sweep as objects for notebooks."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from smsweep.services.report import figure, plotly_figure, report, write

HEIGHT_PX = 800  # height of a report in a notebook


class Plots:
    """The figures of a sweep. Each method reads the sweep and returns a Plotly figure (extra `report`)."""

    def __init__(self, sweep_id: str) -> None:
        self._sweep_id = sweep_id

    def history(self) -> Any:
        """Return the objective of each trial, in the order of proposal, and the best so far."""
        return self._drawn("history")

    def front(self) -> Any:
        """Return several metrics against each other, with the Pareto front."""
        return self._drawn("front")

    def parallel_coordinates(self) -> Any:
        """Return each trial as a line through its params and its objective."""
        return self._drawn("parallel_coordinates")

    def importance(self) -> Any:
        """Return how much each param affects whether a trial is among the best."""
        return self._drawn("importance")

    def slices(self) -> Any:
        """Return the objective over each single param."""
        return self._drawn("slices")

    def contours(self) -> Any:
        """Return the objective over two params."""
        return self._drawn("contours")

    def curves(self) -> Any:
        """Return the metric of each trial over its steps."""
        return self._drawn("curves")

    def timeline(self) -> Any:
        """Return when each trial ran, with a row for each worker."""
        return self._drawn("timeline")

    def cost(self) -> Any:
        """Return the best so far over the cost."""
        return self._drawn("cost")

    def _drawn(self, name: str) -> Any:
        return plotly_figure(figure(self._sweep_id, name))

    def __repr__(self) -> str:
        names = ", ".join(name for name in dir(self) if not name.startswith("_"))
        return f"<Plots of {self._sweep_id}: {names}>"


class Report:
    """The report of a sweep at creation time. A notebook shows the report in a frame.

    Attributes:
        sweep_id: Id of the sweep.
        html: The report as an HTML page.
    """

    def __init__(self, sweep_id: str) -> None:
        """Make the report. Raises UsageError without the extra `report`."""
        self.sweep_id = sweep_id
        self.html = report(sweep_id)

    def save(self, path: str | Path) -> Path:
        """Write the report to a file that needs no network, and return its path.

        Raises:
            UsageError: If the file cannot be written.
        """
        write(self.html, Path(path))
        return Path(path)

    def _repr_html_(self) -> str:
        # The sandbox gives the scripts their own origin, so that they cannot access the notebook.
        style = f"width:100%;height:{HEIGHT_PX}px;border:1px solid rgba(128,128,128,.4)"
        title = escape(f"report of {self.sweep_id}")
        html = escape(self.html)
        return f'<iframe sandbox="allow-scripts" title="{title}" style="{style}" srcdoc="{html}"></iframe>'

    def __repr__(self) -> str:
        return f"<Report of {self.sweep_id}, {len(self.html) / 1e6:.1f} MB; .save(path) writes it>"
