"""All distributions, by W&B's names."""

from __future__ import annotations

from collections.abc import Mapping

from smsweep.space.choices import Categorical, CategoricalWithProbabilities, Constant
from smsweep.space.distribution import Distribution
from smsweep.space.normal import (
    Beta,
    LogNormal,
    Normal,
    QBeta,
    QLogNormal,
    QLogUniform,
    QLogUniformValues,
    QNormal,
    QUniform,
)
from smsweep.space.numeric import (
    IntUniform,
    InvLogUniform,
    InvLogUniformValues,
    LogUniform,
    LogUniformValues,
    Uniform,
)

__all__ = [
    "DISTRIBUTIONS",
    "Beta",
    "Categorical",
    "CategoricalWithProbabilities",
    "Constant",
    "Distribution",
    "IntUniform",
    "InvLogUniform",
    "InvLogUniformValues",
    "LogNormal",
    "LogUniform",
    "LogUniformValues",
    "Normal",
    "QBeta",
    "QLogNormal",
    "QLogUniform",
    "QLogUniformValues",
    "QNormal",
    "QUniform",
    "Uniform",
]

DISTRIBUTIONS: Mapping[str, type[Distribution]] = {
    cls.kind: cls
    for cls in (
        Constant,
        Categorical,
        CategoricalWithProbabilities,
        IntUniform,
        Uniform,
        QUniform,
        LogUniform,
        LogUniformValues,
        QLogUniform,
        QLogUniformValues,
        InvLogUniform,
        InvLogUniformValues,
        Normal,
        QNormal,
        LogNormal,
        QLogNormal,
        Beta,
        QBeta,
    )
}
