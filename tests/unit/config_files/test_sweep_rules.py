"""Tests of the errors in a sweep.yaml: one line each with file, line, key, problem and fix."""
# ruff: noqa: E501  # messages read best in one piece

from __future__ import annotations

import pytest

from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.errors import ConfigError
from tests.unit.config_files.sweep_rules_documented import ENFORCED, MILDER, STRICTER, Rule


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_sweep(text, name="sweep.yaml")
    return list(caught.value.problems)


def test_repeated_key_is_reported_with_other_errors() -> None:
    assert problems("method: Grid\nmetod: 1\nmethod: random\nparameters: {p: {value: 1}}\n") == [
        "sweep.yaml:1: method: expected grid, random, bayes or custom, got 'Grid'; did you mean grid?",
        "sweep.yaml:2: metod: unknown key; did you mean method?",
        "sweep.yaml:3: method: occurs twice, first in line 1; keep one",
    ]


def test_unlistable_grid_is_reported_with_invalid_parameter() -> None:
    text = (
        "method: grid\nparameters:\n  p: {min: 0.1, max: 0.5}\n  k: {distribution: int_uniform, min: 2.5, max: 8}"
    )
    assert problems(text) == [
        "sweep.yaml:3: parameters.p: a grid cannot list uniform; give values, or use method random or bayes",
        "sweep.yaml:4: parameters.k: int_uniform needs whole numbers, got min 2.5 and max 8",
    ]


def test_constant_space_is_not_reported_with_invalid_parameter() -> None:
    text = "method: bayes\nmetric: {name: l}\nparameters:\n  p: {value: 1}\n  k: {min: 5, max: 1}"
    assert problems(text) == [
        "sweep.yaml:5: parameters.k: int_uniform needs min < max, got min 5 and max 1; swap them"
    ]


def parameter(line: str) -> str:
    """Return a config whose third line describes the parameter p."""
    return f"method: random\nparameters:\n  p: {line}\n"


