// The agents of a sweep on all machines, and those that were started on the machine of this page, with their logs.

import { Refused, change, keepReading, path, read } from "./api.js";
import { confirmAction } from "./dialog.js";
import { ago, button, command, make, many, refill, notify } from "./dom.js";

const MAX_PARALLEL = 256;

export class Agents {
  constructor(panel, model) {
    this.model = model;
    this.address = path("api", "sweeps", model.sweepId, "agents");
    this.parallel = make("input", { type: "number", min: 1, max: MAX_PARALLEL, value: "1", id: "agent-parallel", ariaLabel: "trials at the same time" });
    this.backend = make("select", { id: "agent-backend", ariaLabel: "backend" });
    this.start = button("Start agent", () => this.begin(), { className: "main", "data-key": "start-agent" });
    this.numbers = new Map(); // agent -> number that the user entered, until the agent applies it
    this.list = make("div", { className: "local" });
    this.all = make("div", { className: "all" });
    this.form = make("form", { className: "bar" }, make("label", {}, "parallel ", this.parallel), make("label", {}, "backend ", this.backend), this.start);
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.begin(); });
    this.element = make("section", { className: "card agents", ariaLabel: "Agents" }, make("h2", { textContent: "Agents on this machine" }), this.form, this.list,
      make("h3", { textContent: "On all machines" }), this.all,
      make("details", {}, make("summary", { textContent: "Start an agent on another machine" }), command(`smsweep agent ${model.sweepId}`)));
    panel.append(this.element);
    this.again = keepReading(async () => {
      this.show(await read(this.address, model.signal));
      return this.agents.some((agent) => agent.is_running) ? 2000 : 6000;
    }, model.signal);
  }

  show({ agents, all, backends, backend }) {
    this.agents = agents;
    for (const { id, slots } of all) if (this.numbers.get(id) === String(Object.values(slots)[0])) this.numbers.delete(id);
    const allKey = JSON.stringify(all);
    if (allKey !== this.allKey) refill(this.all, ...(all.length ? all.map((agent) => this.remoteLine(agent)) : [make("p", { className: "soft", textContent: "No agent works on this sweep." })]));
    this.allKey = allKey;
    this.backends = backends;
    if (!this.backend.options.length) {
      this.backend.replaceChildren(...backends.map(({ name, costs_money: costs }) => make("option", { value: name }, costs ? `${name} (costs money)` : name)));
      this.backend.value = backend;
    }
    const key = JSON.stringify(agents);
    if (key === this.key) return;
    this.key = key;
    const open = new Set([...this.list.querySelectorAll("details[open]")].map((each) => each.dataset.number));
    refill(this.list, ...agents.map((agent) => this.line(agent, open.has(String(agent.number)))));
    for (const log of this.list.querySelectorAll("pre")) log.scrollTop = log.scrollHeight;
  }

  line(agent, isOpen) {
    const log = agent.log.join("\n");
    const state = agent.is_running ? "running" : "ended";
    return make("div", { className: "agent", "data-number": agent.number },
      make("div", { className: "bar" },
        make("span", { className: "badge", "data-state": agent.is_running ? "running" : "pending", textContent: state }),
        make("span", { textContent: `agent ${agent.number}` }), make("code", { textContent: agent.arguments.join(" ") }),
        make("span", { className: "soft" }, `process ${agent.pid}, started `, ago(agent.started_at)),
        ...(agent.is_running ? [
          button("Finish", () => this.stop(agent, false), { title: "exit after the running trials", "data-key": `finish-${agent.number}` }),
          button("Stop now", () => this.stop(agent, true), { className: "danger", "data-key": `stop-${agent.number}` })] : [])),
      make("details", { open: isOpen, "data-number": agent.number }, make("summary", { textContent: log ? `Log, last ${many(agent.log.length, "line")}` : "Log: no output yet" }),
        make("pre", { textContent: log, tabIndex: 0 })));
  }

  remoteLine(agent) {
    const places = Object.entries(agent.slots).map(([place, slots]) => `${place}: ${many(slots, "slot")}`).join(", ");
    const trials = agent.trials.length ? `trials ${agent.trials.join(", ")}` : "no trial";
    const isOne = Object.keys(agent.slots).length === 1;
    const slots = make("input", { type: "number", min: 1, max: MAX_PARALLEL, value: this.numbers.get(agent.id) ?? String(Object.values(agent.slots)[0] ?? 1), ariaLabel: `parallel of agent ${agent.id}`,
      "data-key": `parallel ${agent.id}`, oninput: () => this.numbers.set(agent.id, slots.value) });
    return make("div", { className: "agent", "data-agent": agent.id }, make("div", { className: "bar" },
      make("span", { className: "badge", "data-state": agent.state === "lost" ? "crashed" : agent.state === "running" ? "running" : "stopping", textContent: agent.state }),
      make("code", { textContent: agent.id }), make("span", { textContent: `${places}; ${trials}` }),
      make("span", { className: "soft" }, `smsweep ${agent.version}, started `, ago(agent.started_at), ", last heartbeat ", ago(agent.seen_at)),
      ...(agent.state === "lost" ? [] : [
        ...(isOne ? [slots, button("Set parallel", () => this.order(agent, { parallel: Number(slots.value) }), { "data-key": `set ${agent.id}` })] : []),
        button("Drain", () => this.order(agent, { order: "drain" }), { title: "exit after the running trials", "data-key": `drain ${agent.id}` }),
        button("Stop", () => this.order(agent, { order: "stop" }), { className: "danger", title: "return the running trials to the queue and exit", "data-key": `stop ${agent.id}` })])));
  }

  async order(agent, order) {
    if (order.order === "stop" && !(await confirmAction(`Stop agent ${agent.id}?`, "Its running trials are stopped and return to the queue.", "Stop agent"))) return;
    try {
      this.show(await change(this.address, { agent: agent.id, ...order }));
      notify(`agent ${agent.id} gets the order at its next poll`);
    } catch (err) {
      notify(err instanceof Refused ? err.problems.join("\n") : err.message, true);
    }
    this.again();
  }

  async begin() {
    const costs = this.backends?.find(({ name }) => name === this.backend.value)?.costs_money;
    if (costs && !(await confirmAction(`Start jobs on ${this.backend.value}?`, costText(this.model.sweep, this.backend.value, this.parallel.value), "Start and pay"))) return;
    this.start.disabled = true;
    await startAgent(this.model.sweepId, this.backend.value, Number(this.parallel.value), Boolean(costs), (answer) => this.show(answer));
    this.start.disabled = false;
    this.again();
    this.model.read();
  }

  async stop(agent, atOnce) {
    if (atOnce && !(await confirmAction(`Stop agent ${agent.number} now?`, "Its running trials are stopped and return to the queue.", "Stop agent"))) return;
    try {
      this.show(await change(`${this.address}/${agent.number}/stop`, { at_once: atOnce }));
      notify(atOnce ? `agent ${agent.number} stops` : `agent ${agent.number} exits after its running trials`);
    } catch (err) {
      notify(err instanceof Refused ? err.problems.join("\n") : err.message, true);
    }
    this.again();
  }
}

