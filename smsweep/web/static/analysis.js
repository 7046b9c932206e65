// The figures that explain a sweep.

import { path } from "./api.js";
import { make } from "./dom.js";
import { LiveFigure } from "./figures_live.js";
import { Scatter } from "./scatter.js";

const KINDS = [
  ["front", "Pareto front", "The last values of the metrics. No trial is better than those on the front in all metrics."],
  ["importance", "Parameter importance", "How strongly each param determines whether a trial is among the best."],
  ["slices", "Slices", "The objective over each param. Early trials are grey, late trials blue."],
  ["contours", "Contours", "The objective over two params. Between trials it is a weighted mean of nearby trials."],
  ["timeline", "Timeline", "When the last attempt of each trial ran. Each row is one worker of a machine."],
  ["cost", "Cost to best", "The cost up to each improvement of the best objective."],
];

export class Analysis {
  constructor(panel, model) {
    Object.assign(this, { panel, model, figures: [] });
  }

  build() {
    const { panel, model } = this;
    const choose = (n) => model.go(path("sweeps", model.sweepId, "trials", String(n)));
    this.scatter = new Scatter(panel, model, choose);
    this.figures.push(this.scatter.figure);
    for (const [name, title, about] of KINDS) {
      if (name === "front" && model.sweep.metrics.length < 2) continue;
      const element = make("div", { className: "figure", "data-figure": name, role: "figure", ariaLabel: title });
      panel.append(make("section", { className: "card" }, make("h2", { textContent: title }), make("p", { className: "soft", textContent: about }), element));
      this.figures.push(new LiveFigure(element, model, name, { choose }));
    }
  }

  update() {
    if (!this.figures.length) this.build();
    this.scatter.update();
    for (const figure of this.figures) figure.update(this.model.revision);
  }

  tick() {
    for (const figure of this.figures) figure.draw();
  }
}
