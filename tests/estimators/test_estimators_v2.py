"""Tests of estimators of SDK 2.x, compared with the SDK's own requests in a separate environment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.estimators.cases_v2 import cases
from tests.estimators.rendering import request_of, violations
from tools.environments import oracle

pytestmark = pytest.mark.oracle

SCRIPT = Path(__file__).with_name("ask_v2.py")
CLASSES = ("Estimator", "PyTorch", "HuggingFace", "SKLearn", "XGBoost", "TensorFlow")
IMAGES = ("texts", "own command", "KMeans")  # without a script
COMPILED = (
    *(*CLASSES, "everything", "nothing", "script alone", "local", "strings", "torchrun", "mpi on one host"),
    *(
        "model_dir",
        "model_dir of mpi",
        "TensorFlow without place",
        "PyTorch after a fit",
        "TensorFlow after a fit",
        "words to the toolkit",
        *IMAGES,
    ),
)
REFUSED = {
    "no such script": "has no file gone.py",
    "source in S3": "source_dir: expected a folder",
    "dependencies": "dependencies: is not supported",
    "mpi": "distribution: is not supported in a sweep; mpi on several instances is a launch that only",
    "entrypoint": "container_entry_point: is not supported",
    "KMeans without records": "inputs: missing; KMeans needs the RecordSet that its fit accepts",
    "key without place": "output_path: missing",
    "compiler": "compiler_config: is not supported",
    "profiler and no profiler": "disable_profiler cannot be False when disable_profiler is True",
    "hook without place": "output_path: missing",
}
NOWHERE = ("nothing", "TensorFlow without place")  # no output path
OWN = ("TrainingJobName", "HyperParameters", "ProfilerConfig", "DebugHookConfig")  # ours, or SDK defaults


@pytest.fixture(scope="module")
def source_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    (folder / "train.py").write_text("")
    return folder


@pytest.fixture(scope="module")
def answers(source_dir: Path) -> dict[str, Any]:
    result: dict[str, Any] = oracle("sagemaker2").ask(SCRIPT, {"cases": cases(source_dir)})
    return result


@pytest.mark.parametrize("name", [*COMPILED, *REFUSED])
def test_compiling_does_not_change_estimator(answers: dict[str, Any], name: str) -> None:
    assert not answers[name]["changed"]


@pytest.mark.parametrize("name", [*COMPILED, *REFUSED])
def test_compiling_sends_no_request(answers: dict[str, Any], name: str) -> None:
    assert answers[name]["calls"] == []


@pytest.mark.parametrize("name", COMPILED)
def test_compiling_twice_gives_same_template(answers: dict[str, Any], name: str) -> None:
    assert answers[name]["again"]


@pytest.mark.parametrize("name", [name for name in COMPILED if name not in (*NOWHERE, "local", "strings")])
def test_template_equals_fit_request_except_trial_fields(answers: dict[str, Any], name: str) -> None:
    ours, theirs = answers[name]["template"]["request"], answers[name]["sent"]
    assert {key: value for key, value in ours.items() if key not in OWN} == {
        key: value for key, value in theirs.items() if key not in OWN
    }


@pytest.mark.parametrize("name", [name for name in COMPILED if name != "local"])
def test_trial_request_is_valid_for_api(answers: dict[str, Any], name: str) -> None:
    assert violations(request_of(answers[name])) == []


@pytest.mark.parametrize("name", ["PyTorch", "HuggingFace", "SKLearn", "XGBoost", "TensorFlow", "script alone"])
def test_entry_point_becomes_program_and_its_folder_becomes_source(
    answers: dict[str, Any], name: str, source_dir: Path
) -> None:
    template = answers[name]["template"]
    assert (template["source_dir"], template["program"]) == (str(source_dir), "train.py")


def test_custom_image_needs_no_source(answers: dict[str, Any]) -> None:
    template = answers["Estimator"]["template"]
    assert (template["source_dir"], template["program"]) == ("", "")


@pytest.mark.parametrize("name", ["Estimator", *IMAGES])
def test_image_gets_the_hyperparameters_that_the_sdk_sends(answers: dict[str, Any], name: str) -> None:
    assert answers[name]["template"]["texts"] == answers[name]["sent"].get("HyperParameters", {})
    assert answers[name]["template"]["program"] == ""


def test_mpi_on_one_host_becomes_command(answers: dict[str, Any]) -> None:
    command = answers["mpi on one host"]["template"]["command"]
    assert command[:2] == ["mpirun", "--allow-run-as-root"]


def test_torchrun_launch_becomes_command(answers: dict[str, Any]) -> None:
    assert answers["torchrun"]["template"]["command"] == [
        "torchrun",
        "--nnodes=2",
        "--node_rank=${envvar:SMSWEEP_NODE_RANK}",
        "--master_addr=algo-1",
        "--master_port=7777",
        "--nproc_per_node=auto",
        "${program}",
        "${args}",
    ]
    assert answers["PyTorch"]["template"]["command"] == []


def test_smsweep_starts_the_job(answers: dict[str, Any]) -> None:
    algorithm = request_of(answers["PyTorch"])["AlgorithmSpecification"]
    assert algorithm["ContainerEntrypoint"] == ["python3", "/opt/ml/input/data/smsweep/runtime.zip"]


def test_trial_params_override_hyperparameters(answers: dict[str, Any]) -> None:
    carried = request_of(answers["everything"])["HyperParameters"]
    assert json.loads(carried["smsweep"])["params"] == {
        "epochs": 3,
        "lr": 0.1,
        "name": "it's; $(x)",
        "layers": [64, 32],
        "amp": True,
        "momentum": 0.9,
    }
    assert carried["lr"] == "0.1"


def test_hyperparameter_text_is_parsed_like_toolkit(answers: dict[str, Any]) -> None:
    params = json.loads(request_of(answers["strings"])["HyperParameters"]["smsweep"])["params"]
    assert params == {"name": "a b", "n": 7, "flag": True, "lr": 0.1, "momentum": 0.9}


@pytest.mark.parametrize(
    ("name", "model_dir"),
    [
        ("TensorFlow", None),
        ("TensorFlow without place", None),
        ("model_dir", "s3://results/shared"),
        ("model_dir of mpi", "/opt/ml/model"),
    ],
)
def test_tensorflow_model_dir_is_param_when_set(answers: dict[str, Any], name: str, model_dir: str | None) -> None:
    params = json.loads(request_of(answers[name])["HyperParameters"]["smsweep"])["params"]
    assert params == {"lr": 0.1, "momentum": 0.9, **({"model_dir": model_dir} if model_dir else {})}


@pytest.mark.parametrize("name", ["PyTorch after a fit", "TensorFlow after a fit"])
def test_state_of_earlier_fit_is_not_in_trial_request(answers: dict[str, Any], name: str) -> None:
    carried = request_of(answers[name])["HyperParameters"]
    assert carried.keys() == {"smsweep", "epochs", "lr", "momentum"}
    assert json.loads(carried["smsweep"])["params"] == {"epochs": 3, "lr": 0.1, "momentum": 0.9}


def test_hyperparameters_removed_by_toolkit_are_not_params(answers: dict[str, Any]) -> None:
    carried = request_of(answers["words to the toolkit"])["HyperParameters"]
    assert json.loads(carried["smsweep"])["params"] == {"lr": 0.1, "momentum": 0.9}


def test_default_debug_hooks_are_dropped(answers: dict[str, Any]) -> None:
    for name in CLASSES:
        assert not answers[name]["template"]["request"].keys() & {"DebugHookConfig", "ProfilerConfig"}


def test_configured_debug_hooks_are_kept(answers: dict[str, Any]) -> None:
    ours, theirs = answers["everything"]["template"]["request"], answers["everything"]["sent"]
    for name in ("DebugHookConfig", "ProfilerConfig"):
        assert ours[name] == theirs[name]


def test_backend_chooses_missing_output_path(answers: dict[str, Any]) -> None:
    for name in NOWHERE:
        assert "OutputDataConfig" not in answers[name]["template"]["request"]
        assert request_of(answers[name])["OutputDataConfig"] == {"S3OutputPath": "s3://smsweep-test/jobs"}


def test_each_trial_has_separate_checkpoint_prefix(answers: dict[str, Any]) -> None:
    checkpoints = request_of(answers["everything"])["CheckpointConfig"]
    assert checkpoints["S3Uri"] == "s3://results/checkpoints/abcd1234/3"


def test_local_estimator_has_no_instance_type_and_reads_folders(answers: dict[str, Any]) -> None:
    request = answers["local"]["template"]["request"]
    assert "ResourceConfig" not in request
    assert request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] == "file:///data"


def test_role_that_sdk_cannot_resolve_is_reported(answers: dict[str, Any]) -> None:
    assert "use an ARN as the role" in answers["role by name"]["error"]


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_setting_is_refused_by_key(answers: dict[str, Any], name: str) -> None:
    assert REFUSED[name] in answers[name]["error"]
