"""`conditions` and `constraints` of job.yaml: how they are read, and their errors with lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from smsweep.config_files.job_yaml import parse_job, parse_stored_job
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.job import JobTemplate
from smsweep.core.trial import History
from smsweep.errors import ConfigError
from smsweep.search.registry import expected_trial_count, make_strategy
from smsweep.services.sweeps.load import read
from smsweep.space.structure import Allowed, Condition

SWEEP = {
    "method": "grid",
    "metric": {"name": "loss"},
    "parameters": {
        "optimizer": {"values": ["sgd", "adam", "rmsprop"]},
        "momentum": {"values": [0.0, 0.9]},
        "nesterov": {"values": [True, False]},
        "layers": {"min": 1, "max": 4},
        "width": {"values": [256, 1024, 2048]},
        "warmup": {"parameters": {"epochs": {"values": [1, 2]}, "kind": {"value": "linear"}}},
    },
}
JOB = """
search:
  conditions:
    momentum: {when: {optimizer: [sgd, rmsprop]}}
    nesterov: {when: {momentum: {min: 0.5}, optimizer: sgd}}
    warmup: {when: {layers: 4}}
  constraints:
    - layers * width <= 4096
    - not (optimizer == 'adam' and layers > 3)
"""

CONDITION = {"momentum": {"when": {"optimizer": "sgd"}}}


def errors(job: str, folder: Path, **changes: object) -> list[str]:
    path = folder / "job.yaml"
    path.write_text(job)
    with pytest.raises(ConfigError) as caught:
        read({**SWEEP, **changes}, path)
    return [problem.replace(f"{path}:", "job.yaml:") for problem in caught.value.problems]


def test_conditions_and_constraints_are_read() -> None:
    search = parse_job(JOB).template.search
    assert search.conditions == (
        Condition(parameter="momentum", when={"optimizer": Allowed(values=("sgd", "rmsprop"))}),
        Condition(
            parameter="nesterov", when={"momentum": Allowed(min=0.5), "optimizer": Allowed(values=("sgd",))}
        ),
        Condition(parameter="warmup", when={"layers": Allowed(values=(4,))}),
    )
    assert search.constraints == ("layers * width <= 4096", "not (optimizer == 'adam' and layers > 3)")
    assert [str(condition) for condition in search.conditions] == [
        "momentum if optimizer is sgd or rmsprop",
        "nesterov if momentum is at least 0.5 and optimizer is sgd",
        "warmup if layers is 4",
    ]


def test_stored_text_reads_as_the_same_template() -> None:
    parsed = parse_job(JOB)
    assert parse_stored_job(parsed.text).search == parsed.template.search


def test_one_constraint_can_be_a_text() -> None:
    assert parse_job({"search": {"constraints": "a < 3"}}).template.search.constraints == ("a < 3",)


def test_expected_count_has_valid_cells_once() -> None:
    parsed, job = read(SWEEP, {"search": parse_job(JOB).template.document["search"]})
    # layers and width: 10 pairs with at most 4096, of which 2 have 4 layers and 2 warm-ups each
    pairs, deep = 10, 2
    sgd, rmsprop = 1 + 2, 2  # momentum 0, or 0.9 with both values of nesterov; momentum 0 or 0.9
    expected = (pairs - deep + 2 * deep) * (sgd + rmsprop) + (pairs - deep)
    assert expected_trial_count(parsed.config, job.template) == expected
    unstructured = {**SWEEP, "run_cap": 10**6}
    assert expected_trial_count(read(unstructured, None)[0].config, JobTemplate()) == 3 * 2 * 2 * 4 * 3 * 2


def test_problems_have_file_and_line(tmp_path: Path) -> None:
    job = """search:
  conditions:
    momentum: {when: {optimiser: sgd}}
    nesterow: {when: {momentum: 0.9}}
    nesterov:
      when:
        optimizer: sdg
        layers: {min: 5}
  constraints:
    - layers * widht <= 4096
    - optimizer < 3
"""
    assert errors(job, tmp_path) == [
        "job.yaml:3: search.conditions.momentum.when.optimiser: is not a parameter; did you mean optimizer?",
        "job.yaml:4: search.conditions.nesterow: is not a parameter; did you mean nesterov?",
        "job.yaml:7: search.conditions.nesterov.when.optimizer: optimizer cannot be 'sdg'; did you mean sgd?",
        "job.yaml:8: search.conditions.nesterov.when.layers: layers has no value in this range; "
        "change min and max",
        "job.yaml:10: search.constraints[0]: 'layers * widht <= 4096': widht is not a parameter; "
        "did you mean width?",
        "job.yaml:11: search.constraints[1]: 'optimizer < 3': optimizer is not a number; compare it with == or in",
    ]


def test_cycle_of_conditions_is_an_error(tmp_path: Path) -> None:
    job = """search:
  conditions:
    momentum: {when: {optimizer: sgd}}
    optimizer: {when: {nesterov: true}}
    nesterov: {when: {momentum: 0.9}}
