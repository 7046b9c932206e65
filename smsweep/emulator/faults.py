"""What is to go wrong, on demand, in the words that a person writes."""

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
    models = (Loader().load_service_model(service, "service-2") for service in SERVICES)
    return frozenset(name for model in models for name in model["operations"])


def checked_action(name: str) -> str:
    """Return the name of a call. Raises ValueError for one that there is not."""
    if name not in known_actions():
        near = get_close_matches(name, sorted(known_actions()), n=1)
        cure = f"; did you mean {near[0]}?" if near else f" of {', '.join(SERVICES)}"
        raise ValueError(f"{name} is no API call{cure}")
    return name


def checked_pattern(pattern: str) -> str:
    """Return a pattern for names of calls. Raises ValueError for one that no name matches."""
    if not any(fnmatchcase(name, pattern) for name in known_actions()):
        checked_action(pattern)
    return pattern


Seconds = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
Action = Annotated[str, AfterValidator(checked_action)]  # an API call by its whole name, no pattern
ActionPattern = Annotated[str, AfterValidator(checked_pattern)]
ActionOrRest = Annotated[str, AfterValidator(lambda name: name if name == EVERY else checked_action(name))]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Strike(_Document):
    """One thing that goes wrong a number of times. The patterns are the shell's: *, ?, [abc]."""

    action: ActionPattern = EVERY  # an API call, such as CreateTrainingJob
    job: str = EVERY  # a training job's name
    instance_type: str = EVERY
    times: int = Field(default=1, ge=0)
    after_s: Seconds = 0.0  # no_capacity: how long it is waited for; interrupt, internal_error: training before

    def hits(self, values: Mapping[str, str]) -> bool:
        return self.times > 0 and all(fnmatchcase(value, getattr(self, name)) for name, value in values.items())


class Faults(_Document):
    """Nothing goes wrong until a field says so."""

    quota: int | None = Field(default=None, ge=0)  # live instances of one type and market (on demand or spot)
    throttle: dict[Action, Rate] = {}  # action -> calls per second
    latency_s: Seconds | dict[ActionOrRest, Seconds] = 0.0  # before each answer; by action, * for the others
    visible_after_s: Seconds = 0.0  # until List and Search show a new job
    start_s: Seconds = 0.0  # how long a job is Starting
    deny: list[Action] = []  # actions that the caller may not call
    expired: bool = False  # the caller's credentials
    duplicate_events: bool = False  # EventBridge delivers at least once
    lose_response: list[Strike] = []  # the call is carried out, the connection drops
    fail_call: list[Strike] = []  # HTTP 500, nothing is carried out
    no_capacity: list[Strike] = []  # the job fails with CapacityError
    interrupt: list[Strike] = []  # a spot job loses its instances and begins again
    internal_error: list[Strike] = []  # the job fails with InternalServerError, or restarts if it may

    def latency_of(self, action: str) -> float:
        if isinstance(self.latency_s, dict):
            return self.latency_s.get(action, self.latency_s.get(EVERY, 0.0))
        return self.latency_s


def parse(document: Mapping[str, Any]) -> Faults:
    """Raises UsageError, a line for each key that cannot be understood."""
    try:
        return Faults.model_validate(dict(document))
    except ValidationError as err:
        problems = (
            (".".join(map(str, item["loc"])), item["msg"].removeprefix("Value error, ")) for item in err.errors()
        )
        raise UsageError("\n".join(f"faults: {where}: {what}" for where, what in problems)) from err


# Whose protocol names the action in a header.
SERVICES = ("sagemaker", "batch", "logs", "secretsmanager", "ssm", "sqs", "events", "pricing")
