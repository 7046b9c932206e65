"""The keys of a sweep.yaml, as W&B's schema has them. Parameters have a table of their own: parameters.py."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, WithJsonSchema, field_validator

from smsweep.util.sections import AboveOne, Count, Number, Section, Text

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
    """Ends trials early that do worse than most. Give min_iter, or for hyperband max_iter and s."""

    type: Literal["hyperband", "asha", "median", "forecast"] = Field(
        description="hyperband; asha, median and forecast are smsweep's own, which W&B does not know"
    )
    min_iter: Count | None = Field(None, description="how many values of the metric before the first check")
    max_iter: Count | None = Field(None, description="how many values of the metric a whole training logs")
    s: Count | None = Field(None, description="how many checks, counted down from max_iter")
    eta: AboveOne = Field(3, description="each check lets the best 1/eta go on")
    strict: bool = Field(True, description="compare the value at the check, not the best so far")
    min_trials: Count | None = Field(
        None, description="median, forecast: how many other trials to compare with at least"
    )


class SchedulerSection(Section):
    """A search of the user's own; smsweep reads the section and hands it on."""

    engine: Literal["wandb", "optuna", "ax"] = Field(description="what proposes params: wandb, optuna or ax")
    source: Text | None = Field(None, description="Python file that holds the functions")
    optimizer: Text | None = Field(None, description="function in source that makes the study")
    search_space: Text | None = Field(None, description="function in source that defines the space")


class ControllerSection(Section):
    """Where W&B runs its controller; smsweep always runs its own."""

    model_config = ConfigDict(extra="allow")

    type: Literal["local", "cloud"] = Field(description="local or cloud")


class SweepSection(Section):
    """A W&B sweep configuration, as smsweep accepts it."""

    method: Literal["grid", "random", "bayes", "custom"] = Field(
        description="how params are chosen: grid, random, bayes or custom"
    )
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
