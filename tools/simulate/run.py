"""Run the sweep of one seed, and check it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, partial
from typing import Any
from unittest import mock

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.pool import StaticPool

from smsweep.backends.sagemaker import backend as sagemaker
from smsweep.config_files.config_change import change_config, parse_change
from smsweep.config_files.from_python import to_yaml
from smsweep.config_files.job_yaml import parse_job
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.job import JobTemplate, Site, TrainingJobRequest
from smsweep.core.sweep import VERBS, Sweep, SweepState
from smsweep.core.trial import Trial, TrialState
from smsweep.engine.agent import Agent
from smsweep.engine.agent_state import AgentOptions, AgentResult, ShutdownLevel
from smsweep.engine.controller import Rules
from smsweep.engine.failure_limit import FailureLimit
from smsweep.engine.job_request import training_job
from smsweep.engine.metric_parser import MetricParser
from smsweep.engine.places import Place
from smsweep.errors import ConfigError, NotFound, SmsweepError, StoreConflict, StoreDown, StoreUnavailable
from smsweep.services.agents.setup import AgentSetup
from smsweep.services.places import ChosenPlace, choose_places
from smsweep.services.sweeps.control import OPEN, RETRYABLE
from smsweep.services.workspace import Workspace, read_stored
from smsweep.store import transactions
from smsweep.store.base import ParseStored
from smsweep.store.open import PRAGMAS
from smsweep.store.sql import SqlStore
from smsweep.store.tables import metadata
from tools.simulate.account import Account, Connection, Job
from tools.simulate.disk import Disk
from tools.simulate.invariants import DRAIN_S, CheckedStrategy, Violation, Watch, check_end, region_name
from tools.simulate.scenario import RETRIES, Command, Scenario, draw
from tools.simulate.world import Killed, TimeUp, World

SITE = Site(
    assets_uri="s3://bucket/assets", output_uri="s3://bucket/jobs", checkpoint_uri="s3://bucket/checkpoints"
)
TICK_S = 20.0  # longest time between two ticks of an agent
RESTART_S = (1.0, 150.0)  # from the end of an agent to the start of the next one on its machine
PATIENCE_S = 4 * 3600.0  # a sweep must end within this time without faults
POLL = {"SMSWEEP_SAGEMAKER_POLL_S": "15"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The result of one simulation. problem: "" if all invariants hold."""

    seed: int
    problem: str
    faults: tuple[str, ...]
    simulated_s: float
    trials: int
    jobs: int


class Simulator:
    """Runs seeds one after the other, in one database in memory."""

    def __init__(self) -> None:
        engine = sa.create_engine("sqlite://", poolclass=StaticPool, connect_args={"isolation_level": None})
        event.listen(engine, "connect", lambda connection, _: connection.execute(PRAGMAS[0]))
        self._engine = engine
        self._world: World | None = None
        metadata.create_all(engine)
        self._parse = cache(read_stored)
        self._store = SqlStore(engine, self._clock, self._parse, sleep=lambda _: None)
        self._disk = Disk(engine)
        _keep_connections(engine, self._store)

    def run(
        self, seed: int, *, allowed: frozenset[str] | None = None, trace: Callable[[str], None] | None = None
    ) -> Result:
        """Simulate the sweep of a seed.

        Args:
            seed: The seed.
            allowed: The faults that may happen; None for all that the seed has.
            trace: Called with each call and each message; None for no trace.
        """
        scenario = draw(seed)
        world = World(
            seed=seed,
            rates=dict(scenario.faults),
            calm_s=scenario.calm_s,
            end_s=scenario.calm_s + PATIENCE_S,
            allowed=allowed,
            trace=trace,
        )
        self._world = world
        self._empty()
        simulation = Simulation(scenario, world, self._store, self._disk, self._parse)
        problem = ""
        try:
            with mock.patch("time.monotonic", world.monotonic):
                simulation.run()
        except (Violation, TimeUp) as err:
            problem = str(err)
        except Exception as err:
            problem = f"{type(err).__name__}: {err}"
            if trace is not None:
                raise
        return Result(
            seed=seed,
            problem=problem,
            faults=tuple(world.faults),
            simulated_s=world.now_s,
            trials=sum(self._store.count_trials(simulation.sweep.id).values()),
            jobs=sum(len(account.jobs) for account in simulation.accounts.values()),
        )

    def _clock(self) -> datetime:
        assert self._world is not None
        return self._world.true_utc()  # as the clock of a database server

    def _empty(self) -> None:
        with self._engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                if table.name != "alembic_version":
                    connection.execute(sa.delete(table))
        self._store._parsed.clear()


