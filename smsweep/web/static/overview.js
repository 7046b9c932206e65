// The overview of a sweep.

import { Agents } from "./agents.js";
import { path } from "./api.js";
import { LiveFigure } from "./figures_live.js";
import { Notes } from "./notes.js";
import { STATES, badge, button, duration, empty, flat, make, many, number, pairs, progress, refill, seconds, spark } from "./dom.js";

const ENDED = ["finished", "stopped", "failed", "crashed", "killed"];
const N_BEST = 5;

export class Overview {
  constructor(panel, model) {
    this.model = model;
    this.tiles = make("div", { className: "tiles" });
    this.running = make("div");
    this.failures = make("div");
    this.best = make("div");
    const choose = (n) => model.go(path("sweeps", model.sweepId, "trials", String(n)));
    const figures = [["history", "Optimization history"], ["curves", "Learning curves"]].map(([name, title]) => {
      const element = make("div", { className: "figure", "data-figure": name, role: "figure", ariaLabel: title });
      return { card: make("section", { className: "card" }, make("h2", { textContent: title }), element),
        figure: new LiveFigure(element, model, name, { choose }) };
    });
    this.figures = figures.map(({ figure }) => figure);
    for (const figure of this.figures) figure.prefetch();
    this.cards = make("div", { className: "two" }, ...figures.map(({ card }) => card));
    const more = make("div", { className: "two" });
    panel.append(this.tiles, this.running, this.cards, this.failures, this.best, more);
    this.agents = new Agents(more, model);
    this.notes = new Notes(more, model);
  }

  update() {
    const { sweep, revision, rows } = this.model;
    const all = [...rows.values()];
    refill(this.tiles, ...tiles(sweep, all));
    this.drawRunning(sweep);
    this.drawFailures(sweep);
    this.drawBest(sweep, all);
    this.notes.update();
    this.cards.hidden = !all.length;
    for (const figure of this.figures) figure.update(revision);
  }

  tick() {
    for (const figure of this.figures) figure.draw();
  }

  drawRunning(sweep) {
    if (!sweep.running.length) {
      const isIdle = sweep.state === "running";
      const text = isIdle ? (this.model.rows.size ? "No trial is running" : "No trial has run yet") : "";
      refill(this.running, ...(isIdle ? [make("section", { className: "card hint" },
        make("p", {}, `${text}.`, ...(sweep.has_agent ? [] : [" No agent runs this sweep: ", button("start one", () => this.agents.start.focus(), { className: "lead" }), "."])))] : []));
      return;
    }
    const waiting = new Map(sweep.waiting.map(({ number: n, reason }) => [n, reason]));
    const lines = sweep.running.map((trial) => make("tr", {},
      make("td", {}, make("a", { href: path("sweeps", sweep.id, "trials", String(trial.number)), textContent: trial.number })),
      make("td", {}, badge(trial.state)),
      make("td", {}, spark(trial.curve, `${sweep.metric?.name ?? "metric"} so far`)),
      make("td", { className: "number", textContent: number(trial.objective) }),
      make("td", { className: "number", textContent: trial.n_reports }),
      make("td", { className: "number", textContent: duration(seconds(trial.started_at, null)) }),
      make("td", {}, waiting.has(trial.number) ? make("span", { className: "bad", textContent: waiting.get(trial.number) }) : pairs(flat(trial.params)))));
    const heads = ["trial", "state", "so far", numbers(sweep.metric?.name ?? "metric"), numbers("reports"), numbers("time"), "params"];
    const more = (sweep.trials.running ?? 0) + (sweep.trials.stopping ?? 0) - sweep.running.length;
    refill(this.running, make("section", { className: "card" }, make("h2", { textContent: "Running now" }), table(heads, lines),
      more > 0 ? make("p", { className: "soft", textContent: `and ${more} more` }) : ""));
  }

  drawFailures({ failures }) {
    const total = failures.reduce((sum, { trials }) => sum + trials, 0);
    this.failures.replaceChildren(...(total ? [make("section", { className: "card" },
      make("h2", { textContent: "Failures by reason" }),
      make("ul", { className: "reasons" }, ...failures.slice(0, 8).map(({ reason, trials }) =>
        make("li", {}, make("strong", { className: "bad", textContent: `${trials} ×` }), " ", make("span", { textContent: reason })))))] : []));
  }

  drawFront(sweep) {
    const names = sweep.metrics.map(({ name }) => name);
    const lines = sweep.front.map((n) => this.model.rows.get(n)).filter(Boolean).map((row) => make("tr", {},
      make("td", {}, make("a", { href: path("sweeps", sweep.id, "trials", String(row.number)), textContent: row.number })),
      ...names.map((name) => make("td", { className: "number", textContent: number(row[`metrics.${name}`]) })), make("td", {}, pairs(params(row)))));
    refill(this.best, ...(lines.length ? [make("section", { className: "card" }, make("h2", { textContent: "Pareto front" }),
      table(["trial", ...names.map(numbers), "params"], lines))] : []));
  }

