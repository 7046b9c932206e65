"""smsweep accepts and refuses the same configs as W&B's schema, except for the documented differences."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from smsweep.config_files.json_schema import sweep_schema
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.config_files.yaml_reader import read_yaml
from smsweep.errors import ConfigError
from tests.oracle.config_cases import cases
from tests.unit.config_files.example_sweeps import EXAMPLES
from tests.unit.config_files.sweep_rules_documented import MILDER, STRICTER
from tools.environments import oracle

pytestmark = pytest.mark.oracle

N_CASES = 1_500
SCRIPT = Path(__file__).with_name("ask_config.py")
ANNOYING = re.compile("|".join(rule.says for rule in STRICTER))
TOLERABLE = re.compile("|".join(rule.says for rule in MILDER))


def problems(config: Any) -> tuple[str, ...]:
    try:
        parse_sweep(config)
    except ConfigError as err:
        return err.problems
    return ()


def load(text: str) -> Any:
    return read_yaml(text, "sweep.yaml").data


def ask(configs: list[Any]) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = oracle("sweeps").ask(SCRIPT, {"configs": configs, "schema": sweep_schema()})
    return answers


def test_every_difference_from_wandb_is_documented() -> None:
    configs = cases(N_CASES)
    n_accepted = n_refused = 0
    unexplained = []
    for config, answer in zip(configs, ask(configs), strict=True):
        ours, theirs = problems(config), answer["violations"]
        n_accepted += not ours and not theirs
        n_refused += bool(ours) and bool(theirs)
        if ours and not theirs and not all(ANNOYING.search(text) for text in ours):
            unexplained.append(("only we refuse", ours, config))
        if theirs and not ours and not all(TOLERABLE.search(text) for text in theirs):
            unexplained.append(("only W&B refuses", theirs, config))
    assert unexplained == []
    assert min(n_accepted, n_refused) > N_CASES / 6  # the comparison needs many valid and many invalid configs


def test_each_documented_stricter_rule_is_absent_in_wandb() -> None:
    documents = [load(rule.yaml) for rule in STRICTER if rule.id not in ("finite", "text-keys")]
    assert [answer["violations"] for answer in ask(documents)] == [[]] * len(documents)


def test_wandbs_schema_reports_each_milder_rule() -> None:
    documents = [load(rule.yaml) for rule in MILDER]
    assert [bool(answer["violations"]) for answer in ask(documents)] == [True] * len(documents)


def test_editor_schema_accepts_every_example() -> None:
    examples = [*EXAMPLES.values(), *(rule.yaml for rule in MILDER)]
    documents = [load(text) for text in examples]
    assert [answer["fits"] for answer in ask(documents)] == [True] * len(documents)


def test_editor_schema_accepts_every_valid_config() -> None:
    accepted = [config for config in cases(300, seed=1) if not problems(config)]
    assert [answer["fits"] for answer in ask(accepted)] == [True] * len(accepted)
