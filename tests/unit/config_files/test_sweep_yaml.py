"""Tests that a W&B sweep config becomes the equivalent SweepConfig."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsweep.config_files.sweep_yaml import parse_sweep, read_sweep
from smsweep.core.sweep import DEFAULT_COMMAND, EarlyTerminate, Goal, Metric, SweepConfig
from smsweep.errors import ConfigError
from smsweep.space.distributions import (
    Categorical,
    CategoricalWithProbabilities,
    Constant,
    Distribution,
    IntUniform,
    LogUniformValues,
    QUniform,
    Uniform,
)
from smsweep.space.space import SearchSpace
from tests.unit.config_files.example_sweeps import EXAMPLES, GRID_CELLS

WHOLE = """
program: train.py
method: bayes
name: first
description: tries things
project: p
entity: e
run_cap: 20.0
metric: {name: val.loss, goal: maximize, target: 3, impute: best, impute_while_running: latest}
early_terminate: {type: hyperband, max_iter: 27, s: 2.0, eta: 2, strict: false}
command: [python, 3, 1e-5, true, null, [a, 1]]
controller: {type: local, extra: 1}
kind: sweep
apiVersion: v1
parameters:
  lr: {min: 1e-5, max: 1e-1, distribution: log_uniform_values}
"""


def config(text: str) -> SweepConfig:
    return parse_sweep(text).config


def distribution(line: str) -> Distribution | SearchSpace:
    return config(f"method: random\nparameters: {{p: {line}}}").space.parameters["p"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{value: null}", Constant(value=None)),
        ("{value: {a: [1]}}", Constant(value={"a": [1]})),
        ("{values: [1, a, null, [2], true]}", Categorical(values=(1, "a", None, [2], True))),
        ("{values: [1, 2], probabilities: [0, 1]}",
         CategoricalWithProbabilities(values=(1, 2), probabilities=(0, 1))),
        ("{min: 1, max: 4}", IntUniform(min=1, max=4)),
        ("{min: 1.0, max: 4.0}", Uniform(min=1.0, max=4.0)),
        ("{min: 1e-5, max: 1e5}", Uniform(min=1e-5, max=1e5)),
        ("{min: 017, max: 0x1F}", IntUniform(min=17, max=31)),
        ("{min: 1, max: 4, distribution: uniform}", Uniform(min=1, max=4)),
        ("{min: 1, max: 9, distribution: q_uniform, q: 2}", QUniform(min=1, max=9, q=2)),
        ("{min: !!float 1e-5, max: 1, distribution: log_uniform_values}", LogUniformValues(min=1e-5, max=1)),
        ("{parameters: {a: {value: 1}}}", SearchSpace({"a": Constant(value=1)})),
    ],
)  # fmt: skip
def test_parameter_becomes_the_distribution_that_wandb_infers(line: str, expected: Any) -> None:
    assert distribution(line) == expected


@pytest.mark.parametrize("blank", ["", "null", "''", "'  '"])
def test_blank_label_is_ignored(blank: str) -> None:
    labels = "".join(f"{key}: {blank}\n" for key in ("name", "description", "project", "entity", "apiVersion"))
    read = config(f"{labels}method: grid\nparameters: {{a: {{values: [1]}}}}\n")
    assert (read.name, read.description, read.project, read.entity) == (None, None, None, None)


def test_integer_step_stays_an_integer() -> None:
    step = distribution("{min: 0, max: 10, distribution: q_uniform, q: 5}")
    assert isinstance(step, QUniform)
    assert type(step.q) is int


def test_every_key_is_in_the_config() -> None:
    read = config(WHOLE)
    assert (read.program, read.method, read.name, read.description) == (
        "train.py",
        "bayes",
        "first",
        "tries things",
    )
    assert (read.project, read.entity, read.run_cap) == ("p", "e", 20)
    assert read.metric == Metric(
        name="val.loss", goal=Goal.MAXIMIZE, target=3.0, impute="best", impute_while_running="latest"
    )
    assert read.early_terminate == EarlyTerminate(
        type="hyperband", options={"max_iter": 27, "s": 2, "eta": 2, "strict": False}
    )


def test_command_items_become_text_as_in_wandb() -> None:
    assert config(WHOLE).command == ("python", "3", "1e-05", "True", "None", "['a', 1]")


def test_missing_keys_have_wandb_defaults() -> None:
    read = config("method: random\nparameters: {p: {value: 1}}\nmetric: {name: loss}\n")
    assert read.command == DEFAULT_COMMAND
    assert read.metric == Metric(name="loss", goal=Goal.MINIMIZE, target=None, impute="worst")
    assert (read.run_cap, read.program, read.early_terminate, read.scheduler) == (None, None, None, None)


def test_several_metrics_need_method_custom() -> None:
    read = config("method: custom\nmetrics: [{name: a}, {name: b, goal: maximize}]\nparameters: {p: {value: 1}}\n")
    assert read.metrics == (Metric(name="a"), Metric(name="b", goal=Goal.MAXIMIZE))


def test_scheduler_with_search_space_needs_no_parameters() -> None:
    read = config("method: custom\nscheduler: {engine: optuna, source: s.py, search_space: f}\n")
    assert read.scheduler == {"engine": "optuna", "source": "s.py", "search_space": "f"}
    assert read.space == SearchSpace({})


def test_document_is_the_original_text() -> None:
    text = "method: random\nparameters: {p: {min: 1e-5, max: 1.0}}\ncommand: [x, 3]\n"
    assert config(text).document == {
        "method": "random",
        "parameters": {"p": {"min": 1e-5, "max": 1.0}},
        "command": ["x", 3],
    }


def test_warnings_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("method: random\nparameters:\n  p: {values: [on, off]}\n")
    parsed = read_sweep(path)
    assert parsed.config.space.parameters["p"] == Categorical(values=("on", "off"))
    assert parsed.warnings == (
        f"{path}:3: parameters.p.values[0]: "
        "the text 'on' in smsweep, but the boolean true in W&B; write true, or quote it",
        f"{path}:3: parameters.p.values[1]: "
        "the text 'off' in smsweep, but the boolean false in W&B; write false, or quote it",
    )


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("settings: {a: 1}",
         "settings: has no effect in smsweep (W&B's command line stores its own settings in it)"),
        ("tags: [a]",
         "tags: has no effect in smsweep (W&B ignores it, too; set tags of the training jobs in job.yaml)"),
        ("job: a/b", "job: is for W&B Launch and has no effect; set up the jobs in job.yaml"),
        ("command: [python, '--x ${args}']",
         "command[1]: ${args} is not expanded, because W&B expands only a whole item; make it a separate item"),
        ("command: ['${env}', '${args}']", "command: starts with params, but W&B adds no program before them; "
         "start with ${interpreter}, ${program}"),
        ("command: ['${p}', '${args}']",
         "command[0]: ${p} is removed, because W&B has no macro for one parameter; ${args} passes all of them"),
        ("command: ['${batch_size}']", "command[0]: ${batch_size} is removed, because W&B has no such macro; "
         "known: args, args_append_hydra, args_dict, args_json, args_json_file, args_no_boolean_flags, "
         "args_no_equals, args_no_hyphens, args_override_hydra, env, interpreter, program"),
        ("metric: {name: l}\nearly_terminate: {type: hyperband, min_iter: 1, max_iter: 9, s: 2}",
         "early_terminate.min_iter: has no effect: max_iter and s take precedence, as in W&B"),
        ("metric: {name: l}\nearly_terminate: {type: hyperband, min_iter: 3, s: 2}",
         "early_terminate.s: has no effect without max_iter, as in W&B"),
        ("metric: {name: l}\nearly_terminate: {type: asha, min_iter: 1}",
         "early_terminate.type: asha exists only in smsweep; W&B has only hyperband and stops nothing"),
    ],
)  # fmt: skip
def test_keys_without_effect_are_warned_about(text: str, warning: str) -> None:
    (message,) = parse_sweep(f"method: random\nparameters: {{p: {{value: 1}}}}\n{text}").warnings
    assert message.partition(" ")[2] == warning


@pytest.mark.parametrize("item", ["echo ${HOME}", "${envvar:USER}", "dir=${now:%H-%M}/${oc.env:USER}"])
def test_shell_and_hydra_variables_are_not_macros(item: str) -> None:
    text = f"method: random\nparameters: {{p: {{value: 1}}}}\ncommand: [bash, '-c', '{item}']"
    assert parse_sweep(text).warnings == ()


def test_macro_takes_precedence_over_parameter_name() -> None:
    text = "method: random\nparameters: {env: {value: 1}}\ncommand: ['${env}', make, '${args}']"
    assert parse_sweep(text).warnings == ()


def test_exponent_bounds_are_accepted_with_a_warning() -> None:
    parsed = parse_sweep("method: random\nparameters: {p: {distribution: log_uniform, min: 0.0001, max: 0.1}}")
    assert parsed.warnings == (
        "<sweep>:2: parameters.p: log_uniform uses min and max as exponents of e, so values are between "
        "1 and 1.105; log_uniform_values uses the values themselves (W&B deprecates log_uniform)",
    )


def test_grid_that_excludes_its_upper_bound_is_warned_about() -> None:
    text = "method: grid\nparameters: {p: {distribution: q_uniform, min: 0, max: 4}}"
    (warning,) = parse_sweep(text).warnings
    assert warning.endswith("a grid over q_uniform excludes max, as in W&B; list the values to include it")


@pytest.mark.parametrize("name", EXAMPLES)
def test_wandb_example_sweeps_load(name: str) -> None:
    parsed = parse_sweep(EXAMPLES[name])
    assert len(parsed.warnings) == (name == "fastai1-simpsons")


@pytest.mark.parametrize("name", GRID_CELLS)
def test_example_grids_have_as_many_cells_as_in_wandb(name: str) -> None:
    assert config(EXAMPLES[name]).space.grid_size == GRID_CELLS[name]


@pytest.mark.parametrize("name", EXAMPLES)
def test_stored_sweep_text_reads_back_equal(name: str) -> None:
    from_file = parse_sweep(EXAMPLES[name])
    assert parse_sweep(from_file.text).config == from_file.config
    from_dict = parse_sweep(from_file.config.document)
    assert parse_sweep(from_dict.text).config == from_dict.config == from_file.config


def test_numpy_numbers_in_a_dict_are_numbers() -> None:
    parsed = parse_sweep({"method": "random", "parameters": {"p": {"min": np.float64(0.5), "max": np.float32(1)}}})
    assert parsed.config.space.parameters["p"] == Uniform(min=0.5, max=1.0)


def test_caller_dict_is_not_modified() -> None:
    mine = {"method": "random", "parameters": {"p": {"values": (1, 2)}}, "metric": {"name": "l"}}
    before = copy.deepcopy(mine)
    parse_sweep(mine)
    assert mine == before


SCRAPS = st.recursive(
    st.sampled_from([None, True, 0, 1, 2.5, "x", "uniform", "hyperband", "random", "grid", float("nan"), 10**400]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "min",
                    "max",
                    "value",
                    "values",
                    "distribution",
                    "parameters",
                    "name",
                    "type",
                    "s",
                    "eta",
                    "max_iter",
                    "q",
                    "engine",
                    "goal",
                    "probabilities",
                    "mu",
                    "sigma",
                ]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=8,
)
TOP = [
    "method",
    "parameters",
    "metric",
    "metrics",
    "early_terminate",
    "scheduler",
    "command",
    "controller",
    "run_cap",
]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(TOP), SCRAPS))
def test_random_configs_raise_only_config_errors(document: dict[str, Any]) -> None:
    assert accepts({"method": "random", **document}) in (True, False)


@settings(deadline=None)
@given(SCRAPS)
def test_random_parameters_raise_only_config_errors(parameter: Any) -> None:
    assert accepts({"method": "grid", "parameters": {"p": parameter}}) in (True, False)


def accepts(document: dict[str, Any]) -> bool:
    try:
        parse_sweep(document)
    except ConfigError:
        return False
    return True
