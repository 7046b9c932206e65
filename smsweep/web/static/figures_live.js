// Figures that follow a sweep: fetched when visible, redrawn after changes.

import { path, read } from "./api.js";
import { make } from "./dom.js";
import { sketch } from "./sketch.js";

const WARM_UPS = 3;
let loading = null;

// d3 in Plotly sets `style` as an attribute, which the policy of the page forbids. A property is allowed.
const { setAttribute } = Element.prototype;
Element.prototype.setAttribute = function set(name, value) {
  if (name === "style") this.style.cssText = value;
  else setAttribute.call(this, name, value);
};

// Load the plotting library with the first figure, because lists and logs do not need it.
export function plotly() {
  loading ||= new Promise((resolve, reject) => {
    // Its map module adds a style sheet at load, which the policy forbids; maps are not used.
    document.createElement = function create(tag, ...more) {
      return Document.prototype.createElement.call(this, tag === "style" ? "template" : tag, ...more);
    };
    const script = make("script", { src: document.querySelector("meta[name=plotly]").content });
    script.addEventListener("load", resolve);
    script.addEventListener("error", () => { loading = null; reject(new Error("the plotting library did not load")); });
    document.head.append(script);
  }).finally(() => { delete document.createElement; });
  return loading;
}

const idle = () => new Promise((resolve) => (globalThis.requestIdleCallback ?? setTimeout)(resolve)); // Safari has no idle time

// Draw figures out of sight while the page is idle. The browser compiles the library at its first use, which takes longer
// than to draw a figure.
export async function warmUp() {
  const numbers = Array.from({ length: MANY_DOTS + 1 }, (_, i) => i);
  const title = (text) => ({ automargin: true, title: { text } });
  const dots = { type: "scatter", mode: "markers", x: numbers, y: numbers, customdata: numbers, name: "dots", marker: { color: "#000", size: 4 } };
  const line = { type: "scatter", mode: "lines", x: numbers, y: numbers, customdata: numbers, name: "line", line: { shape: "hv" } };
  const layout = { margin: { t: 12, r: 20 }, hovermode: "closest", xaxis: title("x"), yaxis: title("y"), meta: { groups: [{ axes: ["yaxis"], sign: 1 }] } };
  for (let i = 0; i < WARM_UPS; i += 1) {
    await idle();
    if (document.querySelector("[data-is-drawn]")) return;
    const element = make("div", { className: "figure unseen", ariaHidden: "true" });
    const box = make("div", {}, element);
    document.body.append(box);
    await new FigureView(element, { name: "warm-up" }).show({ data: [dots, line, { ...line, name: "other" }], layout });
    forgetFigure(element);
    box.remove();
  }
}

// Figures below the screen are fetched and drawn in idle time, after the figures on the screen.
const busy = new Set();
let idleWork = Promise.resolve();
function whenIdle(work) {
  idleWork = idleWork.then(async () => {
    do await new Promise((resolve) => requestAnimationFrame(resolve)).then(idle); while (busy.size);
    await work();
  });
}

// Figures are drawn one after the other, each in its own task, so that the page stays responsive.
let last = Promise.resolve();
function inTurn(work) {
  const result = last.then(() => new Promise((resolve) => setTimeout(resolve))).then(work);
  last = result.catch(() => {});
  return result;
}

export class LiveFigure {
  // model: the page of the sweep. choose: called with the number of a clicked trial. isOwn: does not need the plotting library.
  constructor(element, model, name, { choose, brushed = null, isOwn = false }) {
    const { sweepId, signal } = model;
    Object.assign(this, { element, sweepId, name, choose, signal, model, isOwn });
    this.view = new FigureView(element, { name, state: model.view.part("figure."), context: () => model.context(), load: plotly, listeners: { brushed,
      plotly_click: (event) => { if (typeof event.points[0].customdata === "number") this.choose(event.points[0].customdata); },
    } });
    this.latestRevision = -1; // revision that should be drawn
    this.drawnRevision = -1;
    this.isSeen = false;
    this.notBefore = 0;
    const watcher = new IntersectionObserver((entries) => {
      this.isSeen = entries[entries.length - 1].isIntersecting;
      this.draw();
    }, { rootMargin: "200px" });
    watcher.observe(element);
    signal.addEventListener("abort", () => watcher.disconnect());
  }

  // The filter or the best trials have changed: draw the last figure again.
  refilter() {
    this.isStale = true;
    if (this.isSeen && !this.isBusy) this.redraw();
  }

  redraw() {
    if (!this.isStale || !this.view.raw || this.signal.aborted) return;
    this.isStale = false;
    this.view.draw();
  }

  // Fetch the figure before the page knows the sweep.
  prefetch() {
    this.early = this.read();
    this.early.catch(() => {}); // `draw` reports it
  }

  update(revision) {
    this.latestRevision = revision;
    this.draw();
    if (this.drawnRevision < 0) this.drawWhenIdle();
  }

  drawWhenIdle() {
    whenIdle(() => (this.drawnRevision < 0 && this.element.checkVisibility() ? this.draw(true) : null));
  }

  // isIdle: draw the figure also if it is not on the screen, and completely. Else, the first drawing can be a sketch.
  async draw(isIdle = false) {
    if (this.isSeen && !this.isBusy) this.redraw();
    const isDue = (this.isSeen || isIdle) && this.latestRevision > this.drawnRevision && performance.now() >= this.notBefore;
    if (!isDue || this.isBusy || this.signal.aborted) return;
    this.isBusy = true;
    busy.add(this);
    const started = performance.now();
    const revision = this.latestRevision;
    try {
      this.early ??= this.read();
      const figure = await this.early;
      if (!isIdle && (await inTurn(() => this.sketch(figure)))) {
        this.drawWhenIdle();
        return;
      }
      this.early = null;
      if (!this.isOwn || !figure.data.length) await plotly(); // a figure without data is a text
      await inTurn(() => (this.signal.aborted ? null : this.show(figure)));
      this.drawnRevision = figure.revision ?? revision;
      this.notBefore = performance.now() + Math.max(2500, 5 * (performance.now() - started)); // limit the share of time spent drawing
    } catch (err) {
      this.early = null;
      this.notBefore = performance.now() + 2500;
      if (!this.signal.aborted) this.element.textContent = `This figure is not available: ${err.message}`;
    } finally {
      this.isBusy = false;
      busy.delete(this);
    }
  }

  // Draw the figure for the first time, quickly. Return false if that is not possible.
  sketch(figure) {
    return !this.signal.aborted && !this.element.hasChildNodes() && sketch(this.element, this.view.prepare(reduceMargin(figure)));
  }

  read() {
    return read(path("api", "sweeps", this.sweepId, "figures", this.name), this.signal);
  }

  show(figure) {
    this.isStale = false;
    return this.view.show(reduceMargin(figure));
  }
}

// The page shows the title.
function reduceMargin(figure) {
  const isTitled = figure.layout.title || figure.data[0]?.type === "parcoords" || figure.layout.updatemenus?.length;
  if (!isTitled) figure.layout.margin = { ...figure.layout.margin, t: 12 };
  return figure;
}
