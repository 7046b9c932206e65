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

const table = new TrialTable(document.getElementById("trials"), { columns, rows, choose, label: "trials" });
const more = make("button", { type: "button", textContent: "all columns" });
const hideUnusual = (isHidden) => {
  table.hidden = new Set(isHidden ? columns.filter((name) => !usual.includes(name)) : []);
  more.ariaPressed = String(!isHidden);
  table.draw();
};
more.addEventListener("click", () => hideUnusual(table.hidden.size === 0));
table.bar.append(more);
hideUnusual(true);

const at = (name) => columns.indexOf(name);
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
    listeners.plotly_restyle = onBrush(element, (numbers) => table.showOnly(numbers));
  }
  showWhenSeen(element, data.figures[name], listeners);
}
