// The page of a sweep.

import { remove, retry, setState } from "./actions.js";
import { keepReading, path, read } from "./api.js";
import { ago, badge, button, copyButton, make, many, refill, notify, sweepState } from "./dom.js";
import { onKey } from "./keys.js";
import { Overview } from "./overview.js";
import { Analysis } from "./analysis.js";
import { Trials } from "./trials.js";
import { Config } from "./config.js";
import { plotly } from "./figures_live.js";
import { ViewState } from "./view_state.js";

const TABS = [["overview", "Overview", Overview], ["trials", "Trials", Trials], ["analysis", "Analysis", Analysis], ["config", "Config", Config]];
const OVER = ["finished", "cancelled"];

export function sweepPage(main, [sweepId], page) {
  const { signal, place, go } = page;
  place(sweepId, [["sweeps", "/"], [sweepId, ""]]);
  const head = make("header", { className: "head" });
  const title = make("h1");
  const state = make("span");
  const facts = make("p", { className: "soft facts-line" });
  const acts = make("div", { className: "acts", role: "group", ariaLabel: "Actions" });
  head.append(make("div", { className: "title" }, title, state), acts, facts);
  const filterNote = make("div", { className: "bar filter-note", hidden: true });
  const list = make("div", { role: "tablist", ariaLabel: "Views of this sweep", className: "tabs" });
  const panels = make("div");
  main.append(head, list, filterNote, panels);

  const model = { sweepId, sweep: null, columns: [], rows: new Map(), revision: 0, go, signal, read: () => again(), view: new ViewState(),
    context: () => chosenTrials(model), refilter };
  const views = TABS.map(([name, text, View]) => {
    const panel = make("section", { role: "tabpanel", id: `panel-${name}`, hidden: true, tabIndex: -1 });
    panel.setAttribute("aria-labelledby", `tab-${name}`);
    const tab = make("button", { type: "button", role: "tab", id: `tab-${name}`, textContent: text, onclick: () => show(name) });
    tab.setAttribute("aria-controls", panel.id);
    list.append(tab);
    panels.append(panel);
    return { name, tab, panel, View, view: null };
  });
  list.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const at = views.findIndex(({ tab }) => tab === document.activeElement);
    const next = views[(at + by + views.length) % views.length];
    show(next.name);
    next.tab.focus();
  });

  function show(name) {
    // Before any other change, because the browser computes the layout of the page.
    if (location.hash !== `#${name}`) history.replaceState(null, "", `${location.pathname}${location.search}${name === "overview" ? "" : `#${name}`}`);
    for (const each of views) {
      const isShown = each.name === name;
      each.tab.ariaSelected = String(isShown);
      each.tab.tabIndex = isShown ? 0 : -1;
      each.panel.hidden = !isShown;
      if (isShown) {
        each.view ||= new each.View(each.panel, model);
        if (model.sweep) each.view.update();
      }
    }
    drawFilterNote();
  }

  // The filter of the table applies to the figures of all tabs; the other tabs show it.
  function drawFilterNote() {
    const { only } = model.sweep ? model.context() : { only: null };
    const isTable = views.find(({ name }) => name === "trials").tab.ariaSelected === "true";
    filterNote.hidden = isTable || !only;
    if (filterNote.hidden) return;
    const texts = [model.view.get("filter"), model.view.get("state")].filter(Boolean);
    refill(filterNote, make("span", { textContent: `Figures show ${only.size} of ${model.rows.size} trials: ${texts.join(", ")}` }),
      button("Show all trials", () => { model.view.set("filter", ""); model.view.set("state", ""); refilter(true); }));
  }

  // isCleared: the filter was removed outside of the table.
  function refilter(isCleared = false) {
    for (const { view, panel } of views) {
      if (isCleared) view?.clearFilter?.();
      if (view) for (const figure of view.figures ?? []) if (!panel.hidden || figure.view.raw) figure.refilter();
    }
    drawFilterNote();
  }
  const tabOfUrl = () => (views.find(({ name }) => `#${name}` === location.hash) ?? views[0]).name;
  addEventListener("hashchange", () => show(tabOfUrl()), { signal });

  function drawHead() {
    const { sweep } = model;
    const name = sweep.name || sweep.id;
    const total = Object.values(sweep.trials).reduce((a, b) => a + b, 0);
    place(`${total}${sweep.expected_trial_count === null ? "" : `/${sweep.expected_trial_count}`} ${name}`, [["sweeps", "/"], [name, ""]]);
    title.textContent = name;
    const now = sweepState(sweep);
    if (state.dataset.state !== now) {
      if (state.dataset.state) notify(`sweep ${sweep.id} is now ${now}`);
      state.dataset.state = now;
      state.replaceChildren(badge(now, true));
    }
    const goals = (sweep.metrics.length ? sweep.metrics : [sweep.metric].filter(Boolean)).map(({ name: metric, goal }) => `${goal} ${metric}`);
    refill(facts, ...[
      make("span", {}, make("code", { textContent: sweep.id }), " ", copyButton(sweep.id)),
      make("span", { textContent: `${sweep.method}, seed ${sweep.seed}` }),
      ...goals.map((goal) => make("span", { textContent: goal })),
      sweep.n_agents && make("span", { textContent: many(sweep.n_agents, "agent") }),
      make("span", {}, "created ", ago(sweep.created_at)),
      sweep.program && make("span", { textContent: sweep.program }),
    ].filter(Boolean));
    drawActs(sweep);
  }

  function drawActs(sweep) {
    const failed = (sweep.trials.failed ?? 0) + (sweep.trials.crashed ?? 0);
    const active = (sweep.trials.running ?? 0) + (sweep.trials.stopping ?? 0);
    const key = `${sweep.state} ${failed} ${active > 0}`;
    if (acts.dataset.key === key) return;
    acts.dataset.key = key;
    const isOn = sweep.state === "running";
    const act = (text, run, options = {}) => button(text, async () => { await run(); again(); }, options);
    refill(acts,
      isOn ? act("Pause", () => setState(sweepId, "pause"), { "data-key": "p" })
        : act("Resume", resume, { "data-key": "p" }),
      act("Stop", () => setState(sweepId, "stop"), { disabled: OVER.includes(sweep.state) || sweep.state === "stopped" }),
      sweep.state === "cancelled" && active ? act("Kill trials", () => setState(sweepId, "kill"), { className: "danger" })
        : act("Cancel", () => setState(sweepId, "cancel"), { disabled: OVER.includes(sweep.state) }),
      failed ? act(`Retry ${failed} failed`, () => retry([sweepId], true)) : "",
      make("a", { className: "button", href: `/new?t=${encodeURIComponent(sweepId)}`, textContent: "New sweep from this", "data-key": "n" }),
      button("Remove", async () => { if (await remove([sweepId])) go("/"); }, { className: "danger" }));
  }

  // Resume, and point to the agents if none runs on this machine.
  async function resume() {
    if (!(await setState(sweepId, "resume"))) return;
    show("overview");
    const { agents } = views[0].view;
    agents.element.scrollIntoView({ block: "center" });
    if (!agents.agents?.some((agent) => agent.is_running)) agents.start.focus();
  }

  function applyChanges(changes) {
    const isNew = changes.revision !== model.revision || !model.sweep;
    const { waiting, has_agent: hasAgent, n_agents: agents } = changes.sweep;
    const unnumbered = JSON.stringify([waiting, hasAgent, agents]); // changes without a new revision
    if (!isNew && unnumbered === model.unnumbered) return;
    Object.assign(model, { sweep: changes.sweep, columns: changes.columns, revision: changes.revision, unnumbered });
    for (const cells of changes.rows) {
      const row = Object.fromEntries(changes.columns.map((name, i) => [name, cells[i]]));
      model.rows.set(row.number, row);
    }
    for (const number of changes.removed) model.rows.delete(number);
    model.cachedTrials = null;
    drawHead();
    drawFilterNote();
    for (const { view, panel } of views) if (view && !panel.hidden) view.update();
  }

  plotly().catch(() => {}); // the figures report it
  onKey("p", "pause or resume", () => acts.querySelector("[data-key=p]").click(), signal);
  TABS.forEach(([name, text], i) => onKey(String(i + 1), `show ${text.toLowerCase()}`, () => show(name), signal));
  show(tabOfUrl());
  const again = keepReading(async () => {
    applyChanges(await read(`${path("api", "sweeps", sweepId)}?since=${model.revision}`, signal));
    const { trials, state: now } = model.sweep;
    for (const { view, panel } of views) if (view && !panel.hidden) view.tick?.();
    return trials.running || trials.stopping ? 1000 : now === "running" ? 2000 : 5000;
  }, signal);
}

// Return the trials that the table's filter accepts (`only`: a Set, or null for all), and all trials, best first (`ranked`).
function chosenTrials(model) {
  const [text, state] = [model.view.get("filter").trim(), model.view.get("state")];
  const key = `${model.revision} ${state} ${text}`;
  if (model.cachedTrials?.key === key) return model.cachedTrials;
  const { columns, sweep } = model;
  const metric = sweep.metrics[0] ?? sweep.metric;
  const objective = sweep.metrics.length ? `metrics.${metric.name}` : "objective";
  const cells = [...model.rows.values()].map((row) => columns.map((name) => row[name] ?? null));
  const at = (name) => columns.indexOf(name);
  const ranked = rankedTrials(cells, { number: at("number"), state: at("state"), objective: at(objective), infeasible: at("infeasible") }, metric?.goal === "maximize" ? -1 : 1);
  const { passes } = trialTest(text, columns);
  const accepted = cells.filter((row) => passes(row) && (!state || row[at("state")] === state));
  const only = text || state ? new Set(accepted.map((row) => row[at("number")])) : null;
  model.cachedTrials = { key, ranked, only: only && only.size === cells.length ? null : only, objective };
  return model.cachedTrials;
}
