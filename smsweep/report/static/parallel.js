"use strict";
// Parallel coordinates on a canvas: each line is a trial. The axes are SVG, and can be brushed with the pointer and the keyboard.

const LINES_PER_FRAME = 400; // drawn at a time, so that the page stays responsive
const BRUSH_PX = 12; // half of the width where an axis can be brushed
const LEAST_WIDTH = 600; // a narrower page scrolls
const STEP = 0.05; // of an axis, per press of an arrow key
const LINE_ALPHA = 0.75;
const DIM_ALPHA = 0.12; // of the lines that a brush excludes
const TICKS = 5;
const SVG_SPACE = "http://www.w3.org/2000/svg";
const TICK_BASES = [1, 2, 5, 10];

function drawing(tag, attributes = {}, text = "") {
  const element = document.createElementNS(SVG_SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text) element.textContent = text;
  return element;
}

function evenTicks(low, high) {
  const rough = (high - low) / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * TICK_BASES.find((base) => base * power >= rough * 0.999);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) ticks.push(i * step);
  return ticks;
}

// Return a function from a share, 0 to 1, to a color of a scale: [[share, "#rrggbb"], ...].
function colorOf(scale) {
  const parts = scale.map(([share, text]) => [share, [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16))]);
  return (share) => {
    const next = Math.max(1, parts.findIndex(([limit]) => share <= limit));
    const [[from, a], [to, b]] = [parts[next - 1], parts[next]];
    const part = (share - from) / (to - from || 1);
    return `rgb(${a.map((value, i) => Math.round(value + (b[i] - value) * part)).join(",")})`;
  };
}

class ParallelPlot {
  constructor(element, brushed) {
    Object.assign(this, { element, brushed, ranges: new Map() }); // label of an axis -> [[low, high], ...]
    this.canvas = make("canvas", { ariaHidden: "true" });
    this.axes = drawing("svg");
    element.classList.add("parallel");
    element.replaceChildren(this.canvas, this.axes);
    this.resized = new ResizeObserver(() => {
      if (element.clientWidth && element.clientWidth !== this.drawnWidth) this.draw();
    });
    this.resized.observe(element);
  }

  remove() {
    this.resized.disconnect();
    this.element.classList.remove("parallel");
    this.element.replaceChildren();
    return null;
  }

  show({ data, layout }) {
    const wasLog = this.trace?.dimensions.filter(({ isLog }) => isLog).map(({ label }) => label) ?? [];
    [this.trace] = data;
    const rescaled = this.trace.dimensions.filter(({ label, isLog }) => Boolean(isLog) !== wasLog.includes(label) && this.ranges.delete(label));
    if (rescaled.length) this.reportBrush(); // their ranges had the values of the other scale
    this.layout = layout;
    this.element.data = data;
    const labels = this.trace.dimensions.map(({ label }) => label);
    this.order = [...(this.order ?? []).filter((label) => labels.includes(label)), ...labels.filter((label) => !this.order?.includes(label))];
    return this.draw();
  }

  // Resolves when all lines are drawn.
  draw() {
    this.drawnWidth = this.element.clientWidth;
    const style = getComputedStyle(document.documentElement);
    this.ink = style.getPropertyValue("--ink").trim();
    this.width = this.layout.width || Math.max(LEAST_WIDTH, this.element.clientWidth - 10);
    this.height = this.layout.height || 480;
    const { l, r, t, b } = this.layout.margin;
    [this.top, this.bottom] = [t, this.height - b];
    const { dimensions } = this.trace;
    const gap = (this.width - l - r) / Math.max(1, dimensions.length - 1);
    this.visibleAxes = this.order.map((label, i) => {
      const dimension = dimensions.find((each) => each.label === label);
      const [low, high] = dimension.range ?? [dimension.values.reduce((x, y) => Math.min(x, y), Infinity), dimension.values.reduce((x, y) => Math.max(x, y), -Infinity)];
      // Named ticks around the values are on the axis, also if few trials are shown.
      const ticks = dimension.range ? [] : dimension.tickvals ?? [];
      const ends = [Math.max(-Infinity, ...ticks.filter((tick) => tick <= low)), Math.min(Infinity, ...ticks.filter((tick) => tick >= high))];
      const [from, to] = [Number.isFinite(ends[0]) ? ends[0] : low, Number.isFinite(ends[1]) ? ends[1] : high];
      return { label, dimension, low: from, high: to > from ? to : from + 1, x: l + i * gap };
    });
    this.prepare();
    this.drawAxes();
    return this.drawLines();
  }

  y(axis, value) {
    return this.bottom - ((value - axis.low) / (axis.high - axis.low)) * (this.bottom - this.top);
  }

  valueAt(axis, y) {
    const share = Math.min(Math.max((this.bottom - y) / (this.bottom - this.top), 0), 1);
    return axis.low + share * (axis.high - axis.low);
  }

