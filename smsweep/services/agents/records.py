"""The recorded agents of all machines: list them, and give them orders."""

from __future__ import annotations

from smsweep.core.agent_record import AgentRecord
from smsweep.core.json_documents import AgentDocument, AgentState
from smsweep.errors import NotFound, UsageError
from smsweep.services.agent_ids import is_gone
from smsweep.services.labels import parse_sweep_id
from smsweep.services.workspace import Workspace
from smsweep.store.base import Store

MAX_NAMED = 5  # ids in an error message
MAX_SLOTS = 10_000
STATES: dict[str, AgentState] = {"drain": "draining", "stop": "stopping"}


def list_agents(sweep_id: str | None = None) -> list[AgentDocument]:
    """Return the agents of a sweep, or of all sweeps, in the order of their start.

    Agents that were killed are listed as lost for a day, and longer while they hold trials.

    Args:
        sweep_id: Id of the sweep; None for all sweeps of the store.

    Raises:
        NotFound: If there is no such sweep.
    """
    workspace = Workspace()
    if sweep_id is None and not workspace.has_store:
        return []
    with workspace.store() as store:
        if sweep_id is not None:
            sweep_id = store.get_sweep(parse_sweep_id(sweep_id)).id
        return [agent_data(agent) for agent in store.list_agents(sweep_id) if not agent.is_forgotten]


def agent_data(agent: AgentRecord) -> AgentDocument:
    """Return an agent as a JSON document."""
    return {
        "id": agent.id,
        "sweep": agent.sweep_id,
        "host": agent.host,
        "state": state_of(agent),
        "slots": dict(agent.slots),
        "trials": list(agent.trials),
        "started_at": agent.started_at.isoformat() if agent.started_at else None,
        "seen_at": agent.seen_at.isoformat() if agent.seen_at else None,
        "version": agent.version,
    }


def is_working(agent: AgentRecord) -> bool:
    """Return True if an agent sends heartbeats, and is not known to be gone."""
    return not agent.is_lost and not is_gone(agent.id)


def state_of(agent: AgentRecord) -> AgentState:
    """Return `running`, `draining`, `stopping`, or `lost` if the agent no longer sends heartbeats."""
    if not is_working(agent):
        return "lost"
    return STATES.get(agent.order, "running")


def order_agent(name: str, *, order: str = "", parallel: int | None = None) -> AgentDocument:
    """Give an order to an agent on any machine. The agent carries it out at its next poll.

    Args:
        name: The id of the agent, or a part of it that no other agent's id has.
        order: "drain": start no more trials, and exit after the running ones. "stop": return the running trials to
            the queue, and exit. "" for neither.
        parallel: New number of trials at the same time; None for no change. Running trials finish.

    Raises:
        NotFound: If there is no such agent.
        UsageError: If several agents match, the agent no longer runs, or it cannot change the number.
    """
    if parallel is not None and not 1 <= parallel <= MAX_SLOTS:
        raise UsageError(f"parallel: expected a number from 1 to {MAX_SLOTS}, got {parallel}")
    with Workspace().store() as store:
        agent = _find(store, name)
        if not is_working(agent):
            raise UsageError(
                f"agent {agent.id} no longer runs; another agent takes its trials over: "
                f"smsweep agent {agent.sweep_id}"
            )
        if parallel is not None and len(agent.slots) > 1:
            places = ", ".join(agent.slots)
            raise UsageError(
                f"agent {agent.id} runs at several places ({places}), whose slots cannot change; drain it, and "
                "start another one with --on PLACE:SLOTS"
            )
        return agent_data(store.order_agent(agent.sweep_id, agent.id, order=order, parallel=parallel))


def _find(store: Store, name: str) -> AgentRecord:
    agents = store.list_agents()
    found = [agent for agent in agents if agent.id == name] or [agent for agent in agents if name in agent.id]
    if not found or not name:
        raise NotFound(f"{name!r}: no such agent; list the agents with: smsweep agents")
    if len(found) > 1:
        ids = ", ".join(agent.id for agent in found[:MAX_NAMED])
        raise UsageError(f"{name!r}: {len(found)} agents match: {ids}; give more of the id")
    return found[0]
