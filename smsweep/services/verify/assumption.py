"""One assumption about a backend: how it is observed, what is expected, and which file encodes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from smsweep.services.verify.session import Facts, Session

CONFIRMED, DIFFERENT, UNKNOWN, SKIPPED = "confirmed", "different", "unknown", "skipped"
ALL = frozenset({"process", "docker", "slurm", "sagemaker", "batch"})
SAGEMAKER = frozenset({"sagemaker"})
Observed = Mapping[str, Any]  # field -> plain data


def no_jobs(facts: Facts) -> float:
    """Return the instance seconds of a check that can start no job."""
    return 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Assumption:
    """One check of `smsweep verify`."""

    id: str
    statement: str  # what smsweep assumes, as one sentence
    calls: str  # what the check does, for the user's consent
    observe: Callable[[Session], Observed]  # raises NotVerified or JobError if there is no answer
    # Field of `observe` -> expected value, or a pattern of the whole text. Other fields are only reported.
    expected: Mapping[str, Any]
    file: str  # file of the emulator that encodes the assumption
    backends: frozenset[str] = SAGEMAKER
    expected_in: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict
    )  # backend -> further expected fields
    worst_s: Callable[[Facts], float] = no_jobs  # most instance seconds that the check can cost
    usual_s: float = 0.0  # instance seconds that it usually costs, for the order
    is_late: bool = False  # runs last, because it uses the jobs of the other checks
    images: frozenset[str] = frozenset()  # fields that are judged only if jobs run in their image
    instances: int = 1  # that the quota must allow
    needs_images: bool = False  # the check is impossible if jobs do not run in their image
    needs_gpus: bool = False  # the check is impossible on instances without a GPU
    makes_roles: bool = False  # the check creates IAM roles, for which the user must ask

    def expected_by(self, facts: Facts) -> dict[str, Any]:
        """Return the expected fields of a backend, without those that only images can have."""
        fields = {**self.expected, **self.expected_in.get(facts.backend, {})}
        return {name: value for name, value in fields.items() if facts.runs_images or name not in self.images}

    def worst_usd(self, facts: Facts) -> float:
        """Return the most that the check can cost, in dollars."""
        return facts.usd(self.worst_s(facts))


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The result of a check."""

    id: str
    verdict: str  # CONFIRMED | DIFFERENT | UNKNOWN | SKIPPED
    observed: Observed = field(default_factory=dict)
    differences: tuple[str, ...] = ()  # fields whose value is not the expected one
    reason: str = ""  # why there is no verdict
    usd: float = 0.0  # what the check has cost at most


def judge(check: Assumption, observed: Observed, facts: Facts) -> Result:
    """Compare the answer of a backend with the assumption."""
    judged = check.expected_by(facts).items()
    wrong = tuple(name for name, value in judged if not matches(observed.get(name), value))
    return Result(
        id=check.id, verdict=DIFFERENT if wrong else CONFIRMED, observed=dict(observed), differences=wrong
    )


def matches(value: Any, expected: Any) -> bool:
    """Return True if a value equals the expected one, or a text matches the expected pattern."""
    if isinstance(expected, re.Pattern):
        return isinstance(value, str) and expected.fullmatch(value) is not None
    return bool(_plain(value) == _plain(expected))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def expected_text(expected: Any) -> Any:
    """Return an expected value as plain data: a pattern as its text in slashes."""
    return f"/{expected.pattern}/" if isinstance(expected, re.Pattern) else expected
