"""`smsweep doctor`: check what sweeps need."""

from __future__ import annotations

import typer

from smsweep.cli.options import Backend, Job, Json
from smsweep.cli.output import print_json, print_result
from smsweep.services import doctor as doctor_service

EXAMPLES = """
smsweep doctor
smsweep doctor --backend docker --job job.yaml
smsweep doctor --json
"""


def doctor(job: Job = None, backend: Backend = None, as_json: Json = False) -> None:
    """Check that this machine has what sweeps need.

    Prints a fix for each problem. The exit code is 1 if something is missing that the chosen backend requires.
    With --job it also checks the image and the S3 bucket of job.yaml.
    """
    findings = doctor_service.examine(backend=backend, job=job)
    if as_json:
        print_json([finding.as_data() for finding in findings])
    else:
        for finding in findings:
            verdict = "ok" if finding.is_ok else "MISSING" if finding.is_required else "missing"
            cure = "" if finding.is_ok else f"; {finding.cure}"
            print_result(f"{verdict:<8} {finding.what}: {finding.found}{cure}")
    if any(finding.is_required and not finding.is_ok for finding in findings):
        raise typer.Exit(1)
