"""CreateTrainingJob request of an agent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from smsweep.aws.image_uris import image_uri
from smsweep.aws.request_model import validate
from smsweep.config_files.code_consent import ALLOW
from smsweep.core.job import RUNTIME_CHANNEL, RUNTIME_ZIP, TAG_SWEEP, JobTemplate, Site
from smsweep.errors import UsageError
from smsweep.remote.record import JOB
from smsweep.runtime.job.secrets import PREFIX as SECRET_PREFIX
from smsweep.store.db_errors import has_password

TAG_AGENT = "smsweep:agent"
PROGRAM = "agent.py"
INSTANCE_TYPE = "ml.t3.medium"  # 2 vCPU, 4 GiB; an agent with 1,000 slots uses a tenth of a vCPU
MAX_RUN_S = 432_000  # API: longest run time without a higher quota: five days
VOLUME_GB = 10
RESTARTS = 30  # API: maximum of RetryStrategy, after internal errors of SageMaker
# Default image of agents: an AWS image with a Python version that smsweep supports.
IMAGE = {"framework": "pytorch", "framework_version": "2.5.1", "py_version": "py311"}
COPIED_PREFIX = "SMSWEEP_SAGEMAKER_"  # prefix of variables that configure the access to AWS
DEADLINE = "SMSWEEP_AGENT_MAX_RUN"


def request(
    sweep_id: str,
    name: str,
    template: JobTemplate,
    site: Site,
    arguments: Mapping[str, Any],
    environ: Mapping[str, str],
    region: str,
) -> dict[str, Any]:
    """Return the CreateTrainingJob request of an agent.

    Args:
        sweep_id: The sweep.
        name: Name of the training job.
        template: The complete job template of the sweep. Its `agent` has the settings of the agent's job.
        site: S3 locations of the agent's source and output.
        arguments: Arguments of agent.py by name.
        environ: Environment variables of the user.
        region: AWS region.

    Raises:
        JobRejected: If SageMaker does not accept the request.
        UsageError: If SMSWEEP_STORE has a password.
    """
    agent, own = template.agent, template.request
    max_run_s = int(agent.get("max_run", MAX_RUN_S))
    instance_type = str(agent.get("instance_type", INSTANCE_TYPE))
    volume_key = own.get("ResourceConfig", {}).get("VolumeKmsKeyId")
    output = {"S3OutputPath": own.get("OutputDataConfig", {}).get("S3OutputPath", site.output_uri)}
    if "KmsKeyId" in own.get("OutputDataConfig", {}):
        output["KmsKeyId"] = own["OutputDataConfig"]["KmsKeyId"]
    stopping = {"MaxRuntimeInSeconds": max_run_s}
    if agent.get("use_spot_instances"):
        stopping["MaxWaitTimeInSeconds"] = max_run_s
    result = {
        "TrainingJobName": name,
        "RoleArn": agent.get("role", own["RoleArn"]),
        "AlgorithmSpecification": {
            "TrainingImage": agent.get("image_uri") or image_uri(IMAGE, region, [instance_type]),
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", f"/opt/ml/input/data/{RUNTIME_CHANNEL}/{RUNTIME_ZIP}"],
            "ContainerArguments": ["--install-requirements", "--say-end"],
        },
        "HyperParameters": {
            "sagemaker_program": json.dumps(PROGRAM),
            **{key: json.dumps(value) for key, value in arguments.items() if value is not None},
        },
        "InputDataConfig": [
            {
                "ChannelName": RUNTIME_CHANNEL,
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": site.assets_uri + "/",
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
        ],
        "OutputDataConfig": output,
        "ResourceConfig": {
            "InstanceType": instance_type,
            "InstanceCount": 1,
            "VolumeSizeInGB": VOLUME_GB,
            **({"VolumeKmsKeyId": volume_key} if volume_key else {}),
        },
        "StoppingCondition": stopping,
        "EnableManagedSpotTraining": bool(agent.get("use_spot_instances", False)),
        "RetryStrategy": {"MaximumRetryAttempts": RESTARTS},
        "Environment": {**_environment(template, environ), JOB: name, DEADLINE: str(max_run_s)},
        "Tags": [*own.get("Tags", ()), {"Key": TAG_SWEEP, "Value": sweep_id}, {"Key": TAG_AGENT, "Value": name}],
        **({"VpcConfig": own["VpcConfig"]} if "VpcConfig" in own else {}),
    }
    validate(result)
    return result


def _environment(template: JobTemplate, environ: Mapping[str, str]) -> dict[str, str]:
    copied = {name: value for name, value in environ.items() if name.startswith(COPIED_PREFIX)}
    if environ.get(ALLOW):
        copied[ALLOW] = environ[ALLOW]
    if reference := template.agent.get("store"):
        return {**copied, f"{SECRET_PREFIX}SMSWEEP_STORE": reference}
    store = environ.get("SMSWEEP_STORE", "")
    if store and has_password(sa.make_url(store)):
        raise UsageError(
            "SMSWEEP_STORE has a password, which DescribeTrainingJob of the agent's job shows; put the URL into "
            "Secrets Manager, and set its ARN in job.yaml: agent: {store: arn:aws:secretsmanager:...}"
        )
    return {**copied, "SMSWEEP_STORE": store} if store else copied
