"""Hypothesis strategies for distributions with arguments of all sizes."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from smsweep.space.distributions import (
    DISTRIBUTIONS,
    Beta,
    Categorical,
    CategoricalWithProbabilities,
    Constant,
    Distribution,
    IntUniform,
    InvLogUniform,
    InvLogUniformValues,
    LogNormal,
    LogUniform,
    LogUniformValues,
    Normal,
    QBeta,
    QLogNormal,
    QLogUniform,
    QLogUniformValues,
    QNormal,
    QUniform,
    Uniform,
)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=3,
)
unit = st.floats(min_value=0.0, max_value=1.0)
steps = st.integers(min_value=1, max_value=50) | st.floats(min_value=0.01, max_value=50.0)


def _between(low: float, high: float) -> st.SearchStrategy[dict[str, float]]:
    start = st.integers(int(low), int(high)) | st.floats(low, high)
    width = st.integers(1, 100) | st.floats(0.001, abs(high))
    return st.builds(lambda a, w: {"min": a, "max": a + w}, start, width)


def _positive() -> st.SearchStrategy[dict[str, float]]:
    return st.builds(
        lambda low, factor: {"min": low, "max": low * factor}, st.floats(1e-6, 1e4), st.floats(1.001, 1e6)
    )


def _ints() -> st.SearchStrategy[IntUniform]:
    whole = st.integers(-(10**9), 10**9)
    return st.builds(lambda a, n: IntUniform(min=a, max=a + n), whole, st.integers(1, 10**9))


def _chances() -> st.SearchStrategy[CategoricalWithProbabilities]:
    def build(weighted: list[tuple[object, float]]) -> CategoricalWithProbabilities:
        total = sum(weight for _, weight in weighted)
        return CategoricalWithProbabilities(
            values=tuple(value for value, _ in weighted),
            probabilities=tuple(weight / total for _, weight in weighted),
        )

    return st.builds(build, st.lists(st.tuples(values, st.floats(0.01, 1.0)), min_size=1, max_size=6))


centres = {"mu": st.floats(-20, 20), "sigma": st.floats(0.01, 5)}
shapes = {"a": st.floats(0.2, 200), "b": st.floats(0.2, 200)}


Arguments = st.SearchStrategy[dict[str, float]]


def _made(cls: Callable[..., Distribution], arguments: Arguments) -> st.SearchStrategy[Distribution]:
    return arguments.map(lambda given: cls(**given))


def _rounded(cls: Callable[..., Distribution], arguments: Arguments) -> st.SearchStrategy[Distribution]:
    return st.builds(lambda given, q: cls(**given, q=q), arguments, steps)


LAWS: dict[str, st.SearchStrategy[Distribution]] = {
    "constant": st.builds(Constant, value=values),
    "categorical": st.builds(Categorical, values=st.lists(values, min_size=1, max_size=8).map(tuple)),
    "categorical_w_probabilities": _chances(),
    "int_uniform": _ints(),
    "uniform": _made(Uniform, _between(-1000, 1000)),
    "q_uniform": _rounded(QUniform, _between(-1000, 1000)),
    "log_uniform": _made(LogUniform, _between(-20, 20)),
    "log_uniform_values": _made(LogUniformValues, _positive()),
    "q_log_uniform": _rounded(QLogUniform, _between(-5, 10)),
    "q_log_uniform_values": _rounded(QLogUniformValues, _positive()),
    "inv_log_uniform": _made(InvLogUniform, _between(-20, 20)),
    "inv_log_uniform_values": _made(InvLogUniformValues, _positive()),
    "normal": st.builds(Normal, **centres),
    "q_normal": st.builds(QNormal, q=steps, **centres),
    "log_normal": st.builds(LogNormal, **centres),
    "q_log_normal": st.builds(QLogNormal, q=steps, **centres),
    "beta": st.builds(Beta, **shapes),
    "q_beta": st.builds(QBeta, q=steps, **shapes),
}

assert LAWS.keys() == DISTRIBUTIONS.keys()

any_law = st.one_of(*LAWS.values())
FINITE = (
    "constant",
    "categorical",
    "categorical_w_probabilities",
    "int_uniform",
    "q_uniform",
    "q_log_uniform_values",
)
finite_laws = st.one_of(*(LAWS[kind] for kind in (*FINITE, "q_log_uniform", "q_beta"))).filter(
    lambda law: law.size is not None  # a wide q_log_uniform is not finite
)
grid_laws = st.one_of(*(LAWS[kind] for kind in ("constant", "categorical", "int_uniform", "q_uniform")))
