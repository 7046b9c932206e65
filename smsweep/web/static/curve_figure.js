// Curves of one metric for one or several trials.

import { make } from "./dom.js";
import { plotly } from "./figures_live.js";
import { ViewState } from "./view_state.js";

// Curves differ in color and dash, so that readers with color blindness can distinguish them.
const COLORS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9"];
const DASHES = ["solid", "dash", "dot", "dashdot"];

const text = (name) => name.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/%\{/g, "%&#123;").replace(/\$/g, "&#36;");

export class CurveFigure {
  constructor(container, signal) {
    this.signal = signal;
    this.select = make("select", { ariaLabel: "metric" });
    this.element = make("div", { className: "figure", "data-figure": "curve", role: "figure", ariaLabel: "Curve of the metric" });
    this.none = make("p", { className: "soft", textContent: "No metric with numbers has been reported yet." });
    container.append(make("div", { className: "bar" }, make("h2", { textContent: "Curves" }), this.select), this.none, this.element);
    this.view = new FigureView(this.element, { name: "curve", state: new ViewState().part("figure.") });
    this.select.addEventListener("change", () => this.draw());
  }

  // trials: [{ label, curves }]; usual: the metric to show first.
  update(trials, usual) {
    this.trials = trials;
    const names = [...new Set(trials.flatMap(({ curves }) => Object.keys(curves)))].sort((a, b) => (b === usual) - (a === usual) || (a < b ? -1 : 1));
    const before = this.select.value;
    const currentNames = [...this.select.options].map((option) => option.value);
    if (names.join("\n") !== currentNames.join("\n")) {
      this.select.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
      if (currentNames.includes(before) && names.includes(before)) this.select.value = before;
    }
    this.none.hidden = Boolean(names.length);
    this.element.hidden = !names.length;
    if (names.length) this.draw();
  }

  async draw() {
    await plotly();
    if (this.signal.aborted) return;
    const name = this.select.value;
    const withMetric = this.trials.filter(({ curves }) => Object.hasOwn(curves, name));
    const data = withMetric.map(({ label, curves }, i) => ({
      customdata: curves[name].y.map(() => i),
      type: "scatter", mode: curves[name].y.length < 60 ? "lines+markers" : "lines", name: text(label), x: curves[name].x, y: curves[name].y,
      line: { color: COLORS[i % COLORS.length], dash: DASHES[Math.floor(i / COLORS.length) % DASHES.length] || "solid", width: 2 },
      marker: { size: 4, symbol: i % 8 },
      hovertemplate: "%{x}<br>%{y}<extra>%{fullData.name}</extra>",
    }));
    const by = withMetric.some(({ curves }) => curves[name].by === "report") ? "report" : "step";
    await this.view.show({ data, layout: {
      margin: { t: 30, r: 10, b: 50 }, height: 340, showlegend: this.trials.length > 1, hovermode: "closest", uirevision: name,
      xaxis: { title: { text: by }, automargin: true }, yaxis: { title: { text: text(name) }, automargin: true },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, meta: { groups: [{ axes: ["yaxis"], sign: 0 }], full: true },
    } });
  }
}
