"""The commands that a detached agent accepts, such as what `smsweep sweep --pause` sends to it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from smsweep.config_files.config_change import CHANGEABLE, Change, change_config
from smsweep.core.sweep import VERBS, SweepState
from smsweep.core.trial import TrialState
from smsweep.errors import ConfigError, SmsweepError, StoreConflict, UsageError
from smsweep.store.base import Store
from smsweep.util.sections import plain_message
from smsweep.util.terminal_text import clean

MAX_NUMBER = 2**63 - 1  # of a trial: largest integer of the databases
MAX_STATES = 20
MAX_KEYS = 100  # of one change of the config
MAX_NAME = 200  # characters
MAX_REASON = 10_000  # characters
MAX_PROBLEM = 300  # characters of the message about a malformed command
TARGETS = {to for _, to in VERBS.values()}
# Target state -> allowed current states. Other moves would start a job twice, or hide how a job ended.
MOVES = {
    TrialState.PENDING: {
        TrialState.FAILED,
        TrialState.CRASHED,
        TrialState.KILLED,
        TrialState.STOPPED,
        TrialState.PENDING,  # gives up the place of its checkpoints
    },
    TrialState.STOPPING: {TrialState.RUNNING},
}

Number = Annotated[int, Field(ge=0, le=MAX_NUMBER)]


class Malformed(ValueError):
    """A received object is not a valid command."""


class _Command(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SetSweepState(_Command):
    """Pause, resume, stop or cancel the sweep."""

    do: Literal["set_sweep_state"]
    expect: Annotated[list[SweepState], Field(min_length=1, max_length=MAX_STATES)]
    to: SweepState

    @model_validator(mode="after")
    def _check(self) -> SetSweepState:
        if self.to not in TARGETS:
            raise ValueError(f"no command sets a sweep to {self.to.value}")
        return self

    def carry_out(self, store: Store, sweep_id: str) -> None:
        store.set_sweep_state(sweep_id, self.expect, self.to)


class Move(_Command):
    """Stop a trial, or run an ended trial again."""

    do: Literal["move"]
    number: Number
    expect: Annotated[list[TrialState], Field(min_length=1, max_length=MAX_STATES)]
    to: TrialState
    reason: Annotated[str, Field(max_length=MAX_REASON)] = ""
    asked_by: Literal["", "person"] = ""

    @model_validator(mode="after")
    def _check(self) -> Move:
        if not set(self.expect) <= MOVES.get(self.to, set()):
            states = " or ".join(state.value for state in self.expect)
            raise ValueError(f"no command moves a trial from {states} to {self.to.value}")
        return self

    def carry_out(self, store: Store, sweep_id: str) -> None:
        store.move(sweep_id, self.number, self.expect, self.to, reason=self.reason, asked_by=self.asked_by)


class RemoveTrial(_Command):
    """Remove a trial from the sweep."""

    do: Literal["remove_trial"]
    number: Number

    def carry_out(self, store: Store, sweep_id: str) -> None:
        store.remove_trial(sweep_id, self.number)


class ChangeConfig(_Command):
    """Change keys of the sweep's config. The agent checks the keys, so that no command changes the program."""

    do: Literal["change_config"]
    number: Annotated[int, Field(ge=2, le=MAX_NUMBER)]
    changes: Annotated[dict[str, Any], Field(min_length=1, max_length=MAX_KEYS)]
    changed_by: Annotated[str, Field(max_length=MAX_NAME)] = ""

    @model_validator(mode="after")
    def _check(self) -> ChangeConfig:
        for key in self.changes:
            if key.partition(".")[0] not in CHANGEABLE:
                raise ValueError("no command changes this key")
        return self

    def carry_out(self, store: Store, sweep_id: str) -> None:
        if self.number != store.get_sweep(sweep_id).config_revision + 1:
            raise StoreConflict(
                f"sweep {sweep_id}: its config was changed at the same time; send the change again"
            )
        changes = [Change(key=key, value=value) for key, value in self.changes.items()]
        try:
            change_config(store, sweep_id, changes, self.changed_by)
        except (ConfigError, UsageError) as err:
            raise StoreConflict(str(err)) from err


class OrderAgent(_Command):
    """Drain or stop the agent, or change the number of its slots."""

    do: Literal["order_agent"]
    agent_id: Annotated[str, Field(max_length=MAX_NAME)]
    order: Literal["", "drain", "stop"] = ""
    parallel: Annotated[int, Field(ge=1, le=MAX_NUMBER)] | None = None

    def carry_out(self, store: Store, sweep_id: str) -> None:
        store.order_agent(sweep_id, self.agent_id, order=self.order, parallel=self.parallel)


Command = SetSweepState | Move | RemoveTrial | ChangeConfig | OrderAgent
_READER: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="do")])


def parse_command(text: bytes) -> Command:
    """Parse and validate a command.

    No command sets a note of a sweep, because some notes are code.

    Args:
        text: JSON. Any user who can write to the bucket can have written it.

    Returns:
        A command that is safe to carry out.

    Raises:
        Malformed: If the text is not one of the commands above, or a field is missing, unknown or out of range.
    """
    try:
        return _READER.validate_json(text)
    except ValidationError as err:
        raise Malformed(_problem(err)) from None


def carry_out(store: Store, sweep_id: str, command: Command) -> None:
    """Carry out a command.

    Raises:
        StoreConflict: If the sweep or the trial is in another state than the command expects.
        NotFound: If the trial does not exist.
        StoreError: If the store cannot be written. Retry the command later.
        Malformed: If the store fails because of the command's values.
    """
    try:
        command.carry_out(store, sweep_id)
    except SmsweepError:
        raise
    except Exception as err:  # a command must not end the agent
        raise Malformed(clean(f"{type(err).__name__}: {err}")[:MAX_PROBLEM]) from err


def _problem(err: ValidationError) -> str:
    first = err.errors(include_url=False, include_input=False)[0]
    return clean("".join((*(f"{part}: " for part in first["loc"]), plain_message(first))))[:MAX_PROBLEM]