// What the jobs of a sweep can cost, as far as the page knows.
export function costText(sweep, backend, parallel) {
  const { price = null, budget = {} } = sweep?.usage ?? {};
  const limits = [budget.usd && `$${budget.usd}`, budget.hours && `${budget.hours} instance hours`].filter(Boolean).join(" and ");
  return [`Each trial is a job of ${backend} in your AWS account, and costs money.`,
    price ? `Last known price: $${price.per_hour} per hour and job, up to ${parallel} jobs at the same time.` : "The price is unknown to this page: `smsweep plan --backend sagemaker` prints it.",
    limits ? `The budget of the sweep is ${limits}.` : "The sweep has no budget, so all of its trials run.",
    sweep?.expected_trial_count ? `It has ${many(sweep.expected_trial_count, "trial")}.` : sweep ? "The number of its trials is not limited." : ""].filter(Boolean).join(" ");
}

// Start an agent and return the server's answer, or null after an error, which is shown.
export async function startAgent(sweepId, backend, parallel, acceptsCost, show = () => {}) {
  try {
    const answer = await change(path("api", "sweeps", sweepId, "agents"), { backend, parallel, accepts_cost: acceptsCost });
    show(answer);
    notify(`agent ${answer.agents[0].number} of sweep ${sweepId} is started`);
    return answer;
  } catch (err) {
    notify(err instanceof Refused ? err.problems.join("\n") : err.message, true);
    return null;
  }
}
