// A scatter plot of any two columns of the trials.

import { make } from "./dom.js";
import { LiveFigure } from "./figures_live.js";

const COLORS = { finished: "#0072b2", running: "#56b4e9", stopping: "#56b4e9", pending: "#999999", stopped: "#e69f00", killed: "#cc79a7", failed: "#d55e00",
  crashed: "#d55e00" }; // as in the other figures
const EXCLUDED = ["reason", "infeasible", "job_name", "created_at", "started_at", "ended_at"];
const MANY = 600; // trials; with more, the marks are smaller and more transparent
const WIDE = 100; // largest by smallest value
const MOST_CATEGORIES = 40;

const escapeText = (name) => name.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/%\{/g, "%&#123;").replace(/\$/g, "&#36;");

export class Scatter {
  constructor(panel, model, choose) {
    this.model = model;
    const select = (key, label) => {
      const element = make("select", { ariaLabel: `scatter plot: ${label}` });
      element.addEventListener("change", () => {
        model.view.set(`scatter.${key}`, element.value === this.usual[key] ? "" : element.value);
        this.figure.rebuild();
      });
      return element;
    };
    this.selects = { x: select("x", "x axis"), y: select("y", "y axis"), color: select("color", "color") };
    const labels = Object.entries(this.selects).map(([key, element]) => make("label", {}, `${key} `, element));
    const element = make("div", { className: "figure", "data-figure": "scatter", role: "figure", ariaLabel: "Scatter plot" });
    panel.append(make("section", { className: "card" }, make("h2", { textContent: "Scatter plot" }),
      make("p", { className: "soft", textContent: "Each dot is a trial. Choose the columns of the axes and of the color." }),
      make("div", { className: "bar" }, ...labels), element));
    this.figure = new ScatterFigure(element, model, "scatter", { choose });
    this.figure.build = () => this.draw();
  }

  update() {
    const { columns, rows } = this.model;
    const names = columns.filter((name) => !EXCLUDED.includes(name) && [...rows.values()].some((row) => row[name] !== null && row[name] !== undefined));
    const { objective } = this.model.context();
    const param = names.find((name) => name.startsWith("params.")) ?? "number";
    this.usual = { x: param, y: names.includes(objective) ? objective : "number", color: "state" };
    this.fill(this.selects.x, names, "x");
    this.fill(this.selects.y, names, "y");
    this.fill(this.selects.color, ["state", "rank", ...names.filter((name) => name !== "state")], "color");
  }

  fill(select, names, key) {
    const currentNames = [...select.options].map((option) => option.value);
    if (currentNames.join("\n") !== names.join("\n")) select.replaceChildren(...names.map((name) => make("option", { value: name }, this.title(name))));
    const chosen = this.model.view.get(`scatter.${key}`, this.usual[key]);
    select.value = names.includes(chosen) ? chosen : this.usual[key];
  }

  title(name) {
    const { sweep } = this.model;
    return name === "objective" ? sweep.metric?.name ?? name : name === "number" ? "trial" : name.replace(/^(params|metrics)\./, "");
  }

  draw() {
    const { x, y, color } = Object.fromEntries(Object.entries(this.selects).map(([key, element]) => [key, element.value]));
    const { ranked } = this.model.context();
    const rank = new Map(ranked.map((number, i) => [number, i]));
    const place = (value) => (value && typeof value === "object" ? JSON.stringify(value) : value);
    const rows = [...this.model.rows.values()].filter((row) => [x, y].every((name) => row[name] !== null && row[name] !== undefined))
      .sort((a, b) => a.number - b.number);
    const size = rows.length > MANY ? { size: 4, opacity: 0.55 } : { size: 7, opacity: 0.85 };
    const trace = (some, more, marker) => ({
      type: "scatter", mode: "markers", x: some.map((row) => place(row[x])), y: some.map((row) => place(row[y])), customdata: some.map((row) => row.number),
      hovertemplate: `trial %{customdata}<br>${escapeText(this.title(x))} %{x}<br>${escapeText(this.title(y))} %{y}<extra></extra>`, ...more, marker: { ...size, ...marker } });
    const value = (row) => (color === "rank" ? rank.get(row.number) : row[color]);
    const numeric = color !== "state" && rows.every((row) => value(row) === null || value(row) === undefined || typeof value(row) === "number");
    let data;
    if (numeric) {
      const colored = rows.filter((row) => typeof value(row) === "number");
      data = [trace(colored, { name: escapeText(this.title(color)), showlegend: false }, { color: colored.map(value), colorscale: "Cividis", reversescale: color === "rank", showscale: true,
        colorbar: { title: { text: escapeText(color === "rank" ? "rank, 0 is the best" : this.title(color)), side: "right" }, thickness: 12, exponentformat: "e" } })];
    } else {
      const kinds = [...new Set(rows.map((row) => formatValue(place(value(row)))))].slice(0, MOST_CATEGORIES);
      data = kinds.map((kind) => trace(rows.filter((row) => formatValue(place(value(row))) === kind), { name: escapeText(kind || "none") }, color === "state" ? { color: COLORS[kind] } : {}));
    }
    const isNumber = (name) => rows.length > 0 && rows.every((row) => typeof row[name] === "number");
    const { sweep } = this.model;
    const goal = (sweep.metrics[0] ?? sweep.metric)?.goal;
    const sign = (name) => (name === this.model.context().objective ? (goal === "maximize" ? -1 : 1) : 0);
    const groups = [["xaxis", x], ["yaxis", y]].filter(([, name]) => isNumber(name)).map(([axis, name]) => ({ axes: [axis], sign: name.startsWith("params.") ? 2 : sign(name) }));
    // Params of a wide range, such as learning rates, have a logarithmic axis at first.
    const isWide = (name) => {
      const values = rows.map((row) => row[name]);
      const low = values.reduce((a, b) => Math.min(a, b), Infinity);
      return name.startsWith("params.") && low > 0 && values.reduce((a, b) => Math.max(a, b), 0) >= WIDE * low;
    };
    const logs = [["xaxis", x], ["yaxis", y]].filter(([, name]) => isNumber(name) && isWide(name)).map(([axis]) => axis);
    const axis = (name) => ({ title: { text: escapeText(this.title(name)) }, automargin: true, ...(isNumber(name) ? {} : { type: "category" }) });
    return { data, layout: { margin: { t: 12, r: 20 }, hovermode: "closest", height: 440, showlegend: !numeric, xaxis: axis(x), yaxis: axis(y),
      meta: { groups, logs, many: rows.length } } };
  }
}

class ScatterFigure extends LiveFigure {
  async read() {
    return { ...this.build(), revision: this.model.revision };
  }

  async draw(isIdle) {
    await super.draw(isIdle);
    if (this.isOutdated && !this.isBusy) this.rebuild();
  }

  // The axes have changed.
  rebuild() {
    Object.assign(this, { early: null, drawnRevision: -1, notBefore: 0, isOutdated: this.isBusy });
    this.draw();
  }
}
