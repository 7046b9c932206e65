// The page of a trial: params, curves and log.

import { remove, retry } from "./actions.js";
import { keepReading, path, read, save } from "./api.js";
import { CurveFigure } from "./curve_figure.js";
import { badge, button, command, copyButton, duration, make, number, refill, notify, seconds, formatValue } from "./dom.js";
import { onKey } from "./keys.js";
import { LogView } from "./log.js";

const RETRYABLE = ["failed", "crashed", "killed", "stopped"];
const OPEN = ["running", "stopping", "pending"];

export function trialPage(main, [sweepId, numberText], { signal, place, go }) {
  const n = Number(numberText);
  const label = `${sweepId}/${n}`;
  const own = path("api", "sweeps", sweepId, "trials", numberText);
  const address = (other) => path("sweeps", sweepId, "trials", String(other));
  place(`trial ${n}`, [["sweeps", "/"], [sweepId, path("sweeps", sweepId)], [`trial ${n}`, ""]]);
  const state = make("span");
  const acts = make("div", { className: "acts", role: "group", ariaLabel: "Actions" });
  const facts = make("p", { className: "soft facts-line" });
  const why = make("section", { className: "card why", hidden: true });
  const params = make("section", { className: "card" });
  const metrics = make("section", { className: "card" });
  const curves = make("section", { className: "card wide" });
  const log = new LogView(`${own}/log`, signal);
  main.append(
    make("header", { className: "head" }, make("div", { className: "title" }, make("h1", { textContent: `Trial ${n}` }), state), acts, facts),
    why, make("div", { className: "sides" }, make("div", {}, params, metrics), make("div", {}, curves, log.element)));
  const figure = new CurveFigure(curves, signal);
  let key = "";
  let shownState = "";
  let explainedRun = "";

  function draw(trial) {
    place(`trial ${n} ${trial.state}`, [["sweeps", "/"], [trial.sweep.name || sweepId, path("sweeps", sweepId)], [`trial ${n}`, ""]]);
    if (shownState !== trial.state) {
      if (shownState) notify(`trial ${label} is now ${trial.state}`);
      shownState = trial.state;
      state.replaceChildren(badge(trial.state));
      drawActs(trial);
      log.setEnded(!OPEN.includes(trial.state));
      log.begin();
    }
    refill(facts, ...[
      make("span", {}, make("code", { textContent: label }), " ", copyButton(label)),
      trial.objective !== null && trial.sweep.metric && make("span", {}, `${trial.sweep.metric.name} `, make("strong", { textContent: number(trial.objective) })),
      trial.started_at && make("span", { textContent: duration(seconds(trial.started_at, trial.ended_at)) }),
      trial.attempt > 0 && make("span", { textContent: `attempt ${trial.attempt + 1}` }),
      trial.infeasible && make("span", { className: "bad", textContent: `infeasible: ${trial.infeasible}` }),
      trial.confirms !== null && make("span", { textContent: `repeat ${trial.repeat} of trial ${trial.confirms}` }),
      trial.place && make("span", { textContent: trial.place_name ? `${trial.place_name} (${trial.place})` : trial.place }),
      trial.exit_code !== null && make("span", { textContent: `exit code ${trial.exit_code}` }),
    ].filter(Boolean));
    params.replaceChildren(make("h2", { textContent: "Params" }), pairsTable(trial.params, "no params"));
    metrics.replaceChildren(make("h2", { textContent: "Metrics, last values" }), pairsTable(trial.metrics, "none reported yet"));
    figure.update([{ label: `trial ${n}`, curves: trial.curves }], trial.sweep.metric?.name ?? trial.sweep.metrics[0]?.name);
  }

  function drawActs(trial) {
    refill(acts,
      button("Retry", async () => { if (await retry([label])) again(); }, { disabled: !RETRYABLE.includes(trial.state) }),
      make("a", { className: "button", href: `/new?t=${encodeURIComponent(label)}`, textContent: "New sweep from this", "data-key": "n" }),
      button("Download model", (event) => downloadModel(event.target), { disabled: OPEN.includes(trial.state) }),
      button("Remove", async () => { if (await remove([label])) go(path("sweeps", sweepId)); }, { className: "danger", disabled: ["running", "stopping"].includes(trial.state) }),
      make("a", { className: "button", href: address(n - 1), textContent: "‹ previous", hidden: n === 0 }),
      make("a", { className: "button", href: address(n + 1), textContent: "next ›" }));
  }

  async function downloadModel(element) {
    element.disabled = true;
    notify("the server prepares the model");
    try {
      await save(`${own}/model`, `model-${sweepId}-${n}.tar.gz`);
      notify("model downloaded");
    } catch (err) {
      notify(err.message, true);
    }
    element.disabled = false;
  }

  async function explain(trial) {
    const explanation = await read(`${own}/why`, signal);
    why.hidden = false;
    why.dataset.state = trial.state;
    refill(why,
      make("p", { className: "reason" }, make("strong", { textContent: `The trial ${explanation.why}.` }), " ", make("span", { textContent: trial.reason })),
      make("div", { className: "again" }, make("span", { className: "soft", textContent: "Run it again: " }), command(`smsweep reproduce ${label}`)));
  }

  const again = keepReading(async () => {
    const trial = await read(own, signal);
    const now = JSON.stringify(trial);
    if (now !== key) draw(trial);
    key = now;
    const run = `${trial.attempt} ${trial.state}`;
    if (explainedRun !== run) await explain(trial);
    explainedRun = run;
    return OPEN.includes(trial.state) ? 1500 : 6000;
  }, signal);

  if (n > 0) onKey("[", "previous trial", () => go(address(n - 1)), signal);
  onKey("]", "next trial", () => go(address(n + 1)), signal);
  onKey("l", "follow the log on or off", () => log.toggle(), signal);
  onKey("u", "go to the sweep", () => go(path("sweeps", sweepId)), signal);
}

export function pairsTable(values, none) {
  const names = Object.keys(values);
  if (!names.length) return make("p", { className: "soft", textContent: none });
  return make("table", { className: "pairs-table" }, make("tbody", {}, ...names.map((name) => make("tr", {},
    make("th", { scope: "row", textContent: name }), make("td", { textContent: number(values[name]), title: typeof values[name] === "object" ? formatValue(values[name]) : String(values[name]) })))));
}
