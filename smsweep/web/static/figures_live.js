// Figures that follow a sweep: fetched when visible, redrawn after changes.

import { path, read } from "./api.js";
import { make } from "./dom.js";

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

export class LiveFigure {
  // choose: called with the number of a clicked trial.
  constructor(element, sweepId, name, { choose, signal }) {
    Object.assign(this, { element, sweepId, name, choose, signal });
    this.wanted = -1; // revision that should be drawn
    this.drawn = -1;
    this.isSeen = false;
    this.notBefore = 0;
    const watcher = new IntersectionObserver((entries) => {
      this.isSeen = entries[entries.length - 1].isIntersecting;
      this.draw();
    }, { rootMargin: "200px" });
    watcher.observe(element);
    signal.addEventListener("abort", () => watcher.disconnect());
  }

  update(revision) {
    this.wanted = revision;
    this.draw();
  }

  async draw() {
    const isDue = this.isSeen && this.wanted > this.drawn && performance.now() >= this.notBefore;
    if (!isDue || this.isBusy || this.signal.aborted) return;
    this.isBusy = true;
    const started = performance.now();
    const revision = this.wanted;
    try {
      const [figure] = await Promise.all([read(path("api", "sweeps", this.sweepId, "figures", this.name), this.signal),
        this.isFramed ? null : plotly()]);
      if (this.signal.aborted) return;
      await this.show(figure);
      this.drawn = revision;
    } catch (err) {
      if (!this.signal.aborted) this.element.textContent = `This figure is not available: ${err.message}`;
    } finally {
      this.isBusy = false;
      const took = performance.now() - started;
      this.notBefore = performance.now() + Math.max(2500, 5 * took); // limit the share of time spent drawing
    }
  }

  show(figure) {
    return showFigure(this.element, arranged(figure), {
      plotly_click: (event) => { if (event.points[0].customdata !== undefined) this.choose(event.points[0].customdata); },
    });
  }
}

// Keep zoom and menu selections when new data arrives; the page shows the title.
function arranged(figure) {
  figure.layout.uirevision = "kept";
  const isTitled = figure.layout.title || figure.layout.updatemenus?.length;
  if (!isTitled) figure.layout.margin = { ...figure.layout.margin, t: 12 };
  return figure;
}

// Draw parallel coordinates in a frame without an origin, because their WebGL library compiles code at run time.
export class FramedFigure extends LiveFigure {
  constructor(element, sweepId, name, { brushed, ...options }) {
    super(element, sweepId, name, options);
    this.isFramed = true;
    const frame = make("iframe", { src: "/frame", title: "Parallel coordinates", sandbox: "allow-scripts" });
    frame.setAttribute("sandbox", "allow-scripts");
    this.frame = frame;
    this.ready = new Promise((resolve) => {
      addEventListener("message", ({ source, data }) => {
        if (source !== frame.contentWindow) return;
        if (data.ready) resolve();
        if (data.drawn) element.dataset.isDrawn = "true";
        if ("chosen" in data) brushed(data.chosen && new Set(data.chosen));
      }, { signal: options.signal });
    });
    element.append(frame);
    new MutationObserver(() => this.post({})).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  async show(figure) {
    await this.ready;
    if (figure.layout.height) this.element.style.minHeight = `${figure.layout.height}px`;
    this.frame.style.height = `${figure.layout.height || 480}px`;
    this.post({ figure });
  }

  post(message) {
    this.frame.contentWindow?.postMessage({ ...message, theme: document.documentElement.dataset.theme }, "*");
  }
}
