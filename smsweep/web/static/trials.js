// The table of trials, parallel coordinates, and actions on selected trials.

import { remove, retry } from "./actions.js";
import { path } from "./api.js";
import { badge, button, duration, empty, make, number, seconds } from "./dom.js";
import { LiveFigure } from "./figures_live.js";
import { onKey } from "./keys.js";

const FILTER_MS = 150; // after the last key press
const FIRST = ["number", "state", "objective", "time"];
const RETRYABLE = ["failed", "crashed", "killed", "stopped"];

export class Trials {
  constructor(panel, model) {
    this.model = model;
    const figure = make("div", { className: "figure", "data-figure": "parallel_coordinates", role: "figure", ariaLabel: "Parallel coordinates" });
    this.axes = make("details", { className: "card", open: true }, make("summary", { textContent: "Parallel coordinates: drag along an axis to filter trials" }), figure);
    this.figure = new LiveFigure(figure, model, "parallel_coordinates", { choose: () => {}, isOwn: true,
      brushed: (numbers) => this.table?.showOnly(numbers) });
    this.figure.prefetch();
    this.place = make("div");
    this.chosen = make("div", { className: "chosen", role: "region", ariaLabel: "Selected trials", hidden: true });
    this.figures = [this.figure];
    this.panel = panel;
    panel.append(this.axes, this.place, this.chosen);
    onKey("x", "select the trial", () => document.activeElement?.closest("tr")?.querySelector("input[type=checkbox]")?.click(), model.signal);
    onKey("c", "compare the selected trials", () => this.chosen.querySelector("[data-key=c]:not([disabled])")?.click(), model.signal);
  }

  update() {
    const { model } = this;
    const rows = [...model.rows.values()].sort((a, b) => a.number - b.number);
    this.axes.hidden = !rows.length;
    if (!rows.length) {
      this.place.replaceChildren(empty("No trials yet", make("p", { textContent: "Trials appear when an agent starts." })));
      this.table = null;
      return;
    }
    for (const row of rows) row.time = row.started_at ? seconds(row.started_at, row.ended_at) : null;
    const params = model.columns.filter((name) => name.startsWith("params."));
    const placed = rows.some((row) => row.place_name) ? ["place_name"] : [];
    const infeasible = rows.some((row) => row.infeasible) ? ["infeasible"] : [];
    const usual = [...FIRST, ...placed, ...infeasible, ...params, "reason"];
    const columns = [...usual, ...model.columns.filter((name) => !usual.includes(name))];
    const cells = rows.map((row) => columns.map((name) => row[name] ?? null));
    this.bestNumber = model.sweep.best?.number;
    if (!this.table) this.build(columns, cells, usual);
    this.table.usual = usual;
    for (const picked of this.table.picked) if (!model.rows.has(picked)) this.table.picked.delete(picked);
    this.table.update(columns, cells);
    this.drawChosen();
    this.figure.update(model.revision);
  }

  tick() {
    this.figure.draw();
  }

  clearFilter() {
    if (!this.table) return;
    this.table.text.value = "";
    this.table.chosenState = "";
    this.table.update(this.table.columns, this.table.rows);
  }

  // Keep the filter, order and columns of the table in the URL, and filter the figures.
  changed() {
    const { model } = this;
    const { text, state, order, columns } = this.table.view();
    model.view.set("filter", text);
    model.view.set("state", state);
    model.view.set("sort", order);
    model.view.set("columns", columns ? columns.join(" ") || "-" : "");
    clearTimeout(this.timer);
    const before = this.filter;
    this.filter = `${state} ${text}`;
    if (before !== this.filter) this.timer = setTimeout(() => model.refilter(), FILTER_MS);
  }

  build(columns, rows, usual) {
    const { model } = this;
    const view = { text: model.view.get("filter"), state: model.view.get("state"), order: model.view.get("sort"),
      columns: model.view.get("columns") ? model.view.get("columns").split(" ") : null };
    const titles = { number: "trial", objective: model.sweep.metric?.name ?? "objective" };
    this.table = new TrialTable(this.place, {
      columns, rows, label: "trials", usual, view, changed: () => this.changed(),
      link: (n) => path("sweeps", model.sweepId, "trials", String(n)),
      pick: () => this.drawChosen(),
      title: (name) => titles[name] ?? name.replace(/^params\./, ""),
      cell: (name, value, row) => (name === "state" ? badge(value) : name === "time" && value !== null ? make("span", { textContent: duration(value) })
        : name === "objective" && row[0] === this.bestNumber ? make("strong", { title: "best trial", textContent: `★ ${number(value)}` }) : null),
    });
  }

  drawChosen() {
    const { model } = this;
    const picked = [...this.table.picked].sort((a, b) => a - b);
    this.chosen.hidden = !picked.length;
    if (!picked.length) return;
    const labels = picked.map((n) => `${model.sweepId}/${n}`);
    const query = labels.map((label) => `t=${encodeURIComponent(label)}`).join("&");
    const again = picked.filter((n) => RETRYABLE.includes(model.rows.get(n)?.state));
    const clearSelection = () => { this.table.picked.clear(); this.update(); model.read(); };
    this.chosen.replaceChildren(
      make("strong", { textContent: `${picked.length} selected` }),
      button("Compare", () => model.go(`/compare?${query}`), { "data-key": "c", className: "main", disabled: picked.length < 2 || picked.length > 12,
        title: picked.length > 12 ? "at most 12" : "two or more" }),
      make("a", { className: "button", href: `/new?${query}`, textContent: "New sweep from these" }),
      button(`Retry ${again.length || ""}`.trim(), async () => { if (await retry(again.map((n) => `${model.sweepId}/${n}`))) clearSelection(); }, { disabled: !again.length }),
      button("Remove", async () => { if (await remove(labels)) clearSelection(); }, { className: "danger" }),
      button("Clear selection", () => { this.table.picked.clear(); this.update(); }));
  }
}
