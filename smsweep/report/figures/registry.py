"""All figures by name, in the order in which a page shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from smsweep.report.figures.common import Figure
from smsweep.report.figures.contours import contours
from smsweep.report.figures.cost import cost
from smsweep.report.figures.curves import curves
from smsweep.report.figures.front import front
from smsweep.report.figures.history import history
from smsweep.report.figures.importance import importance
from smsweep.report.figures.parallel import parallel
from smsweep.report.figures.slices import slices
from smsweep.report.figures.timeline import timeline
from smsweep.report.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    title: str
    about: str  # one sentence, also for those who cannot see the figure
    make: Callable[[Snapshot], Figure]


FIGURES: Mapping[str, Kind] = {
    "history": Kind(
        title="Optimisation history",
        about="The objective of each trial in the order proposed, and the best so far.",
        make=history,
    ),
    "front": Kind(
        title="Pareto front",
        about="The last values of the metrics against each other; no trial beats those of the front.",
        make=front,
    ),
    "parallel_coordinates": Kind(
        title="Parallel coordinates",
        about="Each line is a trial, the best ones blue, the worst orange. Drag along an axis to choose trials: "
        "the table below follows.",
        make=parallel,
    ),
    "importance": Kind(
        title="Parameter importance",
        about="How much each param decides whether a trial is among the best.",
        make=importance,
    ),
    "slices": Kind(
        title="Slices", about="The objective over each param alone; the later a trial, the bluer.", make=slices
    ),
    "contours": Kind(
        title="Contours",
        about="The objective over two params; between trials it is a mean of those near by.",
        make=contours,
    ),
    "curves": Kind(
        title="Learning curves",
        about="The metric as trials reported it, the ten best by name; long curves keep their peaks.",
        make=curves,
    ),
    "timeline": Kind(
        title="Timeline", about="When each trial ran, one row for each worker of a place.", make=timeline
    ),
    "cost": Kind(title="Cost to best", about="What had been spent when the best so far was found.", make=cost),
}
