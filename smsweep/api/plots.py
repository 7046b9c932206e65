"""A sweep's figures and its report as objects, for notebooks."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from smsweep.services.report import drawn, figure, report, write

HEIGHT_PX = 800  # of a report


class Plots:
    """The figures of the report, each as a Plotly figure of the sweep as it is now. Needs the extra `report`."""

    def __init__(self, sweep_id: str) -> None:
        self._sweep_id = sweep_id

    def history(self) -> Any:
        """The objective of each trial in the order proposed, and the best so far."""
        return self._drawn("history")

    def front(self) -> Any:
        """Several metrics against each other, and the trials that no other beats."""
        return self._drawn("front")

    def parallel_coordinates(self) -> Any:
        """Each trial as a line through its params and its objective."""
        return self._drawn("parallel_coordinates")

    def importance(self) -> Any:
        """How much each param decides whether a trial is among the best."""
        return self._drawn("importance")

    def slices(self) -> Any:
        """The objective over each param alone."""
        return self._drawn("slices")

    def contours(self) -> Any:
        """The objective over two params."""
        return self._drawn("contours")

    def curves(self) -> Any:
        """The metric as trials reported it."""
        return self._drawn("curves")

    def timeline(self) -> Any:
        """When each trial ran, a row for each worker."""
        return self._drawn("timeline")

    def cost(self) -> Any:
        """What had been spent when the best so far was found."""
        return self._drawn("cost")

    def _drawn(self, name: str) -> Any:
        return drawn(figure(self._sweep_id, name))

    def __repr__(self) -> str:
        names = ", ".join(name for name in dir(self) if not name.startswith("_"))
        return f"<Plots of {self._sweep_id}: {names}>"


class Report:
    """A sweep's report, as it was when it was made. A notebook shows it in a frame of its own."""

    def __init__(self, sweep_id: str) -> None:
        """Raises UsageError without the extra `report`."""
        self.sweep_id = sweep_id
        self.html = report(sweep_id)

    def save(self, path: str | Path) -> Path:
        """Write it as one file that opens without a network, and return its path."""
        write(self.html, Path(path))
        return Path(path)

    def _repr_html_(self) -> str:
        # The frame's scripts get an origin of their own: they see nothing of the notebook.
        style = f"width:100%;height:{HEIGHT_PX}px;border:1px solid rgba(128,128,128,.4)"
        title = escape(f"report of {self.sweep_id}")
        html = escape(self.html)
        return f'<iframe sandbox="allow-scripts" title="{title}" style="{style}" srcdoc="{html}"></iframe>'

    def __repr__(self) -> str:
        return f"<Report of {self.sweep_id}, {len(self.html) / 1e6:.1f} MB; .save(path) writes it>"
