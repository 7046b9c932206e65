"""Masking of account ids, names and keys in the answers that a report shows."""

from __future__ import annotations

import re
from typing import Any

from smsweep.services.verify.session import Session

ACCOUNT = re.compile(r"(?<![0-9A-Za-z])\d{12}(?![0-9A-Za-z])")
ACCESS_KEY = re.compile(r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}\b")
ARN = re.compile(r"(arn:[\w-]+:(?:iam|sts)::[^:\s]*:[\w-]+)/[^\s\"',;)]+")
MAX_TEXT = 500  # characters of a text in a report
REQUEST_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


class Mask:
    """Replaces what identifies the account. The run's own names get the same text in every report.

    Args:
        session: Has the names to replace.
    """

    def __init__(self, session: Session) -> None:
        request = session.template.request
        output = request.get("OutputDataConfig", {}).get("S3OutputPath", "")
        bucket = output.removeprefix("s3://").partition("/")[0] if output.startswith("s3://") else ""
        names = {
            str(session.folder): "FOLDER",
            request.get("RoleArn", ""): "ROLE",
            bucket: "BUCKET",
            session.facts.account: "ACCOUNT",
            session.state.run: "RUN",
        }
        self._names = {name: text for name, text in names.items() if name}

    def text(self, text: str) -> str:
        """Return a text without the names."""
        for name, replacement in self._names.items():
            text = text.replace(name, replacement)
        text = ARN.sub(r"\1/NAME", ACCOUNT.sub("ACCOUNT", text))
        text = REQUEST_ID.sub("ID", ACCESS_KEY.sub("KEY", text))
        return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]} ..."

    def data(self, value: Any) -> Any:
        """Return plain data with each text masked."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {name: self.data(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.data(item) for item in value]
        return value
