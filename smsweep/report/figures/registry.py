"""All figures by name, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from smsweep.report.figures.common import Figure
from smsweep.report.figures.curves import curves, front, history
from smsweep.report.figures.params import contours, importance, parallel, slices
from smsweep.report.figures.timeline import cost, timeline
from smsweep.report.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class FigureKind:
    """A figure on the page."""

    title: str
    about: str  # one sentence, also for readers who cannot see the figure
    make: Callable[[Snapshot], Figure]


FIGURES: Mapping[str, FigureKind] = {
    "history": FigureKind(
        title="Optimization history",
        about="The objective of each trial in order of proposal, and the best so far.",
        make=history,
    ),
    "front": FigureKind(
        title="Pareto front",
        about="The last values of the metrics. No trial is better than those on the front in all metrics.",
        make=front,
    ),
    "parallel_coordinates": FigureKind(
        title="Parallel coordinates",
        about="Each line is a trial: the best are blue, the worst orange. Drag along an axis to select trials; "
        "the table below shows the selected trials.",
        make=parallel,
    ),
    "importance": FigureKind(
        title="Parameter importance",
        about="How strongly each param determines whether a trial is among the best.",
        make=importance,
    ),
    "slices": FigureKind(
        title="Slices",
        about="The objective over each param. Early trials are grey, late trials blue.",
        make=slices,
    ),
    "contours": FigureKind(
        title="Contours",
        about="The objective over two params. Between trials it is a weighted mean of nearby trials.",
        make=contours,
    ),
    "curves": FigureKind(
        title="Learning curves",
        about="The reported values of the metric. The ten best trials are named; long curves keep their peaks.",
        make=curves,
    ),
    "timeline": FigureKind(
        title="Timeline",
        about="When the last attempt of each trial ran. Each row is one worker of a machine.",
        make=timeline,
    ),
    "cost": FigureKind(
        title="Cost to best", about="The cost up to each improvement of the best objective.", make=cost
    ),
}
