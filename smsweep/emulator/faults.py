"""Model of the faults that a user can inject."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Annotated, Any

from botocore.loaders import Loader
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from smsweep.errors import UsageError

EVERY = "*"


@functools.cache
def known_actions() -> frozenset[str]:
    """Return the names of all API calls of SERVICES."""
    models = (Loader().load_service_model(service, "service-2") for service in SERVICES)
    return frozenset(name for model in models for name in model["operations"])


def checked_action(name: str) -> str:
    """Return the name of an API call. Raises ValueError for an unknown name."""
    if name not in known_actions():
        near = get_close_matches(name, sorted(known_actions()), n=1)
        hint = f"; did you mean {near[0]}?" if near else f" of {', '.join(SERVICES)}"
        raise ValueError(f"{name} is not an API call{hint}")
    return name


def checked_pattern(pattern: str) -> str:
    """Return a pattern for names of API calls. Raises ValueError if no name matches it."""
    if not any(fnmatchcase(name, pattern) for name in known_actions()):
        checked_action(pattern)
    return pattern


Seconds = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
Action = Annotated[str, AfterValidator(checked_action)]  # full name of an API call, not a pattern
ActionPattern = Annotated[str, AfterValidator(checked_pattern)]
ActionOrRest = Annotated[str, AfterValidator(lambda name: name if name == EVERY else checked_action(name))]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FaultRule(_Document):
    """A fault that occurs a number of times. Patterns use shell syntax: *, ?, [abc]."""

    action: ActionPattern = EVERY  # pattern for API calls, such as CreateTrainingJob
    job: str = EVERY  # pattern for training job names
    instance_type: str = EVERY
    times: int = Field(default=1, ge=0)
    after_s: Seconds = (
        0.0  # no_capacity: seconds that the job waits; interrupt, internal_error: seconds of training
    )

    def matches(self, values: Mapping[str, str]) -> bool:
        return self.times > 0 and all(fnmatchcase(value, getattr(self, name)) for name, value in values.items())


class Faults(_Document):
    """All faults. By default, none is active."""

    quota: int | None = Field(default=None, ge=0)  # live instances of one type and market (on demand or spot)
    throttle: dict[Action, Rate] = {}  # action -> calls per second
    latency_s: Seconds | dict[ActionOrRest, Seconds] = 0.0  # before each answer; by action, * for the others
    visible_after_s: Seconds = 0.0  # until List and Search show a new job
    start_s: Seconds = 0.0  # how long a job is Starting
    deny: list[Action] = []  # denied actions
    expired: bool = False  # True: the caller's credentials have expired
    duplicate_events: bool = False  # EventBridge delivers at least once
    lose_response: list[FaultRule] = []  # the call succeeds, but the connection drops
    fail_call: list[FaultRule] = []  # HTTP 500; the call has no effect
    no_capacity: list[FaultRule] = []  # the job fails with CapacityError
    interrupt: list[FaultRule] = []  # a spot job loses its instances and restarts
    internal_error: list[FaultRule] = []  # the job fails with InternalServerError, or restarts if it may

    def latency_of(self, action: str) -> float:
        """Return the seconds to wait before the response to an action."""
        if isinstance(self.latency_s, dict):
            return self.latency_s.get(action, self.latency_s.get(EVERY, 0.0))
        return self.latency_s


def parse(document: Mapping[str, Any]) -> Faults:
    """Validate a document of faults.

    Raises:
        UsageError: If a key or a value is not valid. The message has one line for each problem.
    """
    try:
        return Faults.model_validate(dict(document))
    except ValidationError as err:
        problems = (
            (".".join(map(str, item["loc"])), item["msg"].removeprefix("Value error, ")) for item in err.errors()
        )
        raise UsageError("\n".join(f"faults: {where}: {what}" for where, what in problems)) from err


# Services whose protocol sends the action in a header.
SERVICES = ("sagemaker", "batch", "logs", "secretsmanager", "ssm", "sqs", "events", "pricing")
