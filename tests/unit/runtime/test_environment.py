"""Tests of the environment of a script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smsweep.runtime.job.script_environment import ParamFiles, script_environment
from smsweep.runtime.job.sm_variables import Resources, user_args
from smsweep.runtime.job.trial_document import Assignment, read_assignment
from smsweep.runtime.opt_ml_layout import Layout
from tests.unit.runtime.jobs import Job

LAYOUT = Layout("/ml")
FILES = ParamFiles("/ml/smsweep", "config")
GROUP = {
    "instance_group_name": "homogeneousCluster",
    "instance_type": "ml.m5.large",
    "hosts": ["algo-1", "algo-2"],
}
RESOURCES = Resources(
    resource_config={
        "current_host": "algo-2",
        "hosts": ["algo-1", "algo-2"],
        "network_interface_name": "eth0",
        "current_instance_type": "ml.m5.large",
        "current_group_name": "homogeneousCluster",
        "instance_groups": [GROUP],
    },
    input_data_config={"train": {"TrainingInputMode": "File"}, "Test": {}},
    num_cpus=4,
    num_gpus=1,
)
PARAMS = {"lr": 1e-5, "opt": {"name": "adam", "m": None}, "flag": True, "n": None, "x": [64, 32]}


def environment(base: dict[str, str] | None = None, **trial: Any) -> dict[str, str]:
    assignment = Assignment(params=PARAMS, program="train.py", **trial)
    return script_environment(LAYOUT, assignment, RESOURCES, FILES, base or {"HOME": "/nowhere"})


def in_sweep(base: dict[str, str] | None = None) -> dict[str, str]:
    return environment(
        base, sweep_id="Ab_1", number=3, attempt=2, project="digits", entity="team", name="digits-3"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SM_HPS", '{"flag":true,"lr":1e-05,"n":null,"opt":{"m":null,"name":"adam"},"x":[64,32]}'),
        ("SM_HP_LR", "1e-05"),
        ("SM_HP_OPT", '{"m":null,"name":"adam"}'),
        ("SM_HP_FLAG", "true"),
        ("SM_HP_N", ""),
        ("SM_USER_ARGS", '["--flag","True","--lr","1e-05","-n","","--opt","m=None,name=adam","-x","[64, 32]"]'),
        ("SM_CHANNELS", '["Test","train"]'),
        ("SM_CHANNEL_TRAIN", "/ml/input/data/train"),
        ("SM_CHANNEL_TEST", "/ml/input/data/Test"),
        ("SM_MODEL_DIR", "/ml/model"),
        ("SM_MODULE_DIR", "/ml/code"),
        ("SM_MODULE_NAME", "train"),
        ("SM_USER_ENTRY_POINT", "train.py"),
        ("SM_INPUT_DIR", "/ml/input"),
        ("SM_INPUT_CONFIG_DIR", "/ml/input/config"),
        ("SM_OUTPUT_DIR", "/ml/output"),
        ("SM_OUTPUT_DATA_DIR", "/ml/output/data"),
        ("SM_DISTRIBUTION_INSTANCE_GROUPS", "[]"),
        ("CURRENT_HOST", "algo-2"),
        ("SAGEMAKER_JOB_NAME", ""),
        ("SAGEMAKER_REGION", ""),
        ("SMSWEEP_NODE_RANK", "1"),
        ("SM_HOSTS", '["algo-1","algo-2"]'),
        ("SM_CURRENT_HOST", "algo-2"),
        ("SM_CURRENT_INSTANCE_TYPE", "ml.m5.large"),
        ("SM_CURRENT_INSTANCE_GROUP_HOSTS", '["algo-1","algo-2"]'),
        ("SM_INSTANCE_GROUPS", '["homogeneousCluster"]'),
        ("SM_IS_HETERO", "false"),
        ("SM_NUM_CPUS", "4"),
        ("SM_NUM_GPUS", "1"),
        ("SM_NUM_NEURONS", "0"),
        ("SM_LOG_LEVEL", "20"),
        ("SM_FRAMEWORK_MODULE", ""),
        ("SM_FRAMEWORK_PARAMS", "{}"),
    ],
)
def test_sm_variables_equal_those_of_aws_toolkit(name: str, value: str) -> None:
    assert environment()[name] == value


def test_folder_that_nothing_uploads_has_no_variable() -> None:
    assert "SM_OUTPUT_INTERMEDIATE_DIR" not in environment()
    assert "output_intermediate_dir" not in json.loads(environment()["SM_TRAINING_ENV"])


def test_platform_hyperparameters_set_region_and_job_name() -> None:
    platform = {"sagemaker_region": "eu-west-1", "sagemaker_job_name": "shown"}
    env = environment({"HOME": "/nowhere", "AWS_REGION": "us-east-1"}, platform=platform)
    assert (env["SAGEMAKER_REGION"], env["SAGEMAKER_JOB_NAME"]) == ("eu-west-1", "shown")
    assert environment({"HOME": "/nowhere", "AWS_REGION": "us-east-1"})["SAGEMAKER_REGION"] == "us-east-1"


@pytest.mark.parametrize(
    "platform",
    [
        {"sagemaker_distribution_instance_groups": ["homogeneousCluster"]},
        {"sagemaker_torch_distributed_enabled": True},
    ],
)
def test_instance_groups_of_the_distribution_are_in_variables(platform: dict[str, Any]) -> None:
    env = environment(platform=platform)
    assert env["SM_DISTRIBUTION_INSTANCE_GROUPS"] == '["homogeneousCluster"]'
    assert json.loads(env["SM_TRAINING_ENV"])["distribution_hosts"] == ["algo-1", "algo-2"]


def test_missing_network_interface_is_not_added_to_the_resource_config() -> None:
    resources = Resources(
        resource_config={"current_host": "algo-1", "hosts": ["algo-1"]}, input_data_config={}, num_cpus=1
    )
    assignment = Assignment(params={}, program="train.py")
    env = script_environment(LAYOUT, assignment, resources, FILES, {"HOME": "/nowhere"})
    assert env["SM_RESOURCE_CONFIG"] == '{"current_host":"algo-1","hosts":["algo-1"]}'
    assert env["SM_NETWORK_INTERFACE_NAME"] == "eth0"


def test_hyperparameter_without_a_name_is_an_argument_without_dashes() -> None:
    assert user_args({"": 1, "x": 2}) == ["", "1", "-x", "2"]


def test_sm_training_env_has_typed_params() -> None:
    training_env = json.loads(environment({"HOME": "/nowhere", "TRAINING_JOB_NAME": "job-1"})["SM_TRAINING_ENV"])
    assert training_env["hyperparameters"] == PARAMS
    assert (training_env["job_name"], training_env["is_master"]) == ("job-1", False)


def test_trial_variables_are_set_for_script_and_wandb() -> None:
    env = in_sweep()
    named = {name: env[name] for name in env if name.startswith(("SMSWEEP", "WANDB"))}
    assert named == {
        "SMSWEEP_ML_ROOT": "/ml",
        "SMSWEEP_NODE_RANK": "1",
        "SMSWEEP_PARAMS_FILE": "/ml/smsweep/config.json",
        "SMSWEEP_SWEEP_ID": "Ab_1",
        "SMSWEEP_TRIAL": "3",
        "SMSWEEP_ATTEMPT": "2",
        "SMSWEEP_NAME": "digits-3",
        "WANDB_RUN_ID": "ab-1-3",
        "WANDB_SWEEP_PARAM_PATH": "/ml/smsweep/config.yaml",
        "WANDB_RUN_GROUP": "Ab_1",
        "WANDB_NAME": "digits-3",
        "WANDB_PROJECT": "digits",
        "WANDB_ENTITY": "team",
        "WANDB_RESUME": "allow",
        "WANDB_MODE": "offline",
        "WANDB_DIR": "/ml/output/data",
        "WANDB_SAGEMAKER_DISABLE": "true",
    }


def test_wandb_variables_are_not_set_outside_a_sweep() -> None:
    names = {name for name in environment() if name.startswith("WANDB")}
    assert names == {"WANDB_DIR", "WANDB_SAGEMAKER_DISABLE"}


def test_variables_of_the_user_are_kept() -> None:
    chosen = {
        "WANDB_PROJECT": "mine",
        "WANDB_DIR": "/d",
        "WANDB_MODE": "disabled",
        "WANDB_RUN_GROUP": "g",
        "PYTHONUNBUFFERED": "0",
    }
    env = in_sweep(chosen)
    assert {name: env[name] for name in chosen} == chosen


def test_inherited_run_and_sweep_ids_are_removed() -> None:
    leaked = {"WANDB_RUN_ID": "other", "WANDB_SWEEP_ID": "other", "WANDB_SERVICE": "2-1-tcp", "HOME": "/nowhere"}
    env = in_sweep(leaked)
    assert (env["WANDB_RUN_ID"], "WANDB_SWEEP_ID" in env, "WANDB_SERVICE" in env) == ("ab-1-3", False, False)


@pytest.mark.parametrize("base", [{"WANDB_API_KEY": "k"}, {"WANDB_MODE": "online"}])
def test_wandb_is_online_with_a_key(base: dict[str, str]) -> None:
    assert in_sweep({"HOME": "/nowhere", **base}).get("WANDB_MODE") == base.get("WANDB_MODE")


@pytest.mark.parametrize(
    ("machine", "mode"),
    [("api.wandb.ai", None), ("wandb.corp.example", "offline"), ("ftp.example.org", "offline")],
)
def test_wandb_is_online_with_a_netrc_entry_for_its_server(machine: str, mode: str | None, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text(f"machine {machine}\n  login user\n  password 123\n")
    assert in_sweep({"HOME": str(tmp_path)}).get("WANDB_MODE") == mode


def test_netrc_entry_must_match_wandb_base_url(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("machine wandb.corp.example login user password 123")
    base = {"NETRC": str(tmp_path / "keys"), "WANDB_BASE_URL": "https://wandb.corp.example:8080/x"}
    assert "WANDB_MODE" not in in_sweep(base)


def test_smsweep_channel_is_hidden_from_the_script(job: Job) -> None:
    (job.ml / "input/config/inputdataconfig.json").write_text('{"train": {}, "smsweep": {}}')
    job.trial({"train.py": "import os; print(os.environ['SM_CHANNELS'], 'SM_CHANNEL_SMSWEEP' in os.environ)"})
    assert job.run().out == '["train"] False\n'


def test_runtime_and_source_come_first_on_pythonpath(job: Job) -> None:
    job.environ["PYTHONPATH"] = "/mine"
    job.trial({"train.py": "import os; print(os.environ['PYTHONPATH'])"})
    assert job.run().out == f"{job.channel}/runtime.zip:{job.ml}/code:/mine\n"


def test_editable_install_is_imported_from_the_source(job: Job, tmp_path: Path) -> None:
    for name in ("lab/src", "elsewhere"):  # as `pip install -e` and PYTHONPATH put them on the path
        (tmp_path / name / "pack").mkdir(parents=True)
        (tmp_path / name / "pack" / "__init__.py").write_text("NOW = 'the working copy'")
    job.environ["PYTHONPATH"] = f"{tmp_path}/lab/src:{tmp_path}/elsewhere"
    job.environ["SMSWEEP_STARTED_IN"] = f"{tmp_path}/lab"
    job.trial({"train.py": "import pack; print(pack.NOW)", "src/pack/__init__.py": "NOW = 'the snapshot'"})
    assert job.run().out == "the snapshot\n"


def test_script_in_a_folder_imports_modules_of_the_source(job: Job) -> None:
    files = {"tools/train.py": "import model.net; print(model.net.DEPTH)", "model/net.py": "DEPTH = 3"}
    job.trial(files, program="tools/train.py")
    assert job.run().out == "3\n"


def test_folder_with_a_colon_works_on_pythonpath(tmp_path: Path) -> None:
    job = Job(tmp_path / "at 12:30")
    script = "import smsweep, model.net; print('runtime.zip' in smsweep.__file__, model.net.DEPTH)"
    job.trial({"tools/train.py": script, "model/net.py": "DEPTH = 3"}, program="tools/train.py")
    assert job.run().out == "True 3\n"


def test_platform_hyperparameters_are_not_params() -> None:
    assignment = read_assignment(
        {"lr": "0.1", "sagemaker_program": '"t.py"', "_tuning_objective_metric": "loss", "sagemaker_mpi": "true"}
    )
    assert (assignment.params, assignment.program) == ({"lr": 0.1}, "t.py")


def test_too_large_param_is_only_in_the_file(job: Job) -> None:
    script = (
        "import os, smsweep; print('SM_HP_TEXT' in os.environ, os.environ['SM_HP_LR'], len(smsweep.config.text))"
    )
    job.trial({"train.py": script}, {"text": "x" * 200_000, "lr": 1}, command=["python", "train.py"])
    assert job.run().out == "False 1 200000\n"


def test_param_with_invalid_variable_name_is_left_out(job: Job) -> None:
    job.trial({"train.py": "print('ran')"}, {"a=b": 1})
    assert job.run().out == "ran\n"
