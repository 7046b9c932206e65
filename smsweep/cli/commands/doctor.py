"""`smsweep doctor`: is everything there that sweeps need?"""

from __future__ import annotations

import typer

from smsweep.cli.options import Backend, Job, Json
from smsweep.cli.output import answer, answer_json
from smsweep.services import doctor as doctor_service

EXAMPLES = """
smsweep doctor
smsweep doctor --backend docker --job job.yaml
smsweep doctor --json
"""


def doctor(job: Job = None, backend: Backend = None, as_json: Json = False) -> None:
    """Check what sweeps need on this machine.

    And say how to get what is missing. Exit code 1 when something required is missing: what --backend needs, not
    what another would need. With --job its image and its bucket in S3 are looked at.
    """
    findings = doctor_service.examine(backend=backend, job=job)
    if as_json:
        answer_json([finding.as_data() for finding in findings])
    else:
        for finding in findings:
            verdict = "ok" if finding.is_ok else "MISSING" if finding.is_required else "missing"
            cure = "" if finding.is_ok else f"; {finding.cure}"
            answer(f"{verdict:<8} {finding.what}: {finding.found}{cure}")
    if any(finding.is_required and not finding.is_ok for finding in findings):
        raise typer.Exit(1)
