"""smsweep's runtime compared with AWS's sagemaker-training toolkit: same request, same image."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from docker import DockerClient

from smsweep.core.job import RUNTIME_CHANNEL, SOURCE_TAR
from tests.docker.conftest import ROOT
from tests.support.jobs import ENTRYPOINT, Done, Jobs
from tests.support.training_toolkit import ensure_toolkit_image

pytestmark = pytest.mark.oracle

SHOW = """
import json, os, sys
print('SHOWN ' + json.dumps({'argv': sys.argv[1:], 'env': dict(os.environ)}))
"""
PARAMS: dict[str, object] = {
    "lr": 0.001,
    "tiny": 1e-05,
    "epochs": 10,
    "x": 3,
    "shuffle": True,
    "bias": False,
    "nothing": None,
    "layers": [64, 32],
    "mixed": [1, "two", 3.5, None],
    "optimizer": {"name": "adam", "beta": 0.9},
    "empty": "",
    "name": "two words; $(echo no) `no` 'single' \"double\"",
    "unicode": "grün → 緑",
    "opt.momentum": 0.9,
    "dash-ed": "-v",
    "digits": "007",
    "negative": -3,
    "huge": 1e300,
    "long": 12345678901234567890,
    "deep": {"a": {"b": [1, {"c": None}], "d": True}, "e": "x=1,y=2"},
    "rows": [[1, 2], {"k": "v"}, []],
    "no_items": [],
    "no_keys": {},
    "json_like": '{"a": [1, 2]}',
    "true_text": "true",
    "null_text": "null",
    "number_text": "1.50",
    "lines": "one\ntwo\ttab",
    "trailing": " blanks ",
    "LR": 0.5,  # beside lr
    "two words": 1,
    "-x": 3,
    "X": 4,
    "slash/name": 5,
}
# As a console or a YAML template may have them: what is not JSON stays as it is.
RAW = {
    "raw": "adam",
    "raw_list": "[1, 2",
    "raw_true": "True",
    "raw_nan": "NaN",
    "raw_zero": "01",
    "_tuning_objective_metric": "loss",
    "sagemaker_container_log_level": "20",
    "sagemaker_job_name": '"another"',
}

HIDDEN = "the channel of the runtime and the source is not a channel of the user"
DIFFERENT = {  # variable -> why
    "SM_CHANNELS": HIDDEN,
    "SM_CHANNEL_SMSWEEP": HIDDEN,
    "SM_INPUT_DATA_CONFIG": HIDDEN,
    "SM_TRAINING_ENV": "see below",
    "SM_OUTPUT_INTERMEDIATE_DIR": "only the toolkit uploads this folder",
    "PYTHONPATH": "has the runtime and the source in smsweep, the source and the folders of Python in the toolkit",
    "TRAINING_JOB_NAME": "these are two jobs",
    "TRAINING_JOB_ARN": "these are two jobs",
}
OWN = ("SMSWEEP_", "WANDB_")  # prefixes of variables that only smsweep sets
OWN_NAMES = {"PYTHONUNBUFFERED"}
AWS_ONLY = "of AWS's own libraries for distributed training, which only the toolkit starts"
DIFFERENT_IN_TRAINING_ENV = {
    "channel_input_dirs": HIDDEN,
    "input_data_config": HIDDEN,
    "job_name": "these are two jobs",
    "output_intermediate_dir": "only the toolkit uploads this folder",
    "distribution_hosts": "all hosts take part; the toolkit names them only where it starts the distribution",
    "is_modelparallel_enabled": AWS_ONLY,
    "is_smddpmprun_installed": AWS_ONLY,
    "is_smddprun_installed": AWS_ONLY,
    "topology": AWS_ONLY,
}


THESE_TWO_JOBS = {"job_name", "TRAINING_JOB_NAME", "TRAINING_JOB_ARN"}


@pytest.fixture(scope="module")
def both(docker_engine: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What a script sees with the toolkit and with smsweep."""
    folder = tmp_path_factory.mktemp("toolkit")
    (folder / "data").mkdir()
    environ = {**os.environ}
    image = ensure_toolkit_image(docker_engine, tmp_path_factory.mktemp("image"))
    jobs = Jobs(folder=folder, kind="docker", image=image, environ=environ)
    shown = {}
    for who, entrypoint in (("toolkit", ["train"]), ("smsweep", ENTRYPOINT)):
        request = jobs.request(
            who,
            SHOW,
            params=PARAMS,
            channels={"train": (folder / "data").as_uri()},
            ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        )
        request["AlgorithmSpecification"]["ContainerEntrypoint"] = entrypoint
        tar = f"/opt/ml/input/data/{RUNTIME_CHANNEL}/{SOURCE_TAR}"
        request["HyperParameters"] |= RAW
        request["HyperParameters"]["sagemaker_submit_directory"] = json.dumps(tar)
        jobs.backend.submit(request)
        shown[who] = what_was_shown(jobs.finish(request["TrainingJobName"]))
    jobs.close()
    return shown


def what_was_shown(done: Done) -> dict[str, Any]:
    found = [line for line in done.lines if line.startswith("SHOWN ")]
    assert found, done
    return dict(json.loads(found[-1].removeprefix("SHOWN ")))


def test_script_has_the_same_arguments(both: dict[str, dict[str, Any]]) -> None:
    assert both["smsweep"]["argv"] == both["toolkit"]["argv"]


def test_script_has_the_same_variables_except_the_listed_ones(both: dict[str, dict[str, Any]]) -> None:
    ours, theirs = both["smsweep"]["env"], both["toolkit"]["env"]
    own = {name for name in ours.keys() - theirs.keys() if name.startswith(OWN)}
    assert differing(ours, theirs) - own - OWN_NAMES == set(DIFFERENT)


def test_training_environment_is_the_same_except_the_listed_differences(both: dict[str, dict[str, Any]]) -> None:
    ours, theirs = (json.loads(both[who]["env"]["SM_TRAINING_ENV"]) for who in ("smsweep", "toolkit"))
    assert differing(ours, theirs) == set(DIFFERENT_IN_TRAINING_ENV)


def test_every_difference_is_documented() -> None:
    page = (ROOT / "docs" / "local-docker.md").read_text(encoding="utf-8")
    names = {*DIFFERENT, *DIFFERENT_IN_TRAINING_ENV, *OWN_NAMES} - THESE_TWO_JOBS
    assert {name for name in names if f"`{name}`" not in page} == set()


def differing(ours: dict[str, Any], theirs: dict[str, Any]) -> set[str]:
    return {name for name in {*ours, *theirs} if ours.get(name, ...) != theirs.get(name, ...)}
