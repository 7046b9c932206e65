"""The keys of a sweep.yaml, as W&B's schema has them. Parameters have a table of their own: parameters.py."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, WithJsonSchema, field_validator

from smsweep.util.sections import Count, Number, Section, Text

Engine = Literal["wandb", "optuna", "ax"]  # W&B's
Impute = Literal["latest", "best", "worst"]


class MetricSection(Section):
    """What the search makes better."""

    name: Text = Field(description="the metric's name as the script logs it; nested ones with dots, a.b")
    goal: Literal["minimize", "maximize"] = Field("minimize", description="which way is better")
    target: Number | None = Field(None, description="no new trials once one is at least this good")
    impute: Impute = Field("worst", description="what a trial that failed counts as in a bayes search")
    impute_while_running: Annotated[
        Literal["latest", "best", "worst", "false"],
        WithJsonSchema({"enum": ["latest", "best", "worst", "false", False]}),
    ] = Field("false", description="what a running trial counts as in a bayes search")

    @field_validator("impute_while_running", mode="before")
    @classmethod
    def _from_boolean(cls, value: Any) -> Any:
        return "false" if value is False else value  # W&B's word is text, which few people would quote


class EarlyTerminateSection(Section):
    """Stops trials early that do worse than most. The stopping rule defines the other keys."""

    model_config = ConfigDict(extra="allow")

    type: Text = Field(
        description="hyperband; asha, median and forecast are smsweep's own, which W&B does not know"
    )


class SchedulerSection(Section):
    """A search of the user's own; smsweep reads the section and hands it on."""

    engine: Engine = Field(description="what proposes params: wandb, optuna or ax")
    source: Text | None = Field(None, description="Python file that holds the functions")
    optimizer: Text | None = Field(None, description="function in source that makes the study")
    search_space: Text | None = Field(None, description="function in source that defines the space")


class ControllerSection(Section):
    """Where W&B runs its controller; smsweep always runs its own."""

    model_config = ConfigDict(extra="allow")

    type: Literal["local", "cloud"] = Field(description="local or cloud")


class SweepSection(Section):
    """A W&B sweep configuration, as smsweep accepts it."""

    method: Text = Field(description="how params are chosen: grid, random, bayes or custom")
    method_options: dict[str, Any] | None = Field(None, description="options of a plug-in's search method")
    parameters: Any = Field(None, description="what to search: a mapping of names to values or ranges")
    metric: MetricSection | None = Field(None, description="what the search makes better")
    metrics: list[MetricSection] | None = Field(
        None, min_length=2, description="two or more metrics, for method custom only"
    )
    early_terminate: EarlyTerminateSection | None = Field(None, description="when to end a trial early")
    run_cap: Count | None = Field(None, description="most trials, over all agents")
    program: Text | None = Field(None, description="the training script")
    command: list[Any] | None = Field(
        None, min_length=1, description="the command of a trial, an item an argument, with W&B's macros"
    )
    name: Text | None = Field(None, description="what lists show")
    description: Text | None = Field(None, description="for people")
    project: Text | None = Field(None, description="W&B project")
    entity: Text | None = Field(None, description="W&B user or team")
    scheduler: SchedulerSection | None = Field(None, description="a search of the user's own")
    controller: ControllerSection | None = Field(None, description="where W&B would run its controller")
    kind: Literal["sweep"] | None = Field(None, description="sweep")
    api_version: Text | None = Field(None, alias="apiVersion", description="version of the schema")
    job: Text | None = Field(None, description="for W&B Launch; not used by smsweep")
    image_uri: Text | None = Field(None, description="for W&B Launch; not used by smsweep")
