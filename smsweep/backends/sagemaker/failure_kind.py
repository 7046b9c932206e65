"""Why a training job failed: the class of its FailureReason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from smsweep.core.failure_kind import CAPACITY, INTERNAL, TIMEOUT, classify
from smsweep.core.outcome import TIMEOUTS

# Start of a FailureReason -> class. Other reasons are failures of the script.
REASONS = (
    (re.compile(r"CapacityError\b"), CAPACITY),
    (re.compile(r"InternalServerError\b"), INTERNAL),
)


_EXIT_CODE = re.compile(r",? ?exit code: (\d+)\s*\Z", re.I)


def failure_class(document: Mapping[str, Any]) -> str:
    """Return the failure class of an ended job; "" without failure. document: DescribeTrainingJob's answer."""
    if document.get("SecondaryStatus") in TIMEOUTS:
        return TIMEOUT
    if document["TrainingJobStatus"] != "Failed":
        return ""
    reason = document.get("FailureReason", "")
    for beginning, found in REASONS:
        if beginning.match(reason):
            return found
    return classify(own_words(reason), exit_code(reason))


def exit_code(reason: str) -> int | None:
    found = _EXIT_CODE.search(reason)
    return int(found[1]) if found else None


def own_words(reason: str) -> str:
    """Return a FailureReason without SageMaker's additions to output/failure, or else the exit code."""
    code = exit_code(reason)
    words = re.sub(r"\AAlgorithmError:\s*", "", _EXIT_CODE.sub("", reason))
    return words if words or code is None else f"exit code {code}"
