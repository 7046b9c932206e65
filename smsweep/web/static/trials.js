// The table of trials, parallel coordinates, and actions on selected trials.

import { remove, retry } from "./actions.js";
import { path } from "./api.js";
import { badge, button, duration, empty, make, number, seconds } from "./dom.js";
import { FramedFigure } from "./figures_live.js";
import { onKey } from "./keys.js";

const FIRST = ["number", "state", "objective", "time"];
const RETRYABLE = ["failed", "crashed", "killed", "stopped"];

export class Trials {
  constructor(panel, model) {
    this.model = model;
    const figure = make("div", { className: "figure", "data-figure": "parallel_coordinates", role: "figure", ariaLabel: "Parallel coordinates" });
    this.axes = make("details", { className: "card", open: true }, make("summary", { textContent: "Parallel coordinates: drag along an axis to filter trials" }), figure);
    this.figure = new FramedFigure(figure, model.sweepId, "parallel_coordinates", { signal: model.signal, choose: () => {},
      brushed: (numbers) => this.table?.showOnly(numbers) });
    this.place = make("div");
    this.chosen = make("div", { className: "chosen", role: "region", ariaLabel: "Selected trials", hidden: true });
    this.more = button("all columns", () => { this.showsAll = !this.showsAll; this.more.ariaPressed = String(this.showsAll); this.update(); });
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
    const usual = [...FIRST, ...params, "reason"];
    const columns = [...usual, ...model.columns.filter((name) => !usual.includes(name))];
    const cells = rows.map((row) => columns.map((name) => row[name] ?? null));
    this.bestNumber = model.sweep.best?.number;
    if (!this.table) this.build(columns, cells);
    this.table.hidden = new Set(this.showsAll ? [] : columns.filter((name) => !usual.includes(name)));
    
    for (const picked of this.table.picked) if (!model.rows.has(picked)) this.table.picked.delete(picked);
    this.table.update(columns, cells);
    this.drawChosen();
    this.figure.update(model.revision);
  }

  tick() {
    this.figure.draw();
  }

  build(columns, rows) {
    const { model } = this;
    const named = { number: "trial", objective: model.sweep.metric?.name ?? "objective" };
    this.table = new TrialTable(this.place, {
      columns, rows, label: "trials",
      link: (n) => path("sweeps", model.sweepId, "trials", String(n)),
      pick: () => this.drawChosen(),
      title: (name) => named[name] ?? name.replace(/^params\./, ""),
      cell: (name, value, row) => (name === "state" ? badge(value) : name === "time" && value !== null ? make("span", { textContent: duration(value) })
        : name === "objective" && row[0] === this.bestNumber ? make("strong", { title: "best trial", textContent: `★ ${number(value)}` }) : null),
    });
    this.table.bar.append(this.more);
  }

  drawChosen() {
    const { model } = this;
    const picked = [...this.table.picked].sort((a, b) => a - b);
    this.chosen.hidden = !picked.length;
    if (!picked.length) return;
    const labels = picked.map((n) => `${model.sweepId}/${n}`);
    const query = labels.map((label) => `t=${encodeURIComponent(label)}`).join("&");
    const again = picked.filter((n) => RETRYABLE.includes(model.rows.get(n)?.state));
    const done = () => { this.table.picked.clear(); this.update(); model.read(); };
    this.chosen.replaceChildren(
      make("strong", { textContent: `${picked.length} selected` }),
      button("Compare", () => model.go(`/compare?${query}`), { "data-key": "c", className: "main", disabled: picked.length < 2 || picked.length > 12,
        title: picked.length > 12 ? "at most 12" : "two or more" }),
      make("a", { className: "button", href: `/new?${query}`, textContent: "New sweep from these" }),
      button(`Retry ${again.length || ""}`.trim(), async () => { if (await retry(again.map((n) => `${model.sweepId}/${n}`))) done(); }, { disabled: !again.length }),
      button("Remove", async () => { if (await remove(labels)) done(); }, { className: "danger" }),
      button("Clear selection", () => { this.table.picked.clear(); this.update(); }));
  }
}
