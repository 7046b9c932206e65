"""What a trial reported, compared with what its repetition did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from smsweep.exports.contents import curve
from smsweep.trials import MetricPoint, Scalar, is_number

EQUAL, CLOSE, DIFFERENT, MISSING = "equal", "within tolerance", "different", "missing"
ORDER = (EQUAL, CLOSE, MISSING, DIFFERENT)  # the worst last

Data = dict[str, Any]
Points = Sequence[MetricPoint]


def compare(
    before: tuple[Mapping[str, Scalar], Points],
    after: tuple[Mapping[str, Scalar], Points],
    tolerance: float,
    *,
    may_be_cut: bool,
) -> list[Data]:
    """Return for each metric that either reported its last values `a` and `b` and a `verdict`.

    before, after: last values by name, and all points. Where both reported a metric step by step, all steps that
    both have are compared; `steps` is their number, `largest` the largest relative difference. may_be_cut: one of
    them was ended from outside; they are compared up to there, `a` and `b` are then the values at the last common
    step. Otherwise other steps are a difference. tolerance: relative to the larger of two values.
    """
    return [
        _compare(name, (before[0].get(name), before[1]), (after[0].get(name), after[1]), tolerance, may_be_cut)
        for name in dict.fromkeys([*before[0], *after[0]])
    ]


def worst(verdicts: Sequence[str]) -> str:
    """Return the worst of the verdicts; equal where there is none."""
    return max(verdicts, key=ORDER.index, default=EQUAL)


def _compare(
    name: str, a: tuple[Scalar, Points], b: tuple[Scalar, Points], tolerance: float, may_be_cut: bool
) -> Data:
    curves = curve(a[1], name), curve(b[1], name)
    steps = [step for step in curves[0] if step in curves[1]]
    values = [(curves[0][step], curves[1][step]) for step in steps]
    is_whole = len(steps) == len(curves[0]) == len(curves[1])
    last = values[-1] if may_be_cut and steps and not is_whole else (a[0], b[0])
    differences = [_difference(x, y) for x, y in (*values, last)]
    known = [difference for difference in differences if difference is not None]
    found: Data = {"name": name, "a": last[0], "b": last[1], "steps": len(steps)}
    if None in last and last[0] is not last[1]:
        verdict = MISSING
    elif len(known) < len(differences) or not (is_whole or may_be_cut):
        verdict = DIFFERENT
    else:
        found["largest"] = max(known)
        verdict = EQUAL if max(known) == 0 else CLOSE if max(known) <= tolerance else DIFFERENT
    return found | {"verdict": verdict}


def _difference(a: Scalar, b: Scalar) -> float | None:
    """Return how far two values are apart, relative to the larger; None where that cannot be said."""
    if a == b or (a != a and b != b):
        return 0.0
    if not is_number(a) or not is_number(b):
        return None
    x, y = float(a or 0), float(b or 0)
    return abs(x - y) / max(abs(x), abs(y))
