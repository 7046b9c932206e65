"""The machine of a job, and the `SM_*` variables of AWS's sagemaker-training toolkit (5.1), which scripts read.

Hyperparameters are the trial's params, not the strings that carry them in the request. SM_OUTPUT_INTERMEDIATE_DIR
is missing, because only the toolkit uploads that folder.
"""

from __future__ import annotations

import functools
import json
import os
import re

from smsweep.runtime.job.failure import JobFailure
from smsweep.runtime.opt_ml_layout import CHANNEL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from smsweep.runtime.job.trial_document import Assignment
    from smsweep.runtime.opt_ml_layout import Layout

_to_json = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
NODE_RANK = "SMSWEEP_NODE_RANK"  # number of this host, from 0; see core/distributed_launch.py
LOG_LEVEL = 20  # logging.INFO, the toolkit's default
KNOWN_PLATFORM = (  # hyperparameters that the toolkit reads; the rest of `sagemaker_*` is for frameworks
    "sagemaker_program",
    "sagemaker_submit_directory",
    "sagemaker_enable_cloudwatch_metrics",
    "sagemaker_region",
    "sagemaker_container_log_level",
    "sagemaker_job_name",
    "sagemaker_s3_output",
    "default_user_module_name",
    "_tuning_objective_metric",
)
SINGLE_HOST = {"current_host": "algo-1", "hosts": ["algo-1"]}
NETWORK_INTERFACE = "eth0"
LAUNCHES = (  # hyperparameters that make the toolkit start the script on all hosts of the instance group
    "sagemaker_mpi_enabled",
    "sagemaker_parameter_server_enabled",
    "sagemaker_distributed_dataparallel_enabled",
    "sagemaker_pytorch_ddp_enabled",
    "sagemaker_pytorch_xla_multi_worker_enabled",
    "sagemaker_multi_worker_mirrored_strategy_enabled",
    "sagemaker_torch_distributed_enabled",
)
_GPU = re.compile(r"nvidia\d+")  # device files; a container has only those that it may use
_NEURON = re.compile(r"neuron\d+")


class Resources:
    """The content of `input/config`, and the CPUs and accelerators of this host."""

    def __init__(
        self,
        *,
        resource_config: dict[str, Any],  # resourceconfig.json, or its equivalent for a job on one host
        input_data_config: dict[str, Any],  # inputdataconfig.json without smsweep's own channel
        num_cpus: int,
        num_gpus: int = 0,
        num_neurons: int = 0,
    ) -> None:
        self.resource_config = resource_config
        self.input_data_config = input_data_config
        self.num_cpus = num_cpus
        self.num_gpus = num_gpus
        self.num_neurons = num_neurons


def find_resources(layout: Layout) -> Resources:
    """Return the resources of this job.

    Raises:
        JobFailure: If a file of `input/config` cannot be read.
    """
    channels = read_json(layout.input_data_config)
    channels.pop(CHANNEL, None)
    devices = device_names()
    config = read_json(layout.resource_config)
    return Resources(
        resource_config={**SINGLE_HOST, **config},
        input_data_config=channels,
        num_cpus=config.get("num_cpus", os.cpu_count() or 1),  # of a trial with `resources_per_trial`
        num_gpus=config.get("num_gpus", sum(1 for name in devices if _GPU.fullmatch(name))),
        num_neurons=sum(1 for name in devices if _NEURON.fullmatch(name)),
    )


def read_json(path: str) -> dict[str, Any]:
    """Return the JSON object in a file of `input/config`; {} if the file is missing, as outside SageMaker.

    Raises:
        JobFailure: If the file cannot be read, or is not a JSON object.
    """
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as err:
        raise JobFailure(f"{path}: cannot be read as JSON: {err}") from err
    if not isinstance(document, dict):
        raise JobFailure(f"{path}: expected a JSON object, got {type(document).__name__}")
    return document


@functools.lru_cache(maxsize=None)
def device_names() -> list[str]:
    """Return the names in /dev at the first call. Cached: listing is slow, and a job's devices do not change."""
    try:
        return os.listdir("/dev")
    except OSError:
        return []


