"""Damaged input is either parsed or refused with an error of smsweep, without other effects."""

from __future__ import annotations

import copy
import gzip
import io
import json
import random
import tarfile
import tempfile
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import smsweep
from smsweep.config_files.job_yaml import parse_job
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.config_files.yaml_reader import read_yaml
from smsweep.core.trial import TrialState
from smsweep.engine.metric_parser import MetricParser
from smsweep.errors import SmsweepError
from smsweep.runtime.job.failure import JobFailure
from smsweep.runtime.job.source_folder import unpack
from smsweep.runtime.script.records import METRICS, records

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
SWEEPS: list[dict[str, Any]] = [
    {
        "program": "train.py",
        "method": "bayes",
        "metric": {"name": "loss", "goal": "minimize", "target": 0.1, "impute": "worst"},
        "run_cap": 5,
        "early_terminate": {"type": "hyperband", "min_iter": 3, "eta": 3, "strict": True},
        "command": ["${env}", "${interpreter}", "${program}", "${args}"],
        "parameters": {
            "a": {"values": [1, 2, "x", None, True]},
            "b": {"min": 0.0, "max": 1.0},
            "c": {"distribution": "q_normal", "mu": 0, "sigma": 1, "q": 0.5},
            "n": {"parameters": {"x": {"values": [1, 2], "probabilities": [0.5, 0.5]}, "y": {"value": [1, {}]}}},
        },
    },
    {"program": "t.py", "method": "grid", "parameters": {"q": {"distribution": "q_uniform", "min": 0, "max": 4}}},
    {"method": "custom", "metrics": [{"name": "a"}, {"name": "b"}], "parameters": {"a": {"values": [1, 2]}}},
]
JOB: dict[str, Any] = {
    "image_uri": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/train:1",
    "role": "arn:aws:iam::123456789012:role/x",
    "max_run": 10,
    "inputs": {"train": "s3://b/t", "valid": {"s3_uri": "s3://b/v", "content_type": "text/csv"}},
    "tags": {"team": "vision"},
    "metric_definitions": [{"Name": "loss", "Regex": "(.)"}],
    "secrets": {"KEY": "env:KEY"},
    "retries": {"oom": 1},
    "budget": {"usd": 1},
    "stop_if": ["loss is nan"],
    "request": {"StoppingCondition": {"MaxRuntimeInSeconds": 5}},
}
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from([2**70, "1e5", "nan"]),
)
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["min", "max", "value", "values", "q", "a", "parameters", ""]), inner, max_size=3
        ),
    ),
    max_leaves=6,
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value below node."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [found for key, value in inner for found in [(*path, key), *places(value, (*path, key))]]


@st.composite
def damaged(draw: st.DrawFn, documents: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a valid document with one or two values replaced."""
    document: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(documents)))
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from(places(document) or [("program",)]))
        node: Any = document
        for key in way:
            node = node[key]
        node[last] = draw(JUNK)
    return document


@pytest.mark.slow
@given(damaged(SWEEPS), st.randoms(use_true_random=False))
@settings(max_examples=400, deadline=None)
def test_damaged_sweep_is_refused_or_searched(document: dict[str, Any], chance: random.Random) -> None:
    try:
        parsed = parse_sweep(document)
        assert parse_sweep(parsed.text).config == parsed.config
        params = smsweep.suggest(document, [], n=2)
        trials = [trial(n, assigned, chance) for n, assigned in enumerate(params)]
        json.dumps(smsweep.suggest(document, trials, n=2))
        smsweep.judge(document, trials)
    except SmsweepError as err:
        assert str(err)


def trial(number: int, params: Mapping[str, Any], chance: random.Random) -> dict[str, Any]:
    state = chance.choice([state.value for state in TrialState])
    values = [1.0, 0, float("nan"), float("inf"), None, "text", 2**80, True, {"deep": 1}, [1]]
    history = [{"loss": chance.choice(values)} for _ in range(chance.randrange(5))]
    return {"number": number, "params": params, "state": state, "history": history}


@pytest.mark.slow
@given(damaged([JOB]))
@settings(max_examples=300, deadline=None)
def test_damaged_job_is_refused_or_parsed(document: dict[str, Any]) -> None:
    try:
        parsed = parse_job(document)
        assert parse_job(parsed.text).template == parsed.template
    except SmsweepError as err:
        assert str(err)


@given(st.text(alphabet=st.sampled_from("a1 :-[]{}&*!|>'\"#%@,?\n\t~<.e"), max_size=60))
@settings(max_examples=500, deadline=None)
def test_any_text_is_parsed_as_yaml_or_refused(text: str) -> None:
    try:
        read_yaml(text, "sweep.yaml")
    except SmsweepError as err:
        assert str(err).startswith("sweep.yaml")


@given(
    st.lists(st.text(max_size=30), min_size=1, max_size=5), st.text(max_size=10).map(lambda name: name or "loss")
)
@settings(max_examples=300, deadline=None)
def test_record_is_found_in_any_line(noise: list[str], name: str) -> None:
    reader = MetricParser([("printed", "loss=([0-9.e+-]+)")])
    reader.read(noise, NOW)
    line = noise[0].replace("\n", "") + "".join(records(METRICS, {name: 0.5}, time=0.0))
    assert reader.read([line], NOW).points[-1].value == 0.5


@given(st.binary(max_size=200), st.integers(0, 1000), st.booleans())
@settings(max_examples=200, deadline=None)
def test_damaged_archive_writes_only_into_its_folder(damage: bytes, at: int, is_packed: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        (top / "source.tar.gz").write_bytes(archive(damage, at, is_packed=is_packed))
        try:
            unpack(str(top / "source.tar.gz"), str(top / "code"))
        except JobFailure as err:
            assert "source.tar.gz" in str(err)
        assert {path.name for path in top.iterdir()} <= {"source.tar.gz", "code"}


def archive(damage: bytes, at: int, *, is_packed: bool) -> bytes:
    """Return a tarball with overwritten bytes, before or after its compression."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        info = tarfile.TarInfo("train.py")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"print"))
    raw = stream.getvalue()
    if is_packed:
        packed = gzip.compress(raw, mtime=0)
        at %= len(packed)
        return packed[:at] + damage + packed[at + len(damage) :]
    return gzip.compress(raw[:at] + damage + raw[at + len(damage) :], mtime=0)
