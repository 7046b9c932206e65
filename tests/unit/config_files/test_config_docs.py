"""Tests that the documented config files load, and that the reference lists every key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from smsweep.config_files.job_models import InputSection, JobSection
from smsweep.config_files.job_rules import UNSUPPORTED_KEYS
from smsweep.config_files.job_yaml import parse_job
from smsweep.config_files.sweep_rules import IGNORED, MetricSection, SweepSection
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.config_files.validation import keys_of
from smsweep.space.distributions import DISTRIBUTIONS
from smsweep.stopping.registry import RULES
from tests.oracle.wandb_cases import MACROS
from tests.unit.config_files.sweep_rules_documented import ENFORCED, MILDER, STRICTER

DOCS = Path(__file__).parents[3] / "docs"
REFERENCE = "".join((DOCS / name).read_text(encoding="utf-8") for name in ("sweep-yaml.md", "job-yaml.md"))
DIFFERENCES = (DOCS / "differences-from-wandb.md").read_text(encoding="utf-8")

RULE_OPTIONS: list[type[BaseModel]] = [spec.model for spec in RULES.builtin.values() if spec.model is not None]
SECTIONS: list[type[BaseModel]] = [SweepSection, MetricSection, *RULE_OPTIONS]


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", REFERENCE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", blocks("yaml sweep"))
def test_documented_sweeps_load_without_warnings(text: str) -> None:
    assert parse_sweep(text).warnings == ()


@pytest.mark.parametrize("text", blocks("yaml job"))
def test_documented_jobs_load_without_warnings(text: str, tmp_path: Path) -> None:
    (tmp_path / "data" / "train").mkdir(parents=True)
    assert parse_job(text, folder=tmp_path).warnings == ()


def test_documented_yaml_blocks_are_sweeps_or_jobs() -> None:
    assert len(re.findall(r"^```yaml", REFERENCE, re.MULTILINE)) == len(blocks("yaml sweep") + blocks("yaml job"))


@pytest.mark.parametrize("text", blocks("python"))
def test_documented_python_runs(text: str) -> None:
    exec(compile(text, "config.md", "exec"), {})


@pytest.mark.parametrize(
    "word",
    [
        *(key for section in SECTIONS for key in keys_of(section)),
        *(key for section in (JobSection, InputSection) for key in keys_of(section)),
        *DISTRIBUTIONS,
        *IGNORED,
        *UNSUPPORTED_KEYS,
        *MACROS,
    ],
)
def test_reference_lists_every_key(word: str) -> None:
    assert f"`{word}" in REFERENCE


def test_documented_rules_are_tested() -> None:
    listed = re.findall(r"^\| `([a-z-]+)` \|", DIFFERENCES, re.MULTILINE)
    assert listed == [rule.id for rule in (*STRICTER, *ENFORCED, *MILDER)]