"""
    assert errors(job, tmp_path) == [
        "job.yaml:3: search.conditions.momentum: depends on itself "
        "(momentum -> optimizer -> nesterov -> momentum); remove one of the conditions"
    ]


@pytest.mark.parametrize("method", ["grid", "random", "bayes"])
def test_constraint_that_no_params_meet_is_an_error(tmp_path: Path, method: str) -> None:
    job = "search:\n  constraints:\n    - layers <= 4\n    - layers * width > 1e6\n"
    assert errors(job, tmp_path, method=method) == [
        "job.yaml:4: search.constraints[1]: 'layers * width > 1e6': no params meet the constraints; "
        "relax one of them, or widen the parameters"
    ]


def test_constraints_that_exclude_each_other_are_an_error(tmp_path: Path) -> None:
    job = "search:\n  constraints: [layers <= 2, layers * width > 4096]\n"
    assert errors(job, tmp_path, method="random") == [
        "job.yaml:2: search.constraints: no params meet the constraints; "
        "relax one of them, or widen the parameters"
    ]


def test_grid_with_too_many_combinations_is_an_error(tmp_path: Path) -> None:
    job = "search:\n  constraints: [a < b]\n"
    parameters = {"a": {"min": 1, "max": 10_000}, "b": {"min": 1, "max": 10_000}}
    (problem,) = errors(job, tmp_path, parameters=parameters)
    assert "too many combinations of the constrained parameters to check; list fewer values" in problem


@pytest.mark.parametrize(
    ("search", "problem"),
    [
        ("{conditions: {momentum: {when: {}}}}", "momentum.when: expected at least 1 item, got 0"),
        ("{conditions: {momentum: {}}}", "momentum.when: missing; name other parameters"),
        ("{conditions: {momentum: sgd}}", "momentum: expected a mapping, got 'sgd'"),
        ("{conditions: {momentum: {when: {optimizer: }}}}", "for null write [null], got nothing"),
        ("{conditions: {momentum: {when: {layers: {min: 3, max: 1}}}}}", "a range whose min is at most its max"),
        ("{conditions: {momentum: {when: {layers: {above: 3}}}}}", "with the keys min, max or both"),
        ("{constraints: [3]}", "expected text, got 3"),
        ("{constraints: [layers <]}", "is not a valid expression"),
        ("{constraints: layers <}", "is not a valid expression"),
    ],
)
def test_wrong_section_is_explained(search: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_job(f"search: {search}")
    assert problem in str(caught.value)


@pytest.mark.parametrize("search", [{"constraints": ["layers < 3"]}, {"conditions": CONDITION}])
def test_method_without_support_is_refused(search: dict[str, object]) -> None:
    scheduler = {"engine": "optuna", "optimizer": "TPESampler"}
    config = parse_sweep({**SWEEP, "method": "custom", "scheduler": scheduler}).config
    (rule,) = search
    with pytest.raises(ConfigError, match=f"search.{rule}: the search method optuna does not support {rule}"):
        make_strategy(config, 0, parse_job({"search": search}).template)


def test_start_point_that_breaks_a_rule_is_an_error(tmp_path: Path) -> None:
    job = f"{JOB}  start_points:\n    - {{momentum: 0.9}}\n    - {{layers: 4, width: 2048}}\n"
    job += "    - {momentum: 0.9, optimizer: adam}\n"
    problem, first = "no params with these values meet", "momentum if optimizer is sgd or rmsprop"
    assert errors(job, tmp_path) == [
        f"job.yaml:12: search.start_points[1]: {problem} 'layers * width <= 4096'; change the values",
        f"job.yaml:13: search.start_points[2]: {problem} {first}; change the values",
    ]


@pytest.mark.parametrize("method", ["grid", "random", "bayes"])
def test_start_point_is_completed_within_the_rules(method: str) -> None:
    search = {**parse_job(JOB).template.document["search"], "start_points": [{"nesterov": True, "layers": 4}]}
    parsed, job = read({**SWEEP, "method": method}, {"search": search})
    (params,) = make_strategy(parsed.config, 0, job.template).suggest(History(), 1)
    assert (params["nesterov"], params["layers"], params["momentum"], params["optimizer"]) == (True, 4, 0.9, "sgd")
    assert params["width"] <= 1024
    assert params["warmup"]["kind"] == "linear"
