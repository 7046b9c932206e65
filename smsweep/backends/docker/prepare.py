"""The image behind a job.yaml's `framework:`, the same here as on SageMaker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from smsweep.aws.image_uris import image_uri, machines
from smsweep.backends.docker.channels import check_channels
from smsweep.backends.local import site as local_site
from smsweep.core.job import JobTemplate, Site

ANY_REGION = "us-east-1"  # every region has the same images; this one's are for who has not chosen any


def prepare(
    template: JobTemplate, assets: Path, folder: Path, environ: Mapping[str, str], *, upload: bool
) -> tuple[JobTemplate, Site]:
    """Return the template with its image and the places of its files. See `spec.Prepare`.

    Raises:
        JobRejected: If a channel cannot be read, or AWS has no image for the framework.
    """
    check_channels(template.request)
    complete, site = local_site.prepare(template, assets, folder, environ, upload=upload)
    return with_framework_image(complete, environ), site


def with_framework_image(template: JobTemplate, environ: Mapping[str, str]) -> JobTemplate:
    """Return the template with the framework's image in its request, unless that names one.

    environ: AWS_REGION says which region's registry. Raises JobRejected for a framework that AWS has no image of.
    """
    algorithm = dict(template.request.get("AlgorithmSpecification", {}))
    if not template.framework or "TrainingImage" in algorithm:
        return template
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ANY_REGION
    algorithm["TrainingImage"] = image_uri(template.framework, region, machines(template.request))
    return replace(template, request={**template.request, "AlgorithmSpecification": algorithm})