def sm_variables(layout: Layout, assignment: Assignment, resources: Resources, job_name: str) -> dict[str, str]:
    """Return the variables by name. Lists and objects are compact JSON (sorted keys), None is an empty string."""
    config = resources.resource_config
    program = assignment.program
    interface = config.get("network_interface_name", NETWORK_INTERFACE)
    channels = {name: layout.channel(name) for name in resources.input_data_config}
    groups = config.get("instance_groups") or []
    group_name = config.get("current_group_name", "homogeneousCluster")
    distributed = _distribution_groups(assignment, group_name)
    # smsweep's own launch uses all hosts, and needs no hyperparameter of the toolkit.
    own_hosts = [
        host for group in groups if group["instance_group_name"] in distributed for host in group["hosts"]
    ]
    distribution_hosts = own_hosts or config["hosts"]
    shared: dict[str, Any] = {  # in both the variables and SM_TRAINING_ENV
        "current_host": config["current_host"],
        "current_instance_group": group_name,
        "current_instance_group_hosts": next(
            (group["hosts"] for group in groups if group["instance_group_name"] == group_name), []
        ),
        "current_instance_type": config.get("current_instance_type", "local"),
        "distribution_instance_groups": distributed,
        "framework_module": None,
        "hosts": config["hosts"],
        "input_config_dir": layout.config,
        "input_data_config": resources.input_data_config,
        "input_dir": layout.input,
        "instance_groups": [group["instance_group_name"] for group in groups],
        "instance_groups_dict": {group["instance_group_name"]: group for group in groups},
        "is_hetero": len(groups) > 1,
        "log_level": assignment.platform.get("sagemaker_container_log_level", LOG_LEVEL),
        "model_dir": layout.model,
        "module_dir": layout.local_path(str(assignment.platform.get("sagemaker_submit_directory", layout.code))),
        "module_name": program[:-3] if program and program.endswith(".py") else program,
        "network_interface_name": interface,
        "num_cpus": resources.num_cpus,
        "num_gpus": resources.num_gpus,
        "num_neurons": resources.num_neurons,
        "output_data_dir": layout.output_data,
        "output_dir": layout.output,
        "resource_config": config,
    }
    training_env = {
        **shared,
        "additional_framework_parameters": _framework_params(assignment),
        "channel_input_dirs": channels,
        "distribution_hosts": distribution_hosts,
        "hyperparameters": assignment.params,
        "is_master": config["current_host"] == distribution_hosts[0],
        "job_name": job_name,
        "master_hostname": distribution_hosts[0],
        "user_entry_point": program,
    }
    named = {
        **shared,
        "channels": sorted(channels),
        "framework_params": _framework_params(assignment),
        "hps": assignment.params,
        "training_env": training_env,
        "user_args": user_args(assignment.params),
        "user_entry_point": program,
        **{f"channel_{name}": path for name, path in channels.items()},
        **{f"hp_{name}": value for name, value in assignment.params.items()},
    }
    return {f"SM_{name.upper()}": _text(value) for name, value in named.items()}


def user_args(params: Mapping[str, Any]) -> list[str]:
    """Return the arguments that AWS's toolkit passes to a script: sorted by name, `-x` for a one-letter name."""
    args: list[str] = []
    for name in sorted(params):
        value = params[name]
        if isinstance(value, dict):
            value = ",".join(f"{key}={value[key]}" for key in sorted(value))
        dashes = "--" if len(name) > 1 else "-" if name else ""
        args += [dashes + name, "" if value is None else str(value)]
    return args


def platform_variables(assignment: Assignment, resources: Resources, base: Mapping[str, str]) -> dict[str, str]:
    """Return the variables without the prefix `SM_` that AWS's toolkit sets, and the rank of this host.

    Args:
        assignment: The trial.
        resources: The hosts of the job.
        base: The job's own environment, with its region.
    """
    config = resources.resource_config
    region = base.get("AWS_DEFAULT_REGION") or base.get("AWS_REGION") or ""
    return {
        "CURRENT_HOST": config["current_host"],
        "SAGEMAKER_REGION": str(assignment.platform.get("sagemaker_region") or region),
        "SAGEMAKER_JOB_NAME": str(assignment.platform.get("sagemaker_job_name") or ""),
        NODE_RANK: str(_rank(config["hosts"], config["current_host"])),
    }


def _rank(hosts: Sequence[str], host: str) -> int:
    return hosts.index(host) if host in hosts else 0


def _distribution_groups(assignment: Assignment, group_name: str) -> list[str]:
    """Return the instance groups on which AWS's toolkit starts the script."""
    named = assignment.platform.get("sagemaker_distribution_instance_groups")
    if named is not None:
        return [str(name) for name in named] if isinstance(named, list) else [str(named)]
    return [group_name] if any(assignment.platform.get(name) for name in LAUNCHES) else []


def _framework_params(assignment: Assignment) -> dict[str, Any]:
    return {name: value for name, value in assignment.platform.items() if name not in KNOWN_PLATFORM}


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _to_json(value)
