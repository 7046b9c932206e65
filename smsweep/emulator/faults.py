"""The faults that a user can inject: their model, how often each has occurred, and the log of all API calls."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from botocore.loaders import Loader
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from smsweep.errors import UsageError
from smsweep.util.sections import plain_message

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
    region: str = EVERY
    times: int = Field(default=1, ge=0)
    after_s: Seconds = (
        0.0  # no_capacity: seconds that the job waits; interrupt, internal_error: seconds of training
    )

    def matches(self, values: Mapping[str, str]) -> bool:
        return self.times > 0 and all(fnmatchcase(value, getattr(self, name)) for name, value in values.items())


class Faults(_Document):
    """All faults. By default, none is active."""

    quota: int | None = Field(default=None, ge=0)  # live instances of one type and market (on demand or spot)
    warm_pool_quota: int | None = Field(default=None, ge=0)  # idle instances of one type; AWS's default is 0
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
        problems = ((".".join(map(str, item["loc"])), plain_message(item)) for item in err.errors())
        raise UsageError("\n".join(f"faults: {where}: {what}" for where, what in problems)) from err


# Services whose protocol sends the action in a header.
SERVICES = (
    "sagemaker",
    "batch",
    "ecr",
    "logs",
    "secretsmanager",
    "service-quotas",
    "ssm",
    "sqs",
    "events",
    "pricing",
)


class FaultInjector:
    """Decides which calls and jobs a fault hits. Safe to use from several threads.

    Args:
        faults: The faults that are active from the start.
        clock: Returns monotonic seconds.
    """

    def __init__(self, faults: Faults, clock: Callable[[], float]) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self.now = faults
        self._buckets: dict[str, tuple[float, float]] = {}  # action -> (tokens, time of the count)

    def set(self, changes: Mapping[str, Any]) -> None:
        """Replace the given fields.

        Raises:
            UsageError: If a field is not valid. No field is changed then.
        """
        with self._lock:
            self.now = parse({**self.now.model_dump(), **changes})

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self.now = Faults()

    def take(self, kind: str, values: Mapping[str, str], *, age_s: float | None = None) -> FaultRule | None:
        """Return the first rule that matches, and count down its `times`.

        Args:
            kind: The field of `Faults` that holds the rules.
            values: Values that the rule's patterns must match, by the name of the rule's field.
            age_s: If given, consider only rules whose `after_s` is at most this number of seconds.

        Returns:
            The rule, or None if no rule matches.
        """
        with self._lock:
            rules: list[FaultRule] = getattr(self.now, kind)
            for index, rule in enumerate(rules):
                if rule.matches(values) and (age_s is None or age_s >= rule.after_s):
                    counted = rule.model_copy(update={"times": rule.times - 1})
                    remaining = [*rules[:index], counted, *rules[index + 1 :]]
                    self.now = self.now.model_copy(update={kind: remaining})
                    return rule
        return None

    def find(self, kind: str, values: Mapping[str, str]) -> FaultRule | None:
        """Return the first rule that matches, without counting it, or None."""
        rules: list[FaultRule] = getattr(self.now, kind)
        return next((rule for rule in rules if rule.matches(values)), None)

    @property
    def n_deliveries(self) -> int:
        """Number of deliveries of each event."""
        return 2 if self.now.duplicate_events else 1

    def is_throttled(self, action: str) -> bool:
        """Count a call, and return True if it exceeds the action's rate.

        The rate is a token bucket that holds the calls of one second, and at least one call.
        """
        with self._lock:
            rate = self.now.throttle.get(action)
            if rate is None:
                return False
            now, size = self._clock(), max(1.0, rate)
            tokens, counted_at = self._buckets.get(action, (size, now))
            tokens = min(size, tokens + (now - counted_at) * rate)
            is_empty = tokens < 1
            self._buckets[action] = (tokens if is_empty else tokens - 1, now)
            return is_empty


class CallLog:
    """Log of API calls in a file. The file is kept when the emulator exits.

    Args:
        path: The file. It and its folder are created if they do not exist.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._lock = threading.Lock()
        self._file = path.open("a", encoding="utf-8")

    def write(self, entry: dict[str, Any]) -> None:
        """Append one entry. Safe to call from several threads."""
        line = json.dumps(entry) + "\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()

    def read(self) -> list[dict[str, Any]]:
        """Return all entries, oldest first, including those of earlier runs."""
        with self.path.open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def close(self) -> None:
        self._file.close()