def top(line: str) -> str:
    """Return a config with an additional third line."""
    return f"method: random\nparameters: {{p: {{value: 1}}}}\n{line}\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{distribution: log_uniform_values, min: 0, max: 1}",
         "parameters.p: log_uniform_values needs min > 0, got 0; use uniform, or raise min"),
        ("{min: 3, max: 3}", "parameters.p: int_uniform needs min < max, got min 3 and max 3; "
         "for this one value write value: 3"),
        ("{min: 0.5, max: 0.1}", "parameters.p: uniform needs min < max, got min 0.5 and max 0.1; swap them"),
        ("{min: 1}", "parameters.p.max: missing; int_uniform needs min and max"),
        ("{min: 1, max: 2.5}", "parameters.p: min 1 and max 2.5 do not show whether values are whole numbers; "
         "write both as whole numbers for int_uniform, or both with a point for uniform"),
        ("{min: true, max: 2}", "parameters.p.min: expected a number, got true"),
        ("{min: '1', max: 2}", "parameters.p.min: expected a number, got '1'; remove the quotes"),
        ("{min: '1e-5', max: 2}", "parameters.p.min: expected a number, got '1e-5'; remove the quotes, or write numbers like "
         "1.0e-5 for PyYAML"),
        ("{min: 1, max: 9, q: 2}", "parameters.p.q: needs a distribution; add distribution: q_uniform"),
        ("{mu: 1}", "parameters.p.mu: needs a distribution; add distribution: normal"),
        ("{distribution: unifrom, min: 1, max: 2}",
         "parameters.p.distribution: unknown distribution 'unifrom'; did you mean uniform?"),
        ("{distribution: uniform, min: 1, max: 2, value: 1}", "parameters.p.value: not a key of uniform; choose from max, min"),
        ("{distribution: normal, mean: 0}", "parameters.p.mean: not a key of normal; choose from mu, sigma"),
        ("{distribution: normal, sigma: -1}", "parameters.p: normal needs sigma of at least 0, got -1"),
        ("{distribution: int_uniform, min: 1.0, max: 3}",
         "parameters.p: int_uniform needs whole numbers, got min 1.0 and max 3"),
        ("{distribution: q_uniform, min: 1, max: 3, q: 0}", "parameters.p: q_uniform needs q > 0, got 0"),
        ("{distribution: log_uniform, min: 1, max: 2000}", "parameters.p: log_uniform takes exponents of e, at most 709, "
         "got min 1 and max 2000; if these are the values themselves, use log_uniform_values"),
        ("{values: []}", "parameters.p: categorical needs at least one value in values"),
        ("{values: 3}", "parameters.p.values: expected a list, got 3; write [a, b, c]"),
        ("{values: [1, 2], value: 1}", "parameters.p.values: cannot be combined with value; keep one of the two"),
        ("{values: [1, 2], probabilities: [0.5]}", "parameters.p: categorical_w_probabilities needs one probability for "
         "each value, got 2 values and 1 probabilities"),
        ("{values: [1, 2], probabilities: [0.5, 0.6]}", "parameters.p: categorical_w_probabilities needs probabilities "
         "that sum to 1, got a sum of 1.1"),
        ("{valeus: [1, 2]}", "parameters.p.valeus: unknown key; did you mean values?"),
        ("{}", "parameters.p: an empty parameter; give value, values, or min and max"),
        ("0.1", "parameters.p: expected a mapping, got 0.1; write {value: 0.1}"),
        ("[1, 2]", "parameters.p: expected a mapping, got a list; write {values: [...]}"),
        ("", "parameters.p: expected a mapping, got nothing; write {value: ...}"),
        ("{parameters: {}}", "parameters.p.parameters: no parameters; name at least one, such as "
         "lr: {min: 0.001, max: 0.1}"),
        ("{parameters: {a: {value: 1}}, value: 3}",
         "parameters.p.value: cannot be combined with parameters; remove it"),
        ("{parameters: {a: {min: 5, max: 1}}}",
         "parameters.p.parameters.a: int_uniform needs min < max, got min 5 and max 1; swap them"),
        ("{value: .nan}", "parameters.p.value: not a finite number; as a value of a parameter, quote it; "
         "float('inf') in the script reads the text"),
    ],
)  # fmt: skip
def test_invalid_parameter_is_reported(line: str, message: str) -> None:
    assert problems(parameter(line)) == [f"sweep.yaml:3: {message}"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("metod: grid", "metod: unknown key; did you mean method?"),
        ("name: 12", "name: expected text, got 12; quote it"),
        ("program: ''", "program: expected text that is not blank, got ''"),
        ("metric:", "metric: expected a value, got nothing; give it a value, or remove the key"),
        ("run_cap: 0", "run_cap: expected a whole number above 0, got 0"),
        ("run_cap: '3'", "run_cap: expected a whole number above 0, got '3'; remove the quotes"),
        ("run_cap: 2.5", "run_cap: expected a whole number above 0, got 2.5"),
        ("run_cap: true", "run_cap: expected a whole number above 0, got true"),
        ("kind: swep", "kind: expected sweep, got 'swep'; did you mean sweep?"),
        ("command: python train.py", "command: expected a list, got 'python train.py'; write [python, train.py]"),
        ("command: []", "command: expected at least 1 item, got 0"),
        ("metric: loss", "metric: expected a mapping, got 'loss'; write {name: loss}"),
        ("metric: {}", "metric.name: missing; the metric's name as the script logs it; nested names with dots, a.b"),
        ("metric: {name: l, goal: Maximize}",
         "metric.goal: expected minimize or maximize, got 'Maximize'; did you mean maximize?"),
        ("metric: {name: l, goal: up}", "metric.goal: expected minimize or maximize, got 'up'"),
        ("metric: {name: l, goal: max}",
         "metric.goal: expected minimize or maximize, got 'max'; did you mean maximize?"),
        ("metric: {name: l, gaol: minimize}", "metric.gaol: unknown key; did you mean goal?"),
        ("metric: {name: l, impute: mean}", "metric.impute: expected latest, best or worst, got 'mean'"),
        ("metric: {name: l, target: .inf}",
         "metric.target: not a finite number; as a value of a parameter, quote it; float('inf') in the script reads the text"),
        ("metrics: [{name: a}, {name: b}]", "metrics: needs method: custom, got random; for one metric use `metric`"),
        ("early_terminate: {type: hyperband, min_iter: 3}",
         "early_terminate: needs a metric to compare trials; add metric: {name: ..., goal: ...}"),
        ("controller: {type: remote}", "controller.type: expected local or cloud, got 'remote'"),
        ("scheduler: {engine: optuna}", "scheduler.engine: optuna needs method: custom, got random"),
        ("scheduler: {engine: wandb, optimizer: f}",
         "scheduler.optimizer: names a function in source; add source: file.py"),
        ("scheduler: {engine: skopt}", "scheduler.engine: expected wandb, optuna or ax, got 'skopt'"),
        ("prior_runs: [abc]",
         "prior_runs: not a key of a sweep config, and W&B ignores it; pass prior runs when you create the sweep"),
        ("parameters: {}", "parameters: occurs twice, first in line 2; keep one"),
    ],
)  # fmt: skip
def test_invalid_line_is_reported(line: str, message: str) -> None:
    assert problems(top(line)) == [f"sweep.yaml:3: {message}"]


