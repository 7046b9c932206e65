"""Job configs as a store keeps them."""

from __future__ import annotations

from smsweep.config.job_yaml import parse_job
from smsweep.jobs import JobTemplate


def load_job_text(text: str) -> JobTemplate:
    """Read a job config that was validated when its sweep was created."""
    return parse_job(text).template if text else JobTemplate()