  // The places and colors of all lines, the best last, which is on top.
  prepare() {
    const { line, customdata } = this.trace;
    const color = colorOf(line.colorscale);
    const low = line.color.reduce((a, b) => Math.min(a, b), Infinity);
    const high = line.color.reduce((a, b) => Math.max(a, b), -Infinity);
    this.lines = customdata.map((_, i) => i).sort((a, b) => line.color[a] - line.color[b])
      .map((i) => ({ i, color: color(high > low ? (line.color[i] - low) / (high - low) : 1), places: this.visibleAxes.map((axis) => this.y(axis, axis.dimension.values[i])) }));
  }

  isChosen(i) {
    return this.visibleAxes.every(({ label, dimension }) => {
      const ranges = this.ranges.get(label);
      return !ranges || ranges.some(([low, high]) => dimension.values[i] >= low && dimension.values[i] <= high);
    });
  }

  // Returns a promise of the end. A new call ends an earlier one.
  drawLines(context = this.context()) {
    const turn = (this.turn ?? 0) + 1;
    this.turn = turn;
    let rest = this.lines;
    if (this.ranges.size) {
      const chosen = new Set(this.lines.filter(({ i }) => this.isChosen(i)));
      rest = [...this.lines.filter((line) => !chosen.has(line)).map((line) => ({ ...line, color: this.ink, alpha: DIM_ALPHA })), ...chosen];
    }
    const some = () => {
      if (turn !== this.turn) return Promise.resolve();
      strokeLines(context, this.visibleAxes, rest.slice(0, LINES_PER_FRAME));
      rest = rest.slice(LINES_PER_FRAME);
      return rest.length ? new Promise((resolve) => requestAnimationFrame(resolve)).then(some) : Promise.resolve();
    };
    return some();
  }

