"use strict";
// The report: draw figures and tables from the data in this file.

const data = JSON.parse(document.getElementById("smsweep-data").textContent);
const { columns, rows, usual, goals, sweep_id: sweepId } = data;
const byNumber = new Map(rows.map((row) => [row[0], row]));
const dialog = document.querySelector("dialog");

function choose(number) {
  const row = byNumber.get(number);
  if (!row) return;
  const command = `smsweep reproduce ${sweepId}/${number}`;
  showTrial(dialog, columns, row, make("p", {}, "Run this trial again: ", make("code", { textContent: command }), " ", copyButton(command)));
}

followTheme(document.getElementById("theme"));

const at = (name) => columns.indexOf(name);
const ranked = rankedTrials(rows, { number: 0, state: at("state"), objective: at(goals[0]), infeasible: at("infeasible") }, data.sign);
const views = [];
const only = () => (table?.isFiltered() ? new Set(table.passed()) : null);
const table = new TrialTable(document.getElementById("trials"), { columns, rows, choose, label: "trials", usual,
  changed: () => { for (const view of views) view.draw(); } });

const stops = document.getElementById("stops");
if (stops) {
  const names = ["number", ...goals, "reason"];
  const stopped = rows.filter((row) => row[at("state")] === "stopped").map((row) => names.map((name) => row[at(name)]));
  new TrialTable(stops, { columns: names, rows: stopped, choose, label: "early stops" });
}

for (const element of document.querySelectorAll("[data-figure]")) {
  const name = element.dataset.figure;
  const listeners = { plotly_click: (event) => choose(event.points[0].customdata) };
  if (name === "parallel_coordinates") {
    listeners.brushed = (numbers) => table.showOnly(numbers);
  }
  const view = new FigureView(element, { name, listeners, context: () => ({ ranked, only: only() }) });
  views.push(view);
  showWhenSeen(element, () => view.show(data.figures[name]));
}