  drawBest(sweep, all) {
    if (sweep.metrics.length > 1) {
      this.drawFront(sweep);
      return;
    }
    const sign = sweep.metric?.goal === "maximize" ? -1 : 1;
    const scored = all.filter((row) => typeof row.objective === "number" && !["failed", "crashed"].includes(row.state) && !row.infeasible);
    scored.sort((a, b) => sign * (a.objective - b.objective));
    const lines = scored.slice(0, N_BEST).map((row) => make("tr", {},
      make("td", {}, make("a", { href: path("sweeps", sweep.id, "trials", String(row.number)), textContent: row.number })),
      make("td", {}, badge(row.state)), make("td", { className: "number strong", textContent: number(row.objective) }),
      make("td", { className: "number", textContent: duration(seconds(row.started_at, row.ended_at)) }),
      make("td", {}, pairs(params(row)))));
    refill(this.best, ...(lines.length ? [make("section", { className: "card" }, make("h2", { textContent: "Best trials" }),
      table(["trial", "state", numbers(sweep.metric?.name ?? "metric"), numbers("time"), "params"], lines))] : []));
    if (!all.length && sweep.state !== "running") refill(this.best, empty("This sweep has ended without trials"));
  }
}

export const params = (row) => Object.fromEntries(Object.entries(row)
  .filter(([name, value]) => name.startsWith("params.") && value !== null && value !== undefined)
  .map(([name, value]) => [name.slice("params.".length), value]));

const numbers = (text) => ({ text, isNumber: true });

// heads: text, or { text, isNumber } for a column of numbers.
export function table(heads, lines, label = "") {
  return make("div", { className: "scroll short", tabIndex: 0, role: "region", ariaLabel: label || "table" }, make("table", { className: (heads[heads.length - 1]?.text ?? heads[heads.length - 1]) === "params" ? "with-params" : "", ...(label ? { ariaLabel: label } : {}) },
    make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col", className: head.isNumber ? "number" : "" }, make("span", { textContent: head.text ?? head }))))),
    make("tbody", {}, ...lines)));
}

function tile(title, big, ...more) {
  return make("div", { className: "tile" }, make("div", { className: "label", textContent: title }),
    make("div", { className: "big" }, big), ...more.filter(Boolean).map((each) => make("div", { className: "soft line" }, each)));
}

function tiles(sweep, all) {
  const total = all.length;
  const expected = sweep.expected_trial_count;
  const ended = ENDED.reduce((sum, state) => sum + (sweep.trials[state] ?? 0), 0);
  const counts = STATES.filter((state) => sweep.trials[state]).map((state) =>
    make("span", { className: "count", "data-state": state, textContent: `${sweep.trials[state]} ${state}` }));
  const metric = sweep.metric ?? sweep.metrics[0];
  const { best, usage } = sweep;
  const starts = all.map((row) => row.started_at).filter(Boolean).sort();
  const isActive = Boolean(sweep.trials.running || sweep.trials.stopping);
  const ends = all.map((row) => row.ended_at).filter(Boolean).sort();
  const passed = starts.length ? seconds(starts[0], isActive ? null : ends[ends.length - 1]) : NaN;
  const remaining = isActive && expected !== null && ended > 0 ? (passed / ended) * (expected - ended) : NaN;
  const budget = usage.budget.usd ? ` of $${usage.budget.usd}` : usage.budget.hours ? ` of ${usage.budget.hours} hours` : "";
  const spent = usage.usd !== null ? `$${usage.usd.toFixed(2)}` : duration(usage.hours * 3600);
  return [
    tile("Trials", `${ended}${expected === null ? "" : ` of ${expected}`} ended`, progress(sweep.trials, expected), make("span", { className: "counts" }, ...counts),
      total ? "" : "none yet"),
    sweep.metrics.length > 1 ? tile("Pareto front", many(sweep.front.length, "trial"),
      `no trial is better in all of ${sweep.metrics.map(({ name }) => name).join(", ")}`) : metric && tile(`Best ${metric.name}`, best ? make("a", { href: path("sweeps", sweep.id, "trials", String(best.number)),
      title: `trial ${best.number}`, textContent: number(best.repeats?.mean ?? best.objective) }) : "–",
    best?.repeats && `mean of ${many(best.repeats.n_values, "repeat")}` + (best.repeats.interval
      ? `, 95 % interval ${best.repeats.interval.map(number).join(" to ")}` : ""),
    best ? make("span", {}, `trial ${best.number} `, pairs(flat(best.params))) : `${metric.goal}; no value yet`,
    sweep.metric?.target !== null && sweep.metric?.target !== undefined ? `target ${number(sweep.metric.target)}` : ""),
    tile("Time", duration(passed), isActive ? (Number.isFinite(remaining) ? `about ${duration(remaining)} left` : "running") : total ? "from the first start to the last end" : ""),
    tile(usage.usd !== null || budget.includes("$") ? "Cost" : "Instance time", `${spent}${budget}`, many(usage.jobs, "job"), sweep.outlook),
  ].filter(Boolean);
}