def _keep_connections(engine: sa.Engine, store: SqlStore) -> None:
    """Let all transactions of a store use the same connections, which is faster."""
    database: Any = engine.raw_connection().driver_connection
    event.remove(engine, "begin", transactions._begin)

    class Connected:
        def __init__(self, engine: sa.Engine, begin: str) -> None:
            self.url = engine.url
            self._connection = engine.connect()
            self._begin = begin

        @contextmanager
        def begin(self) -> Iterator[sa.Connection]:
            try:
                with self._connection.begin():
                    database.execute(self._begin)
                    yield self._connection
            except BaseException:
                database.rollback()  # as a pool does after a commit that failed
                raise

    runner: Any = store.transactions
    runner._reader = Connected(runner._reader, "BEGIN")
    runner._writer = Connected(runner._writer, "BEGIN IMMEDIATE")


@cache
def parsed_texts(config: str, job: str) -> tuple[str, str]:
    """Return the texts that a new sweep stores. config, job: representations of the mappings."""
    scope: dict[str, Any] = {}
    return parse_sweep(to_yaml(eval(config, scope))).text, parse_job(to_yaml(eval(job, scope))).text


class Setup(AgentSetup):
    """The setup of an agent whose search is checked."""

    def _rules(self, sweep: Sweep) -> Rules:
        rules = super()._rules(sweep)
        return replace(rules, strategy=CheckedStrategy(rules.strategy, sweep.config, sweep.seed, self.template))


