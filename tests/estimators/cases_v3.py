"""ModelTrainers of SDK 3.x as users write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.estimators.rendering import ROLE

DATA = [{"channel_name": "training", "data_source": "s3://data/train"}]


def cases(source_dir: Path) -> dict[str, dict[str, Any]]:
    source = {"source_dir": str(source_dir), "entry_script": "train.py"}
    image = {
        "role": ROLE,
        "training_image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/own:1",
        "compute": {"instance_type": "ml.m5.xlarge", "instance_count": 1},
        "output_data_config": {"s3_output_path": "s3://results"},
    }
    trainer = {**image, "source_code": source}
    return {
        "script": case(trainer),
        "image": case(image),
        "texts": case(
            {**image, "hyperparameters": {"a": "1e3", "b": "true", "c": True, "d": 0.1, "e": [64, "x"]}}
        ),
        "everything": {**case({**trainer, **everything(source)}), "metric_definitions": METRICS},
        "named inputs": case(trainer, inputs={"images": "s3://data/images", "labels": str(source_dir)}),
        "one input": case(trainer, inputs="s3://data/train"),
        "own and given inputs": case(
            {**trainer, "input_data_config": [{"channel_name": "training", "data_source": "s3://data/old"}]}
        ),
        "checkpoints anywhere": case({**trainer, "checkpoint_config": {"local_path": "/opt/ml/mine"}}),
        "inputs on this machine": case(
            trainer, inputs=[{"channel_name": "training", "data_source": str(source_dir)}]
        ),
        "no such script": case({**trainer, "source_code": {"source_dir": "s3://somewhere/", "command": "true"}}),
        "source in S3": case({**trainer, "source_code": {**source, "source_dir": "s3://somewhere/source.tar.gz"}}),
        "command": case({**trainer, "source_code": {"source_dir": str(source_dir), "command": "make train"}}),
        "requirements in another folder": case(
            {**trainer, "source_code": {**source, "requirements": "deep/gpu.txt"}}
        ),
        "patterns": case({**trainer, "source_code": {**source, "ignore_patterns": ["*.bin", ".git"]}}),
        "torchrun": case({**trainer, "distributed": {"process_count_per_node": 8}}),
        "mpi": {**case(trainer), "mpi": True},
    }


METRICS = [{"name": "loss", "regex": "loss=([0-9.]+)"}]


def case(settings: dict[str, Any], *, inputs: Any = DATA) -> dict[str, Any]:
    return {"settings": settings, "inputs": inputs}


def everything(source: dict[str, Any]) -> dict[str, Any]:
    """Return a value for each setting that affects the request."""
    return {
        "source_code": {**source, "requirements": "requirements.txt"},
        "hyperparameters": {
            "epochs": 3,
            "lr": 0.5,
            "name": "it's; $(x)",
            "digits": "007",
            "n": "7",
            "opt.beta": 0.9,
        },
        "environment": {"NCCL_DEBUG": "INFO"},
        "tags": [{"key": "team", "value": "vision"}],
        "compute": {
            "instance_type": "ml.m5.xlarge",
            "instance_count": 1,
            "volume_size_in_gb": 50,
            "enable_managed_spot_training": True,
        },
        "stopping_condition": {"max_runtime_in_seconds": 3600, "max_wait_time_in_seconds": 7200},
        "networking": {"subnets": ["subnet-0a1b2c3d"], "security_group_ids": ["sg-0a1b2c3d"]},
        "checkpoint_config": {"s3_uri": "s3://results/checkpoints"},
        "output_data_config": {"s3_output_path": "s3://results", "kms_key_id": "alias/output"},
    }
