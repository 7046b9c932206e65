"""Keys of `search` in job.yaml that must fit the parameters of sweep.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from smsweep.core.job import JobTemplate
from smsweep.errors import ConfigError
from smsweep.services.sweeps.load import read
from smsweep.space.belief import Belief

SWEEP = """\
method: {method}
metric: {{name: loss}}
program: train.py
parameters:
  lr: {{distribution: log_uniform_values, min: 0.0001, max: 1}}
  layers: {{min: 1, max: 8}}
  optimizer: {{values: [adam, sgd]}}
  seed: {{value: 3}}
"""


def template(folder: Path, job: str, method: str = "random") -> JobTemplate:
    (folder / "sweep.yaml").write_text(SWEEP.format(method=method))
    (folder / "job.yaml").write_text(job)
    return read(folder / "sweep.yaml", folder / "job.yaml")[1].template


def test_beliefs_are_read(tmp_path: Path) -> None:
    text = "search:\n  beliefs: {lr: {around: 1e-3, confidence: 0.8}, optimizer: {around: sgd, confidence: 0.5}}\n"
    assert template(tmp_path, text).search.beliefs == {
        "lr": Belief(around=1e-3, confidence=0.8),
        "optimizer": Belief(around="sgd", confidence=0.5),
    }


@pytest.mark.parametrize(
    ("belief", "message"),
    [
        ("lrr: {around: 0.1, confidence: 0.8}",
         "job.yaml:3: search.beliefs.lrr: not a parameter of sweep.yaml; did you mean lr?"),
        ("lr: {around: 3, confidence: 0.8}",
         "job.yaml:3: search.beliefs.lr.around: 3 is not a value of lr; give a value that it can have"),
        ("layers: {around: 2.5, confidence: 0.8}",
         "job.yaml:3: search.beliefs.layers.around: 2.5 is not a value of layers; give"),
        ("optimizer: {around: lion, confidence: 0.8}",
         "job.yaml:3: search.beliefs.optimizer.around: 'lion' is not a value of optimizer; give"),
        ("seed: {around: 3, confidence: 0.8}",
         "job.yaml:3: search.beliefs.seed: the search does not vary this parameter; remove the belief"),
        ("lr: {around: 0.1, confidence: 1}",
         "job.yaml:3: search.beliefs.lr.confidence: expected a probability above 0 and below 1, such as 0.8"),
        ("lr: {around: 0.1}", "job.yaml:3: search.beliefs.lr.confidence: missing; the probability that"),
        ("lr: 0.1", "job.yaml:3: search.beliefs.lr: expected a mapping, got 0.1"),
    ],
)  # fmt: skip
def test_belief_that_does_not_fit_is_an_error_with_its_line(tmp_path: Path, belief: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        template(tmp_path, f"search:\n  beliefs:\n    {belief}\n")
    assert message in str(caught.value)


def test_start_points_are_read(tmp_path: Path) -> None:
    text = "search:\n  start_points: [{lr: 0.1, layers: 4}, {optimizer: sgd}]\n"
    points = template(tmp_path, text).search.start_points
    assert points == ({"lr": 0.1, "layers": 4}, {"optimizer": "sgd"})


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ("{lrr: 0.1}", "job.yaml:4: search.start_points[1].lrr: not a parameter of sweep.yaml; did you mean lr?"),
        (
            "{lr: 3}",
            "job.yaml:4: search.start_points[1].lr: 3 is not a value of lr; give a value that it can have",
        ),
        ("{optimizer: {name: sgd}}", "job.yaml:4: search.start_points[1].optimizer: a mapping is not a value of"),
        ("{seed: 4}", "job.yaml:4: search.start_points[1].seed: 4 is not a value of seed; give"),
        ("{}", "job.yaml:4: search.start_points[1]: no values; give the value of at least one parameter"),
        ("8", "job.yaml:4: search.start_points[1]: expected a mapping, got 8"),
    ],
)
def test_start_point_outside_the_space_is_an_error_with_its_line(tmp_path: Path, point: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        template(tmp_path, f"search:\n  start_points:\n  - {{lr: 0.1, seed: 3}}\n  - {point}\n")
    assert message in str(caught.value)