def test_early_terminate_with_several_metrics_is_refused() -> None:
    text = """\
method: custom
metrics: [{name: loss, goal: minimize}, {name: size, goal: minimize}]
early_terminate: {type: hyperband, min_iter: 3}
parameters: {a: {min: 0.0, max: 1.0}}
"""
    assert problems(text) == [
        "sweep.yaml:3: early_terminate: needs a single metric, but the sweep has metrics; remove it, or use stop_if in "
        "job.yaml"
    ]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{type: envelope, min_iter: 1}",
         "early_terminate.type: expected hyperband, asha, median or forecast, got 'envelope'"),
        ("{type: median}", "early_terminate.min_iter: missing; number of metric values before the first check"),
        ("{type: median, min_iter: 2, eta: 2}", "early_terminate.eta: has no effect on median; remove it"),
        ("{type: asha, min_iter: 2, s: 2}", "early_terminate.s: has no effect on asha; remove it"),
        ("{type: asha, min_iter: 9, max_iter: 9}",
         "early_terminate.max_iter: leaves no check: it must be above min_iter 9"),
        ("{type: hyperband, min_iter: 1, min_trials: 2}",
         "early_terminate.min_trials: has no effect on hyperband; remove it"),
        ("{type: hyperband}", "early_terminate: needs min_iter, or max_iter and s"),
        ("{type: hyperband, max_iter: 27}",
         "early_terminate.max_iter: needs s, the number of checks; add s, or use only min_iter"),
        ("{type: hyperband, s: 2}", "early_terminate: needs min_iter, or max_iter and s"),
        ("{type: hyperband, max_iter: 27, s: 2.5}", "early_terminate.s: expected a whole number above 0, got 2.5"),
        ("{type: hyperband, max_iter: 2, s: 1}",
         "early_terminate.max_iter: leaves no check: max_iter 2 is less than eta 3; raise max_iter"),
        ("{type: hyperband, min_iter: 0}", "early_terminate.min_iter: expected a whole number above 0, got 0"),
        ("{type: hyperband, min_iter: 1, eta: 1}", "early_terminate.eta: expected a number above 1, got 1"),
        ("{type: hyperband, min_iter: 1, strict: 'no'}",
         "early_terminate.strict: expected true or false, got 'no'; write false without quotes"),
        ("{type: hyperband, min_iter: 1, ata: 3}", "early_terminate.ata: unknown key; did you mean eta?"),
    ],
)  # fmt: skip
def test_invalid_early_terminate_is_reported(section: str, message: str) -> None:
    assert problems(top(f"early_terminate: {section}\nmetric: {{name: loss}}")) == [f"sweep.yaml:3: {message}"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "sweep.yaml:1: expected keys such as method and parameters, got an empty file"),
        ("- a\n", "sweep.yaml:1: expected keys such as method and parameters, got a list"),
        ("train.py", "sweep.yaml:1: expected keys such as method and parameters, got 'train.py'"),
        ("parameters: {p: {value: 1}}",
         "sweep.yaml:1: method: missing; how params are chosen: grid, random, bayes or custom"),
        ("method: random", "sweep.yaml:1: parameters: missing; name at least one, such as lr: {min: 0.001, max: 0.1}"),
        ("method: Random\nparameters: {p: {value: 1}}",
         "sweep.yaml:1: method: expected grid, random, bayes or custom, got 'Random'; did you mean random?"),
        ("method: random\nparameters: [1]", "sweep.yaml:2: parameters: expected a mapping of names to parameters, "
         "got a list; name at least one, such as lr: {min: 0.001, max: 0.1}"),
        ("method: random\nparameters:", "sweep.yaml:2: parameters: expected a mapping of names to parameters, "
         "got nothing; name at least one, such as lr: {min: 0.001, max: 0.1}"),
        ("method: random\nparameters:\n  a b: {value: 1}", "sweep.yaml:3: parameters.a b: 'a b' cannot name a parameter; "
         "use letters, digits, _ . - and begin with a letter or _"),
        ("method: bayes\nparameters: {p: {min: 1, max: 3}}", "sweep.yaml:1: metric: missing; bayes needs a metric: "
         "add metric: {name: ..., goal: ...}"),
        ("method: bayes\nmetric: {name: l}\nparameters: {p: {value: 1}}",
         "sweep.yaml:3: parameters: bayes has nothing to search, because every parameter is a constant; give a range"),
        ("method: grid\nparameters:\n  p: {min: 0.1, max: 0.5}", "sweep.yaml:3: parameters.p: a grid cannot list uniform; "
         "give values, or use method random or bayes"),
        ("method: grid\nparameters: {o: {parameters: {p: {values: [1, 2], probabilities: [0.5, 0.5]}}}}",
         "sweep.yaml:2: parameters.o.parameters.p: a grid cannot list categorical_w_probabilities; "
         "give values, or use method random or bayes"),
        ("method: custom\nmetric: {name: l}\nmetrics: [{name: a}, {name: b}]\nparameters: {p: {value: 1}}",
         "sweep.yaml:3: metrics: cannot be combined with metric; keep one of the two"),
        ("method: custom\nmetrics: [{name: a}]\nparameters: {p: {value: 1}}",
         "sweep.yaml:2: metrics: expected at least 2 items, got 1"),
        ("method: custom\nmetrics:\n - {name: a}\n - {nme: b, name: b}\nparameters: {p: {value: 1}}",
         "sweep.yaml:4: metrics[1].nme: unknown key; did you mean name?"),
        ("method: random\nscheduler: {engine: wandb}\ncontroller: {type: local}\nparameters: {p: {value: 1}}",
         "sweep.yaml:3: controller: type local cannot be combined with scheduler; remove controller"),
        ("method: random\nscheduler: {engine: wandb}\nmetric: {name: l}\nearly_terminate: {type: hyperband, min_iter: 1}\n"
         "parameters: {p: {value: 1}}",
         "sweep.yaml:4: early_terminate: cannot be combined with scheduler, which stops trials itself; remove one of the two"),
        ("method: random\nparameters:\n  a.b: {value: 1}\n  a: {parameters: {b: {value: 1}}}",
         "sweep.yaml:4: parameters.a.parameters.b: has the flat name a.b, like another parameter; "
         "rename one of them"),
    ],
)  # fmt: skip
def test_invalid_config_is_reported(text: str, message: str) -> None:
    assert problems(text) == [message]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run_cap: 20", "parameters.run_cap: expected a mapping, got 20; "
         "to set the sweep's run_cap, move it out of parameters; for a parameter write {value: 20}"),
        ("value: 3", "parameters.value: expected a mapping, got 3; indent it below its parameter"),
        ("values: [1, 2]",
         "parameters.values: expected a mapping, got a list; indent it below its parameter"),
    ],
)  # fmt: skip
def test_key_on_the_wrong_level_is_reported(line: str, message: str) -> None:
    assert problems(parameter(f"{{value: 1}}\n  {line}")) == [f"sweep.yaml:4: {message}"]


