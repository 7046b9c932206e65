"""The keys of a sweep.yaml, as in W&B's schema. Parameters are in parameters.py."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, WithJsonSchema, field_validator

from smsweep.util.sections import Count, Number, Section, Text

Engine = Literal["wandb", "optuna", "ax"]  # W&B's
Impute = Literal["latest", "best", "worst"]


class MetricSection(Section):
    """The metric that the search optimizes."""

    name: Text = Field(description="the metric's name as the script logs it; nested names with dots, a.b")
    goal: Literal["minimize", "maximize"] = Field("minimize", description="direction of improvement")
    target: Number | None = Field(None, description="start no new trials after a trial has reached this value")
    impute: Impute = Field("worst", description="value of a failed trial in a bayes search")
    impute_while_running: Annotated[
        Literal["latest", "best", "worst", "false"],
        WithJsonSchema({"enum": ["latest", "best", "worst", "false", False]}),
    ] = Field("false", description="value of a running trial in a bayes search")

    @field_validator("impute_while_running", mode="before")
    @classmethod
    def _from_boolean(cls, value: Any) -> Any:
        return "false" if value is False else value  # W&B expects the string, which few users quote


class EarlyTerminateSection(Section):
    """Stop poor trials early. The stopping rule defines the other keys."""

    model_config = ConfigDict(extra="allow")

    type: Text = Field(description="hyperband; or asha, median or forecast, which only smsweep has")


class SchedulerSection(Section):
    """A user-defined search. smsweep validates the section and passes it on."""

    engine: Engine = Field(description="the engine that proposes params: wandb, optuna or ax")
    source: Text | None = Field(None, description="Python file with the functions")
    optimizer: Text | None = Field(None, description="function in source that returns the study")
    search_space: Text | None = Field(None, description="function in source that defines the space")


class ControllerSection(Section):
    """Where W&B runs its controller. smsweep always runs its own."""

    model_config = ConfigDict(extra="allow")

    type: Literal["local", "cloud"] = Field(description="local or cloud")


class SweepSection(Section):
    """A W&B sweep configuration, as smsweep accepts it."""

    method: Text = Field(description="how params are chosen: grid, random, bayes or custom")
    method_options: dict[str, Any] | None = Field(None, description="options of the search method of a plug-in")
    parameters: Any = Field(None, description="the search space: a mapping of names to values or ranges")
    metric: MetricSection | None = Field(None, description="the metric that the search optimizes")
    metrics: list[MetricSection] | None = Field(
        None, min_length=2, description="two or more metrics, for method custom only"
    )
    early_terminate: EarlyTerminateSection | None = Field(None, description="when to stop a trial early")
    run_cap: Count | None = Field(None, description="largest number of trials, over all agents")
    program: Text | None = Field(None, description="the training script")
    command: list[Any] | None = Field(
        None, min_length=1, description="the command of a trial, one item per argument, with W&B's macros"
    )
    name: Text | None = Field(None, description="name in lists")
    description: Text | None = Field(None, description="free text")
    project: Text | None = Field(None, description="W&B project")
    entity: Text | None = Field(None, description="W&B user or team")
    scheduler: SchedulerSection | None = Field(None, description="a user-defined search")
    controller: ControllerSection | None = Field(None, description="where W&B runs its controller")
    kind: Literal["sweep"] | None = Field(None, description="the constant `sweep`")
    api_version: Text | None = Field(None, alias="apiVersion", description="version of the schema")
    job: Text | None = Field(None, description="for W&B Launch; not used by smsweep")
    image_uri: Text | None = Field(None, description="for W&B Launch; not used by smsweep")