class Simulation:
    """The processes of one scenario."""

    def __init__(self, scenario: Scenario, world: World, store: SqlStore, disk: Disk, parse: ParseStored) -> None:
        self.scenario, self.world = scenario, world
        sweep_yaml, job_yaml = stored_texts(scenario)
        config, template = parse(sweep_yaml, job_yaml)
        self._store = store  # without faults
        self._workspace = Workspace({})
        self.accounts: dict[str, Account] = {}
        self._watch = Watch(world, store, scenario, self.accounts, parse)
        self._net = RemoteStore(store, world, disk, self._watch)
        written: dict[str, list[Job]] = {}
        for region in scenario.regions:
            self.accounts[region.name] = Account(
                world, region_name(region.name), region.quota, scenario.jobs, self._watch.note_job, written
            )
        self._n_started = itertools.count(1)
        self._agents: dict[str, Agent] = {}  # running ones, by name
        self.sweep = store.create_sweep(
            Sweep(
                id="abcd1234",
                config=config,
                seed=world.seed,
                sweep_yaml=sweep_yaml,
                job=template,
                job_yaml=job_yaml,
            )
        )
        self._watch.begin(self.sweep)

    def run(self) -> None:
        for machine, skew_s in enumerate(self.scenario.skews_s):
            at_s = self.world.rng("start", machine).uniform(0, self.scenario.starts_s) if machine else 0.0
            self._start_agent(machine, skew_s, at_s)
        for index, command in enumerate(self.scenario.commands):
            start = partial(self.world.start, f"user-{index}", partial(self._command, command), can_die=False)
            if command.at_s < math.inf:
                start(at_s=command.at_s)
            else:
                self._net.at_finish.append(start)
        self.world.run()
        check_end(self._watch)

    def sweep_now(self) -> Sweep:
        return self._store.get_sweep(self.sweep.id)

    def _start_agent(self, machine: int, skew_s: float, at_s: float) -> None:
        name = f"agent-{next(self._n_started)}"
        self.world.start(name, lambda: self._agent_process(name, machine, skew_s), at_s, skew_s)

    def _agent_process(self, name: str, machine: int, skew_s: float) -> None:
        """Run an agent to its end. Its machine starts the next one, unless the agent found nothing more to do."""
        is_done = False
        try:
            result = self._run_agent(name)
            is_done = not result.asked_by and not result.trouble
        except Killed:
            pass
        except SmsweepError as err:
            if not err.retryable:  # a shell shows any other error, and its user runs the command again
                raise
        finally:
            self._agents.pop(name, None)
        if not (is_done or self._is_over()):
            pause_s = self.world.rng("restart", name).uniform(*RESTART_S)
            self._start_agent(machine, skew_s, self.world.now_s + pause_s)

    def _is_over(self) -> bool:
        """Return True if the sweep needs no agent."""
        sweep = self.sweep_now()
        counts = self._store.count_trials(sweep.id)
        return sweep.state not in OPEN and not any(state.is_active and n for state, n in counts.items())

    def _run_agent(self, name: str) -> AgentResult:
        scenario, world = self.scenario, self.world
        opened = {}
        for region in scenario.regions:
            with mock.patch.object(sagemaker, "Aws", lambda _, of=self.accounts[region.name]: Connection(of)):
                opened[region.name] = sagemaker.SageMakerBackend(POLL, world.time, world.monotonic)
        sweep = self._net.get_sweep(self.sweep.id)
        chosen = self._choose(sweep.job)
        setup = Setup(store=self._net, sweep=sweep, workspace=self._workspace, template=sweep.job, places=chosen)
        controller = setup.make_controller(searches=True)
        places = [_open(place, opened[place.name], sweep) for place in chosen]
        agent = self._agents[name] = Agent(
            self._net,
            places,
            controller,
            MetricParser(),
            agent_id=name,
            options=AgentOptions(longest_sleep_s=TICK_S, retries=RETRIES),
            flapping=FailureLimit(world.utc(), is_off=not scenario.limits_failures),
            clock=world.utc,
            sleep=world.sleep,
        )
        try:
            return agent.run()
        finally:
            for backend in opened.values():
                backend.close()

    def _choose(self, template: JobTemplate) -> list[ChosenPlace]:
        if template.places:
            return choose_places(template, self._workspace)
        (region,) = self.scenario.regions
        return choose_places(template, self._workspace, backend="sagemaker", parallel=region.slots)

    def _command(self, command: Command) -> None:
        """Run a command of a user."""
        verb = command.verb
        with suppress(StoreConflict, StoreUnavailable, Killed):
            if verb == "pause":
                self._set_state("pause")
                self.world.sleep(self.world.rng("pause", self.world.current.name).uniform(1, 300))
                self._set_state("resume")
            elif verb in VERBS:
                self._set_state(verb)
            elif verb == "retry":
                self._retry()
            elif verb == "set":
                self._change(command)
            elif verb.startswith("order "):
                self._order(verb.removeprefix("order "), command.slots)
            else:
                self._leave(verb)

    def _set_state(self, verb: str) -> None:
        expect, to = VERBS[verb]
        while True:  # a user repeats a command whose answer was lost
            try:
                self._net.set_sweep_state(self.sweep.id, expect, to)
                return
            except StoreUnavailable:
                self.world.sleep(5)

    def _change(self, command: Command) -> None:
        """Change the config, as `smsweep set` does. If the sweep has finished, resume it."""
        while True:
            try:
                sweep = change_config(self._net, self.sweep.id, map(parse_change, command.changes), "ann@host")
                break
            except ConfigError:
                return  # the user has changed nothing
            except StoreUnavailable:
                self.world.sleep(5)
        if sweep.state is SweepState.FINISHED:
            self._set_state("resume")
            self._ensure_agent()

    def _order(self, order: str, slots: int) -> None:
        """Give an order to the agent that has run for the longest time."""
        agents = self._net.list_agents(self.sweep.id)
        running = [agent.id for agent in agents if agent.id in self._agents]
        if not running:
            return
        is_resize = order == "parallel"
        options: dict[str, Any] = {"parallel": slots} if is_resize else {"order": order}
        while True:  # a user repeats a command whose answer was lost
            try:
                self._net.order_agent(self.sweep.id, running[0], **options)
                break
            except NotFound:
                return  # the agent has exited
            except StoreUnavailable:
                self.world.sleep(5)
        if is_resize:
            return
        agent = self._agents.get(running[0])
        self.world.sleep(max(self.scenario.calm_s - self.world.now_s, 0) + DRAIN_S)
        if agent is not None and self._agents.get(running[0]) is agent:
            raise Violation(f"an agent does not end after an order: {running[0]} ({order})")

    def _retry(self) -> None:
        """Retry the first trial that failed, as `smsweep retry --run` does."""
        for trial in self._net.list_trials(self.sweep.id):
            if trial.state in RETRYABLE:
                reason = "retried by the user"
                self._net.move(trial.sweep_id, trial.number, [trial.state], TrialState.PENDING, reason=reason)
                break
        else:
            return
        with suppress(StoreConflict):
            self._net.set_sweep_state(self.sweep.id, [SweepState.FINISHED], SweepState.RUNNING)
        self._ensure_agent()

    def _ensure_agent(self) -> None:
        if not self._agents:
            self._start_agent(0, self.scenario.skews_s[0], self.world.now_s + 1)

    def _leave(self, verb: str) -> None:
        """Shut down the machine of the agent that has run for the longest time, or interrupt the agent."""
        agent = next(iter(self._agents.values()), None)
        if agent is None:
            return
        if verb == "shut down":
            agent.leave(ShutdownLevel.STOP, machine_goes=True)
        else:
            for _ in range(self.world.rng("interrupt", self.world.current.name).randint(1, 3)):
                agent.leave()
                self.world.sleep(1)