def test_all_errors_are_reported_in_order_of_line() -> None:
    text = (
        "methud: random\nparameters:\n  a: {min: 3, max: 1}\n  b: {valus: [1]}\nrun_cap: x\nmetric: {goal: up}\n"
    )
    assert [line.split(": ")[0:2] for line in problems(text)] == [
        ["sweep.yaml:1", "method"],
        ["sweep.yaml:1", "methud"],
        ["sweep.yaml:3", "parameters.a"],
        ["sweep.yaml:4", "parameters.b.valus"],
        ["sweep.yaml:5", "run_cap"],
        ["sweep.yaml:6", "metric.name"],
        ["sweep.yaml:6", "metric.goal"],
    ]


def test_errors_of_a_dict_have_a_key_and_no_line() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_sweep({"method": "random", "parameters": {"lr": {"min": 3, "max": 1}}})
    assert str(caught.value) == "parameters.lr: int_uniform needs min < max, got min 3 and max 1; swap them"


def test_parameters_that_only_smsweep_passes_to_optuna_get_a_warning() -> None:
    parsed = parse_sweep(
        "method: custom\nmetric: {name: l}\nscheduler: {engine: optuna}\nparameters:\n"
        "  lr: {min: 0.1, max: 1.0}\n"
        "  decay: {distribution: normal}\n"
        "  opt: {parameters: {m: {min: 0.1, max: 1.0}}}\n"
    )
    assert [warning.partition(": W&B's scheduler refuses ")[::2] for warning in parsed.warnings] == [
        ("<sweep>:6: parameters.decay", "normal with engine optuna; smsweep draws from it"),
        ("<sweep>:7: parameters.opt.parameters.m", "nested parameters with engine optuna; smsweep searches them"),
    ]


