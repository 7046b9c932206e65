"""The training job that an agent is: its request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from smsweep.aws.image_uris import image_uri
from smsweep.aws.request_check import validate
from smsweep.config_files.code_consent import ALLOW
from smsweep.core.job import RUNTIME_CHANNEL, RUNTIME_ZIP, TAG_SWEEP, JobTemplate, Site
from smsweep.errors import UsageError
from smsweep.remote.record import JOB
from smsweep.runtime.job.secrets import PREFIX as SECRET_PREFIX
from smsweep.store.db_errors import has_password

TAG_AGENT = "smsweep:agent"
PROGRAM = "agent.py"
INSTANCE_TYPE = "ml.t3.medium"  # 2 vCPU, 4 GiB: an agent of a thousand slots needs a tenth of one
MAX_RUN_S = 432_000  # API: the most an account may ask for without raising a quota: five days
VOLUME_GB = 10
RESTARTS = 30  # API: the most that RetryStrategy takes; after trouble of SageMaker's own
# Any of AWS's own images with a Python that smsweep runs on, where job.yaml names no other for its agent.
IMAGE = {"framework": "pytorch", "framework_version": "2.5.1", "py_version": "py311"}
HANDED_ON = "SMSWEEP_SAGEMAKER_"  # variables that begin so say how we talk to AWS
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

    template: the sweep's, complete; its `agent` says how this job differs. site: of the agent's own source.
    arguments: of agent.py, by name. Raises JobRejected for what AWS would refuse.
    """
    agent, own = template.agent, template.request
    max_run_s = int(agent.get("max_run", MAX_RUN_S))
    machine = str(agent.get("instance_type", INSTANCE_TYPE))
    volume_key = own.get("ResourceConfig", {}).get("VolumeKmsKeyId")
    output = {"S3OutputPath": own.get("OutputDataConfig", {}).get("S3OutputPath", site.output_uri)}
    if "KmsKeyId" in own.get("OutputDataConfig", {}):
        output["KmsKeyId"] = own["OutputDataConfig"]["KmsKeyId"]
    stopping = {"MaxRuntimeInSeconds": max_run_s}
    if agent.get("use_spot_instances"):
        stopping["MaxWaitTimeInSeconds"] = max_run_s
    made = {
        "TrainingJobName": name,
        "RoleArn": agent.get("role", own["RoleArn"]),
        "AlgorithmSpecification": {
            "TrainingImage": agent.get("image_uri") or image_uri(IMAGE, region, [machine]),
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
            "InstanceType": machine,
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
    validate(made)
    return made


def _environment(template: JobTemplate, environ: Mapping[str, str]) -> dict[str, str]:
    handed = {name: value for name, value in environ.items() if name.startswith(HANDED_ON)}
    if environ.get(ALLOW):
        handed[ALLOW] = environ[ALLOW]
    if reference := template.agent.get("store"):
        return {**handed, f"{SECRET_PREFIX}SMSWEEP_STORE": reference}
    store = environ.get("SMSWEEP_STORE", "")
    if store and has_password(sa.make_url(store)):
        raise UsageError(
            "SMSWEEP_STORE has a password in it, which whoever may describe the agent's job could read; keep the "
            "URL in Secrets Manager, and say where in job.yaml: agent: {store: arn:aws:secretsmanager:...}"
        )
    return {**handed, "SMSWEEP_STORE": store} if store else handed