  context() {
    const scale = devicePixelRatio || 1;
    const [width, height] = [Math.floor(this.width * scale), Math.floor(this.height * scale)];
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height }); // slow
    this.canvas.style.width = `${this.width}px`;
    this.canvas.style.height = `${this.height}px`;
    const context = this.canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    return context;
  }

  drawAxes() {
    const focused = this.axes.contains(document.activeElement) && document.activeElement.dataset.axis;
    for (const [name, value] of Object.entries({ width: this.width, height: this.height, viewBox: `0 0 ${this.width} ${this.height}` })) this.axes.setAttribute(name, value);
    this.axes.replaceChildren(...this.visibleAxes.map((axis) => this.axisOf(axis)));
    if (focused) [...this.axes.children].find((each) => each.dataset.axis === focused)?.focus();
  }

  axisOf(axis) {
    const { label, dimension, low, high, x } = axis;
    const group = drawing("g", { tabindex: 0, role: "slider", class: "axis", "aria-orientation": "vertical", "aria-label": unescapeText(label), "aria-valuemin": low, "aria-valuemax": high });
    group.dataset.axis = label;
    const ticks = dimension.tickvals ?? evenTicks(low, high);
    const texts = dimension.ticktext ?? ticks.map((value) => formatValue(Number(value.toPrecision(4))));
    const isOn = (value) => value >= low - 1e-9 && value <= high + 1e-9;
    const name = drawing("text", { class: "axis-name", x, y: this.top - 16, ...(this.trace.labelangle ? { transform: `rotate(${this.trace.labelangle} ${x} ${this.top - 16})` } : { "text-anchor": "middle" }) }, unescapeText(label));
    name.append(drawing("title", {}, "drag to another place, or press Shift and an arrow key"));
    const area = drawing("rect", { class: "brush", x: x - BRUSH_PX, y: this.top - 4, width: 2 * BRUSH_PX, height: this.bottom - this.top + 8 });
    area.append(drawing("title", {}, "drag to select trials; with Shift, add a range; click to select all"));
    axis.marks = drawing("g");
    group.append(name, drawing("line", { x1: x, x2: x, y1: this.top, y2: this.bottom }), axis.marks,
      ...ticks.map((value, i) => (isOn(value) ? drawing("text", { class: "tick", x: x - 8, y: this.y(axis, value) + 4, "text-anchor": "end" }, texts[i]) : "")), area);
    this.drawMarks(axis, group);
    area.addEventListener("pointerdown", (event) => this.drag(axis, group, area, event));
    name.addEventListener("pointerdown", (event) => this.move(axis, name, event));
    group.addEventListener("keydown", (event) => this.press(axis, group, event));
    return group;
  }

  drawMarks(axis, group) {
    const ranges = this.ranges.get(axis.label) ?? [];
    axis.marks.replaceChildren(...ranges.map(([low, high]) => drawing("rect", { class: "chosen-range", x: axis.x - 4, width: 8,
      y: this.y(axis, high), height: Math.max(2, this.y(axis, low) - this.y(axis, high)) })));
    group.setAttribute("aria-valuenow", ranges[0]?.[0] ?? axis.low);
    group.setAttribute("aria-valuetext", ranges.map((range) => range.map((value) => this.textOf(axis, value)).join(" to ")).join(", ") || "all trials");
  }

  textOf({ dimension: { tickvals, ticktext } }, value) {
    if (!tickvals) return formatValue(Number(value.toPrecision(4)));
    const nearest = tickvals.reduce((best, tick, i) => (Math.abs(tick - value) < Math.abs(tickvals[best] - value) ? i : best), 0);
    return `about ${ticktext[nearest]}`;
  }

  drag(axis, group, area, down) {
    down.preventDefault();
    group.focus({ preventScroll: true });
    area.setPointerCapture(down.pointerId);
    const edge = this.axes.getBoundingClientRect().top;
    const from = down.clientY - edge;
    const otherRanges = down.shiftKey ? this.ranges.get(axis.label) ?? [] : [];
    let frame = 0;
    const choose = (event) => {
      const to = event.clientY - edge;
      const ends = [this.valueAt(axis, from), this.valueAt(axis, to)].sort((a, b) => a - b);
      this.choose(axis, group, Math.abs(to - from) < 3 ? otherRanges : [...otherRanges, ends]);
    };
    const stop = new AbortController();
    area.addEventListener("pointermove", (event) => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(() => choose(event));
    }, { signal: stop.signal });
    for (const name of ["pointerup", "pointercancel"]) {
      area.addEventListener(name, (event) => {
        stop.abort();
        cancelAnimationFrame(frame);
        choose(event);
        this.reportBrush();
      }, { signal: stop.signal });
    }
  }

  choose(axis, group, ranges) {
    if (ranges.length) this.ranges.set(axis.label, ranges);
    else this.ranges.delete(axis.label);
    this.drawMarks(axis, group);
    this.drawLines();
  }

  // Up and down move the low end of the range, with Alt the high end. Escape selects all trials.
  press(axis, group, event) {
    const by = { ArrowUp: STEP, ArrowDown: -STEP }[event.key];
    const across = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (across && event.shiftKey) this.place(axis.label, this.order.indexOf(axis.label) + across);
    else if (by) {
      const [low, high] = this.ranges.get(axis.label)?.[0] ?? [axis.low, axis.high];
      const step = by * (axis.high - axis.low);
      const ends = event.altKey ? [low, Math.min(Math.max(high + step, low), axis.high)] : [Math.max(Math.min(low + step, high), axis.low), high];
      this.choose(axis, group, ends[0] <= axis.low && ends[1] >= axis.high ? [] : [ends]);
      this.reportBrush();
    } else if (event.key === "Escape" && this.ranges.has(axis.label)) {
      this.choose(axis, group, []);
      this.reportBrush();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // Drag the name of an axis to another place.
  move(axis, name, down) {
    down.preventDefault();
    name.setPointerCapture(down.pointerId);
    const drop = ({ clientX }) => {
      const x = clientX - this.axes.getBoundingClientRect().left;
      const nearest = this.visibleAxes.reduce((best, each, i) => (Math.abs(each.x - x) < Math.abs(this.visibleAxes[best].x - x) ? i : best), 0);
      this.place(axis.label, nearest);
    };
    name.addEventListener("pointerup", drop, { once: true });
  }

  place(label, at) {
    const others = this.order.filter((each) => each !== label);
    others.splice(Math.max(0, at), 0, label);
    this.order = others;
    this.draw();
  }

  reportBrush() {
    this.brushed(this.ranges.size ? new Set(this.trace.customdata.filter((_, i) => this.isChosen(i))) : null);
  }

  // Resolves to the bytes of an image with the axes.
  async png() {
    const scale = 2;
    const canvas = make("canvas", { width: this.width * scale, height: this.height * scale });
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    const style = getComputedStyle(document.documentElement);
    context.fillStyle = style.getPropertyValue("--ground").trim();
    context.fillRect(0, 0, this.width, this.height);
    for (const chosen of [false, true]) {
      const some = this.lines.filter(({ i }) => this.isChosen(i) === chosen);
      strokeLines(context, this.visibleAxes, chosen ? some : some.map((line) => ({ ...line, color: this.ink, alpha: DIM_ALPHA })));
    }
    Object.assign(context, { fillStyle: this.ink, strokeStyle: this.ink, globalAlpha: 1, font: "12px system-ui, sans-serif" });
    for (const axis of this.visibleAxes) {
      context.strokeRect(axis.x, this.top, 0, this.bottom - this.top);
      context.textAlign = "end";
      const ticks = [...this.axes.children].find((each) => each.dataset.axis === axis.label).querySelectorAll(".tick");
      for (const tick of ticks) context.fillText(tick.textContent, axis.x - 8, Number(tick.getAttribute("y")));
      context.textAlign = this.trace.labelangle ? "start" : "center";
      context.save();
      context.translate(axis.x, this.top - 16);
      context.rotate(((this.trace.labelangle ?? 0) * Math.PI) / 180);
      context.fillText(unescapeText(axis.label), 0, 0);
      context.restore();
    }
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    return new Uint8Array(await blob.arrayBuffer());
  }
}

function strokeLines(context, axes, lines) {
  context.lineWidth = 1;
  for (const { color, alpha = LINE_ALPHA, places } of lines) {
    context.globalAlpha = alpha;
    context.strokeStyle = color;
    context.beginPath();
    places.forEach((y, i) => (i ? context.lineTo(axes[i].x, y) : context.moveTo(axes[i].x, y)));
    context.stroke();
  }
}
