"""Estimators of SDK 2.x as users write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.estimators.rendering import ROLE

MACHINE = {"role": ROLE, "instance_count": 1, "instance_type": "ml.m5.xlarge"}
DATA = "s3://data/train"
# Hyperparameters whose texts JSON could change.
TEXTS = {"a": "1e3", "b": "0.10", "c": "true", "d": "null", "e": True, "f": 0.1, "g": [64, "x"], "h": "007"}


def cases(source_dir: Path) -> dict[str, dict[str, Any]]:
    script = {**MACHINE, "entry_point": "train.py", "source_dir": str(source_dir), "output_path": "s3://results"}
    pytorch = {**script, "framework_version": "2.3.0", "py_version": "py311"}
    tensorflow = {**script, "framework_version": "2.13", "py_version": "py310"}
    image = {**MACHINE, "image_uri": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/own:1"}
    kmeans = {**MACHINE, "k": 10, "data_location": "s3://data/records", "output_path": "s3://results"}
    cluster = {**pytorch, "instance_type": "ml.p4d.24xlarge", "instance_count": 2}
    return {
        "Estimator": case("Estimator", {**image, "output_path": "s3://results"}),
        "PyTorch": case("PyTorch", pytorch),
        "HuggingFace": case(
            "HuggingFace",
            {
                **script,
                "instance_type": "ml.g5.xlarge",
                "transformers_version": "4.36.0",
                "pytorch_version": "2.1.0",
                "py_version": "py310",
            },
        ),
        "compiler": case(
            "HuggingFace",
            {
                **script,
                "instance_type": "ml.p3.2xlarge",
                "transformers_version": "4.21",
                "pytorch_version": "1.11",
                "py_version": "py38",
                "compiler_config": "TrainingCompilerConfig",
            },
        ),
        "words to the toolkit": case("PyTorch", {**pytorch, "hyperparameters": {"sagemaker_s3_output": None}}),
        "SKLearn": case("SKLearn", {**script, "framework_version": "1.2-1"}),
        "XGBoost": case("XGBoost", {**script, "framework_version": "1.7-1"}),
        "TensorFlow": case("TensorFlow", tensorflow),
        "model_dir": case("TensorFlow", {**tensorflow, "model_dir": "s3://results/shared"}),
        "model_dir of mpi": case(
            "TensorFlow", {**tensorflow, "distribution": {"mpi": {"enabled": True, "processes_per_host": 2}}}
        ),
        "everything": case("PyTorch", {**pytorch, **everything()}, inputs={"images": "TrainingInput"}),
        "nothing": case("PyTorch", {**pytorch, "output_path": None}, inputs=None),
        "TensorFlow without place": case("TensorFlow", {**tensorflow, "output_path": None}),
        "PyTorch after a fit": case("PyTorch", {**pytorch, "hyperparameters": {"epochs": 3}}, fitted=True),
        "TensorFlow after a fit": case(
            "TensorFlow", {**tensorflow, "hyperparameters": {"epochs": 3}}, fitted=True
        ),
        "script alone": case(
            "PyTorch", {**pytorch, "source_dir": None, "entry_point": str(source_dir / "train.py")}
        ),
        "local": case(
            "PyTorch", {**pytorch, "instance_type": "local"}, session="local", inputs={"a": "file:///data"}
        ),
        "strings": case("Estimator", {**image, "hyperparameters": {"name": "a b", "n": "7", "flag": True}}),
        "torchrun": case("PyTorch", {**cluster, "distribution": {"torch_distributed": {"enabled": True}}}),
        "role by name": case("PyTorch", {**pytorch, "role": "trainer"}),
        "no such script": case("PyTorch", {**pytorch, "entry_point": "gone.py"}),
        "source in S3": case("PyTorch", {**pytorch, "source_dir": "s3://somewhere/source.tar.gz"}),
        "dependencies": case("PyTorch", {**pytorch, "dependencies": ["lib"]}),
        "mpi on one host": case(
            "PyTorch",
            {**cluster, "instance_count": 1, "distribution": {"mpi": {"enabled": True, "processes_per_host": 8}}},
        ),
        "mpi": case("PyTorch", {**cluster, "distribution": {"mpi": {"enabled": True}}}),
        "entrypoint": case("Estimator", {**image, **script, "container_entry_point": ["bash"]}),
        "own command": case(
            "Estimator",
            {
                **image,
                "output_path": "s3://results",
                "container_entry_point": ["bash", "run.sh"],
                "container_arguments": ["--fast"],
            },
        ),
        "texts": case("Estimator", {**image, "output_path": "s3://results", "hyperparameters": TEXTS}),
        "KMeans": case("KMeans", kmeans, inputs="RecordSet"),
        "KMeans without records": case("KMeans", kmeans, inputs=None),
        "key without place": case("Estimator", {**image, "output_kms_key": "key"}),
        "profiler and no profiler": case(
            "PyTorch", {**pytorch, "disable_profiler": True, "profiler_config": "ProfilerConfig"}
        ),
        "hook without place": case("Estimator", {**image, "debugger_hook_config": "DebuggerHookConfig"}),
    }


def case(kind: str, settings: dict[str, Any], *, inputs: Any = DATA, **more: Any) -> dict[str, Any]:
    return {"class": kind, "settings": settings, "inputs": inputs, **more}


def everything() -> dict[str, Any]:
    """Return a value for each setting that affects the request."""
    return {
        "hyperparameters": {"epochs": 3, "lr": 0.5, "name": "it's; $(x)", "layers": [64, 32], "amp": True},
        "environment": {"NCCL_DEBUG": "INFO"},
        "tags": [{"Key": "team", "Value": "vision"}],
        "metric_definitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
        "use_spot_instances": True,
        "max_run": 3600,
        "max_wait": 7200,
        "checkpoint_s3_uri": "s3://results/checkpoints",
        "volume_size": 50,
        "volume_kms_key": "alias/volume",
        "output_kms_key": "alias/output",
        "subnets": ["subnet-0a1b2c3d"],
        "security_group_ids": ["sg-0a1b2c3d"],
        "encrypt_inter_container_traffic": True,
        "max_retry_attempts": 2,
        "debugger_hook_config": "DebuggerHookConfig",
        "disable_profiler": True,
        "enable_network_isolation": False,
    }
