"""Where trainings that were cut short, or go on, would lead."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smsweep.forecasts import Forecaster
from smsweep.search.bayes.evidence import Evidence
from smsweep.space.likeness import Array


def expected_whole(hints: Sequence[Evidence], whole: Sequence[Evidence]) -> Array:
    """Return [2, n]: for each hint the objective to expect of the whole training, and its deviation.

    Forecast from the whole trainings, see `Forecaster`; so being cut short is not held against slow learners.
    Where there is nothing to go by, the value stands as it is, with an infinite deviation.
    """
    values = np.array([hint.value for hint in hints])
    expected = np.stack([values, np.full(len(hints), np.inf)])
    which = np.array([i for i, hint in enumerate(hints) if len(hint.curve)], dtype=int)
    if not len(which) or not whole:
        return expected
    forecaster = Forecaster(whole, hints[0].cube.is_nominal)
    mean, deviation = forecaster([hints[i] for i in which.tolist()])
    is_known = np.isfinite(deviation)
    which, mean, deviation = which[is_known], mean[is_known], deviation[is_known]
    now = forecaster.yardstick.mark(values[which])
    value = forecaster.yardstick.value
    expected[0, which] = value(np.minimum(mean, now))
    expected[1, which] = (
        value(np.minimum(mean + deviation, now)) - value(np.minimum(mean, now) - deviation)
    ) / 2.0
    return expected
