// Compare trials side by side.

import { keepReading, path, read } from "./api.js";
import { badge, button, duration, empty, make, number, refill, seconds } from "./dom.js";
import { CurveFigure } from "./curve_figure.js";

export function comparePage(main, _, { signal, place, go }) {
  const labels = new URLSearchParams(location.search).getAll("t");
  place(`compare ${labels.length}`, [["sweeps", "/"], ["compare", ""]]);
  const query = labels.map((label) => `t=${encodeURIComponent(label)}`).join("&");
  const others = make("input", { type: "checkbox", checked: true, id: "only-different" });
  const add = make("input", { placeholder: "ID/N", ariaLabel: "trial to add, as ID/N", size: 12 });
  const addForm = make("form", { className: "bar" }, add, make("button", { textContent: "Add" }));
  addForm.addEventListener("submit", (event) => {
    event.preventDefault();
    if (add.value.trim()) go(`/compare?${query}&t=${encodeURIComponent(add.value.trim())}`);
  });
  main.append(make("header", { className: "head" }, make("div", { className: "title" }, make("h1", { textContent: "Compare trials" })),
    make("div", { className: "acts" }, addForm, make("a", { className: "button", href: `/new?${query}`, textContent: "New sweep from these", "data-key": "n" }))));
  if (!labels.length) {
    main.append(empty("Nothing to compare yet", make("p", { textContent: "Select trials in the table of a sweep and press Compare, or add a trial above." })));
    return;
  }
  const curves = make("section", { className: "card" });
  const table = make("section", { className: "card" });
  const bar = make("div", { className: "bar" }, make("h2", { textContent: "Side by side" }), make("label", {}, others, " only params that differ"));
  main.append(curves, table);
  const figure = new CurveFigure(curves, signal);
  let trials = [];
  let key = "";
  others.addEventListener("change", () => draw());

  function draw() {
    const isMany = new Set(trials.map(({ sweep }) => sweep.id)).size > 1;
    const head = (trial) => make("th", { scope: "col" }, make("span", {},
      make("a", { href: path("sweeps", trial.sweep.id, "trials", String(trial.number)), textContent: isMany ? trial.label : `trial ${trial.number}` }), " ",
      button("×", () => go(`/compare?${labels.filter((label) => label !== trial.label).map((label) => `t=${encodeURIComponent(label)}`).join("&")}`),
        { ariaLabel: `remove ${trial.label}`, className: "plain" })));
    const facts = [
      ["state", (trial) => badge(trial.state)], ["objective", (trial) => number(trial.objective), (trial) => trial.objective],
      ["time", (trial) => duration(seconds(trial.started_at, trial.ended_at))], ["attempt", (trial) => String(trial.attempt + 1)]];
    const body = [...facts.map(([name, show, value]) => row(name, trials.map(show), value && bestIndex(trials, value))),
      ...group("params", "Params"), ...group("metrics", "Metrics, last values")];
    refill(table, bar,
      make("div", { className: "scroll" }, make("table", { className: "compare", ariaLabel: "trials side by side" },
        make("thead", {}, make("tr", {}, make("th", { scope: "col" }, make("span", {}, make("span", { className: "hidden-text", textContent: "property" }))), ...trials.map(head))), make("tbody", {}, ...body))));
  }

  function bestIndex(candidates, value) {
    const goal = candidates[0].sweep.metric?.goal;
    const numbers = candidates.map(value).filter((each) => typeof each === "number");
    return goal && numbers.length > 1 ? numbers.indexOf((goal === "maximize" ? Math.max : Math.min)(...numbers)) >= 0 && candidates.findIndex((trial) =>
      value(trial) === (goal === "maximize" ? Math.max : Math.min)(...numbers)) : -1;
  }

  function group(field, title) {
    const names = [...new Set(trials.flatMap((trial) => Object.keys(trial[field])))];
    const rows = names.map((name) => {
      const values = trials.map((trial) => (Object.hasOwn(trial[field], name) ? trial[field][name] : undefined)); // not an object's own `constructor`
      const isSame = values.every((value) => JSON.stringify(value) === JSON.stringify(values[0]));
      return isSame && field === "params" && others.checked && trials.length > 1 ? null : row(name, values.map(number), -1, isSame);
    }).filter(Boolean);
    return rows.length ? [make("tr", { className: "group" }, make("th", { colSpan: trials.length + 1, scope: "colgroup", textContent: title })), ...rows] : [];
  }

  function row(name, cells, marked = -1, isSame = false) {
    return make("tr", { className: isSame ? "same" : "" }, make("th", { scope: "row", textContent: name }), ...cells.map((cell, i) =>
      make("td", { className: i === marked ? "strong" : "" }, i === marked ? "★ " : "", cell)));
  }

  keepReading(async () => {
    ({ trials } = await read(`/api/compare?${query}`, signal));
    const now = JSON.stringify(trials);
    if (now !== key) {
      draw();
      figure.update(trials.map(({ label, curves: all }) => ({ label, curves: all })), trials[0].sweep.metric?.name);
    }
    key = now;
    return trials.some(({ state }) => ["running", "stopping", "pending"].includes(state)) ? 2500 : 8000;
  }, signal);
}