def stored_texts(scenario: Scenario) -> tuple[str, str]:
    """Return the texts of a new sweep."""
    return parsed_texts(repr(scenario.config), repr(scenario.job))


def _open(place: ChosenPlace, backend: sagemaker.SageMakerBackend, sweep: Sweep) -> Place:
    """Return a place as `smsweep.services.places.open_place` does, without an upload of the source."""

    def render(trial: Trial) -> TrainingJobRequest:
        return training_job(place.template, sweep, trial, SITE)

    return Place(
        backend=backend,
        render=render,
        checkpoints=lambda trial: str(render(trial).get("CheckpointConfig", {}).get("S3Uri", "")),
        name=place.name,
        slots=place.slots,
        group=place.group,
        price=place.template.price,
        reads_s3=True,
    )


class RemoteStore:
    """A store behind the simulated network. Each call is one transaction, so that nothing runs during it."""

    def __init__(self, store: SqlStore, world: World, disk: Disk, watch: Watch) -> None:
        self._store = store
        self._world = world
        self._disk = disk
        self._watch = watch
        self.at_finish: list[
            Callable[..., object]
        ] = []  # each starts a user when an agent marks the sweep finished

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        world = self._world

        def call(*args: Any, **kwargs: Any) -> Any:
            def work() -> Any:
                answer = None
                try:
                    answer = method(*args, **kwargs)
                finally:
                    with self._disk.working():
                        self._watch.after_call(name, args, kwargs, answer)
                return answer

            if name == "set_sweep_state" and SweepState.FINISHED in args:
                while self.at_finish:
                    self.at_finish.pop()(at_s=world.now_s)
            answer = world.call(
                f"store.{name} {_brief(args)}",
                work,
                refusal=lambda: StoreDown("the server does not answer"),
                loss=lambda: StoreDown("the answer of the server was lost"),
                longest_s=0.05,
                on_disk_fault=self._disk.failing,
            )
            self._watch.after_answer(name, answer)
            return answer

        self.__dict__[name] = call
        return call


def _brief(args: tuple[Any, ...]) -> str:
    return " ".join(str(arg) for arg in args[1:3] if isinstance(arg, (int, str)))
