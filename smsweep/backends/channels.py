"""What a request says of one of its input channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smsweep.jobs import TrainingJobRequest


def s3_source(channel: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return where in S3 the channel's files lie; empty for one that is a file system."""
    source: Mapping[str, Any] = channel.get("DataSource", {}).get("S3DataSource", {})
    return source


def input_mode(request: TrainingJobRequest, channel: Mapping[str, Any]) -> str:
    """Return how the channel comes: its own InputMode, else the job's."""
    default = request.get("AlgorithmSpecification", {}).get("TrainingInputMode", "File")
    return str(channel.get("InputMode", default))