def test_parameters_that_only_smsweep_passes_to_ax_get_a_warning() -> None:
    parsed = parse_sweep(
        "method: custom\nmetric: {name: l}\nscheduler: {engine: ax}\nparameters:\n"
        "  lr: {min: 0.1, max: 1.0}\n"
        "  decay: {distribution: normal}\n"
        "  act: {values: [relu, 1]}\n"
        "  opt: {parameters: {m: {min: 0.1, max: 1.0}}}\n"
    )
    assert [warning.partition(": W&B's scheduler refuses ")[::2] for warning in parsed.warnings] == [
        ("<sweep>:6: parameters.decay", "normal with engine ax; smsweep draws from it"),
        ("<sweep>:7: parameters.act", "values of several types with engine ax; smsweep draws from it"),
        ("<sweep>:8: parameters.opt.parameters.m", "nested parameters with engine ax; smsweep searches them"),
    ]


@pytest.mark.parametrize("rule", [*STRICTER, *ENFORCED], ids=lambda rule: rule.id)
def test_documented_rule_refuses_its_example(rule: Rule) -> None:
    with pytest.raises(ConfigError, match=rule.says):
        parse_sweep(rule.yaml)


@pytest.mark.parametrize("rule", MILDER, ids=lambda rule: rule.id)
def test_documented_leniency_accepts_its_example(rule: Rule) -> None:
    assert parse_sweep(rule.yaml).config.method == "random"


def test_search_space_beside_parameters_wins_as_in_wandb() -> None:
    scheduler = {"engine": "optuna", "source": "space.py", "search_space": "space"}
    parsed = parse_sweep({"method": "custom", "scheduler": scheduler, "parameters": {"x": {"value": 1}}})
    assert not parsed.config.space.leaves
    assert any("no effect beside scheduler.search_space" in warning for warning in parsed.warnings)


def test_sampler_without_source_is_accepted_with_a_warning() -> None:
    scheduler = {"engine": "optuna", "optimizer": "TPESampler"}
    parsed = parse_sweep({"method": "custom", "scheduler": scheduler, "parameters": {"x": {"value": 1}}})
    assert any("W&B needs source" in warning for warning in parsed.warnings)


def test_search_space_has_no_effect_with_ax_as_in_wandb() -> None:
    scheduler = {"engine": "ax", "source": "space.py", "search_space": "space"}
    parsed = parse_sweep({"method": "custom", "scheduler": scheduler, "parameters": {"x": {"min": 0, "max": 1}}})
    assert len(parsed.config.space.leaves) == 1
    assert parsed.warnings == ("scheduler.search_space: has no effect with engine ax, as in W&B; remove it",)
