"""The report of a run of `smsweep verify` as JSON and Markdown, and the page that lists all published reports."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, get_type_hints

from smsweep._version import __version__
from smsweep.core.json_documents import VerificationDocument, VerifiedCheckDocument
from smsweep.errors import UsageError
from smsweep.services.verify.assumption import DIFFERENT, UNKNOWN, Assumption, Result, expected_text
from smsweep.services.verify.run_state import FOLDER
from smsweep.services.verify.runner import CHECKS, Verification
from smsweep.services.verify.session import AWS, Facts
from smsweep.services.workspace import Workspace
from smsweep.util.atomic_file import write_text
from smsweep.util.clock import utc_now

BY_ID = {check.id: check for check in CHECKS}
TITLES = {
    "sagemaker": "SageMaker",
    "batch": "AWS Batch",
    "docker": "Docker",
    "process": "process",
    "slurm": "SLURM",
}


def document_of(done: Verification) -> VerificationDocument:
    """Return the report of a run as data. Account ids, bucket and role are masked."""
    facts = done.facts
    return {
        "run": done.state.run,
        "date": utc_now().date().isoformat(),
        "started_at": done.state.started_at,
        "smsweep": __version__,
        "python": platform.python_version(),
        "backend": facts.backend,
        "place": facts.place,
        "region": facts.region,
        "instance_type": facts.instance_type,
        "usd": round(done.state.total_usd, 4),
        "counts": dict(Counter(result.verdict for result in done.results)),
        "checks": [_check(result, facts) for result in done.results],
        "remains": len(done.remains),
    }


def _check(result: Result, facts: Facts) -> VerifiedCheckDocument:
    check = BY_ID[result.id]
    expected = {name: expected_text(value) for name, value in check.expected_by(facts).items()}
    return {
        "id": check.id,
        "assumption": check.statement,
        "verdict": result.verdict,
        "expected": expected,
        "observed": dict(result.observed),
        "differences": list(result.differences),
        "reason": result.reason,
        "file": _file(check, facts),
        "usd": round(result.usd, 4),
    }


def _file(check: Assumption, facts: Facts) -> str:
    """Return the file to change if the observed behavior differs."""
    return check.file if facts.region else f"smsweep/backends/{facts.backend}"


def markdown(document: VerificationDocument) -> str:
    """Return the report as Markdown."""
    backend = TITLES.get(document["backend"], document["backend"])
    where = document["place"] + (
        f", {document['region']}, {document['instance_type']}" if document["region"] else ""
    )
    counts = ", ".join(f"{n} {verdict}" for verdict, n in sorted(document["counts"].items()))
    lines = [
        f"# Verification of {backend}, {document['date']}",
        "",
        f"`smsweep verify --backend {document['backend']}`, run {document['run']}",
        "",
        f"* Where: {where}",
        f"* smsweep {document['smsweep']}, Python {document['python']}",
        f"* Cost: at most ${document['usd']:.2f}",
        f"* Result: {counts}",
        "",
        "| check | verdict | assumption |",
        "|---|---|---|",
        *(f"| {each['id']} | {each['verdict']} | {each['assumption']} |" for each in document["checks"]),
        "",
    ]
    for each in document["checks"]:
        lines += _details(each, document)
    return "\n".join(lines)


def _details(check: VerifiedCheckDocument, document: VerificationDocument) -> list[str]:
    lines = [f"## {check['id']}: {check['verdict']}", "", check["assumption"], ""]
    if check["reason"]:
        lines += [f"No verdict: {check['reason']}", ""]
    if check["observed"]:
        lines += ["| field | expected | observed |", "|---|---|---|"]
        names = dict.fromkeys([*check["expected"], *check["observed"]])
        for name in names:
            mark = " (different)" if name in check["differences"] else ""
            expected = _cell(check["expected"][name]) if name in check["expected"] else ""
            lines.append(f"| {name}{mark} | {expected} | {_cell(check['observed'].get(name))} |")
        lines.append("")
    if check["verdict"] == DIFFERENT:
        answered = "AWS" if document["place"] == AWS else document["place"]
        lines += [f"The answer of {answered} differs. Change `{check['file']}`.", ""]
    return lines


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    text = text.replace("\n", " ").replace("|", "\\|").replace("`", "'")
    return f"`{text}`" if text else '`""`'


def write(document: VerificationDocument, folder: Path) -> tuple[Path, Path]:
    """Write a report as Markdown and JSON, and return both paths.

    Args:
        document: The report.
        folder: An existing folder.

    Raises:
        UsageError: If the files cannot be written.
    """
    name = f"{document['date']}-{document['backend']}-{document['run']}"
    paths = folder / f"{name}.md", folder / f"{name}.json"
    try:
        write_text(paths[0], markdown(document))
        write_text(paths[1], json.dumps(document, indent=1) + "\n")
    except OSError as err:
        raise UsageError(f"{folder}: the report cannot be written ({err.strerror}); use another --output") from err
    return paths


def read(folder: Path) -> list[VerificationDocument]:
    """Return the reports in a folder, oldest first. Raises UsageError for a file that is not a report."""
    documents = []
    for path in sorted(folder.glob("*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            missing = set(get_type_hints(VerificationDocument)) - set(document)
            if missing:
                raise ValueError(f"no {', '.join(sorted(missing))}")
            datetime.fromisoformat(document["date"])
        except (ValueError, TypeError, KeyError) as err:
            raise UsageError(f"{path}: is not a report of smsweep verify ({err}); remove the file") from err
        documents.append(document)
    return sorted(documents, key=lambda document: (document["date"], document["run"]))


def page_table(documents: Sequence[VerificationDocument]) -> str:
    """Return the table of docs/verified.md: each check of SageMaker with the last report against AWS.

    Args:
        documents: The published reports, oldest first. Only those against AWS count.
    """
    latest: dict[str, tuple[VerificationDocument, VerifiedCheckDocument]] = {}
    for document in documents:
        if document["place"] == AWS:
            for each in document["checks"]:
                if each["verdict"] in ("confirmed", DIFFERENT, UNKNOWN):
                    latest[each["id"]] = document, each
    rows = ["| check | assumption | emulator's file | report against AWS |", "|---|---|---|---|"]
    for check in _of_aws(CHECKS):
        found = latest.get(check.id)
        report = "none"
        if found is not None:
            document, each = found
            name = f"{document['date']}-{document['backend']}-{document['run']}"
            report = f"[{each['verdict']}, {document['date']}, {document['region']}](verified/{name}.md)"
        rows.append(f"| {check.id} | {check.statement} | `{check.file}` | {report} |")
    return "\n".join(rows)


def _of_aws(checks: Iterable[Assumption]) -> list[Assumption]:
    return [check for check in checks if "sagemaker" in check.backends]


def default_folder() -> Path:
    """Return the folder of reports in the workspace. `verify` has created it."""
    return Workspace().dir / FOLDER
