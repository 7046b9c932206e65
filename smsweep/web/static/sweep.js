// The page of a sweep.

import { remove, retry, setState } from "./actions.js";
import { keepReading, path, read } from "./api.js";
import { ago, badge, button, copyButton, make, refill, say } from "./dom.js";
import { onKey } from "./keys.js";
import { Overview } from "./overview.js";
import { Analysis } from "./analysis.js";
import { Trials } from "./trials.js";
import { Config } from "./config.js";

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
  const list = make("div", { role: "tablist", ariaLabel: "Views of this sweep", className: "tabs" });
  const panels = make("div");
  main.append(head, list, panels);

  const model = { sweepId, sweep: null, columns: [], rows: new Map(), revision: 0, go, signal, read: () => again() };
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
    if (location.hash !== `#${name}`) history.replaceState(null, "", name === "overview" ? location.pathname : `#${name}`);
  }
  const named = () => (views.find(({ name }) => `#${name}` === location.hash) ?? views[0]).name;
  addEventListener("hashchange", () => show(named()), { signal });

  function drawHead() {
    const { sweep } = model;
    const name = sweep.name || sweep.id;
    const total = Object.values(sweep.trials).reduce((a, b) => a + b, 0);
    place(`${total}${sweep.expected_trial_count === null ? "" : `/${sweep.expected_trial_count}`} ${name}`, [["sweeps", "/"], [name, ""]]);
    title.textContent = name;
    if (state.dataset.state !== sweep.state) {
      if (state.dataset.state) say(`sweep ${sweep.id} is now ${sweep.state}`);
      state.dataset.state = sweep.state;
      state.replaceChildren(badge(sweep.state, true));
    }
    const goals = (sweep.metrics.length ? sweep.metrics : [sweep.metric].filter(Boolean)).map(({ name: metric, goal }) => `${goal} ${metric}`);
    refill(facts, ...[
      make("span", {}, make("code", { textContent: sweep.id }), " ", copyButton(sweep.id)),
      make("span", { textContent: `${sweep.method}, seed ${sweep.seed}` }),
      ...goals.map((goal) => make("span", { textContent: goal })),
      make("span", {}, "created ", ago(sweep.created_at)),
      sweep.program && make("span", { textContent: sweep.program }),
    ].filter(Boolean));
    drawActs(sweep);
  }

  function drawActs(sweep) {
    const failed = (sweep.trials.failed ?? 0) + (sweep.trials.crashed ?? 0);
    const key = `${sweep.state} ${failed}`;
    if (acts.dataset.key === key) return;
    acts.dataset.key = key;
    const isOn = sweep.state === "running";
    const act = (text, run, options = {}) => button(text, async () => { await run(); again(); }, options);
    refill(acts,
      isOn ? act("Pause", () => setState(sweepId, "pause"), { "data-key": "p" })
        : act("Resume", () => setState(sweepId, "resume"), { "data-key": "p" }),
      act("Stop", () => setState(sweepId, "stop"), { disabled: OVER.includes(sweep.state) || sweep.state === "stopped" }),
      act("Cancel", () => setState(sweepId, "cancel"), { disabled: OVER.includes(sweep.state) }),
      failed ? act(`Retry ${failed} failed`, () => retry([sweepId], true)) : "",
      make("a", { className: "button", href: `/new?t=${encodeURIComponent(sweepId)}`, textContent: "New sweep from this", "data-key": "n" }),
      button("Remove", async () => { if (await remove([sweepId])) go("/"); }, { className: "danger" }));
  }

  function take(news) {
    const isNew = news.revision !== model.revision || !model.sweep;
    const waiting = JSON.stringify(news.sweep.waiting);
    if (!isNew && waiting === model.waiting) return;
    Object.assign(model, { sweep: news.sweep, columns: news.columns, revision: news.revision, waiting });
    for (const cells of news.rows) {
      const row = Object.fromEntries(news.columns.map((name, i) => [name, cells[i]]));
      model.rows.set(row.number, row);
    }
    for (const gone of news.removed) model.rows.delete(gone);
    drawHead();
    for (const { view, panel } of views) if (view && !panel.hidden) view.update();
  }

  onKey("p", "pause or resume", () => acts.querySelector("[data-key=p]").click(), signal);
  TABS.forEach(([name, text], i) => onKey(String(i + 1), `show ${text.toLowerCase()}`, () => show(name), signal));
  show(named());
  const again = keepReading(async () => {
    take(await read(`${path("api", "sweeps", sweepId)}?since=${model.revision}`, signal));
    const { trials, state: now } = model.sweep;
    for (const { view, panel } of views) if (view && !panel.hidden) view.tick?.();
    return trials.running || trials.stopping ? 1000 : now === "running" ? 2000 : 5000;
  }, signal);
}
