"use strict";
// What the reader chooses in a figure: range and scale of its values, the number of trials, a filter; and downloads.
//
// A figure describes its axes in `layout.meta.groups`: axes with the same values, and whether low (1) or high (-1) values
// are good, neither (0), or all values are always shown (2). An axis is a key of the layout, "z" (the colors of a contour), or "objective" (the last axis of
// parallel coordinates).

const FEWEST_VALUES = 8; // with fewer values no value is an outlier
const FENCE = 3; // interquartile ranges; values farther away are outside of the robust range
const WORTH = 1.5; // a robust range is used if the full range is at least this many times longer
const ALL = 2; // instead of a sign: no value is an outlier
const PAD = 0.05; // of a range, at both ends
const BEST_STEPS = [5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
const NARROW_PX = 620; // figures of less width have one column and no text beside the plot
const SLICE_PX = 210; // of one slice in one column
const ENTITIES = { "&lt;": "<", "&gt;": ">", "&#123;": "{", "&#36;": "$", "&amp;": "&" };

const unescapeText = (text) => String(text ?? "").replace(/&lt;|&gt;|&#123;|&#36;|&amp;/g, (entity) => ENTITIES[entity]);
const isNumeric = (value) => typeof value === "number" && Number.isFinite(value);

// Return [low, high] without outliers, or null if there are none. Good values are never outliers.
function robustRange(values, sign) {
  const sorted = Float64Array.from(values).sort();
  const n = sorted.length;
  if (n < FEWEST_VALUES || sign === ALL) return null;
  const at = (share) => sorted[Math.round(share * (n - 1))];
  const spread = at(0.75) - at(0.25) || at(0.9) - at(0.1);
  if (!(spread > 0)) return null;
  const inside = sorted.filter((value) => (sign === 1 || value >= at(0.25) - FENCE * spread) && (sign === -1 || value <= at(0.75) + FENCE * spread));
  const [low, high] = [inside[0], inside[inside.length - 1]];
  return sorted[n - 1] - sorted[0] >= WORTH * (high - low) && high > low ? [low, high] : null;
}

const letterOf = (axis) => axis.replace("axis", ""); // "yaxis2" -> "y2"

// Return the values of a group of axes in a figure, each with the number of its trial: [[value, number], ...].
function valuesOf(data, { axes }) {
  const values = [];
  const names = new Set(axes.map(letterOf));
  for (const trace of data) {
    const numbers = trace.customdata ?? [];
    if (trace.type === "parcoords") {
      if (names.has("objective")) trace.dimensions[trace.dimensions.length - 1].values.forEach((value, i) => values.push([value, numbers[i]]));
      continue;
    }
    if (trace.type === "contour") {
      if (names.has("z") && trace.visible !== false) for (const row of trace.z) for (const value of row) values.push([value, null]);
      continue;
    }
    if (!trace.customdata) continue;
    for (const letter of ["x", "y"]) {
      if (!names.has(trace[`${letter}axis`] ?? letter)) continue;
      trace[letter].forEach((value, i) => { if (isNumeric(value)) values.push([value, numbers[i]]); });
    }
  }
  return values;
}

// Return a trace with the points of some trials. A null between the points of two curves ends the first of them.
function selectTrials(trace, visible) {
  if (!Array.isArray(trace.customdata)) return trace;
  let isSelected = false;
  const places = [];
  trace.customdata.forEach((number, i) => {
    if (number !== null) isSelected = visible.has(number);
    if (isSelected) places.push(i);
  });
  const n = trace.customdata.length;
  const some = (values) => (Array.isArray(values) && values.length === n ? places.map((i) => values[i]) : values);
  const part = { ...trace, customdata: some(trace.customdata) };
  for (const name of ["x", "y", "base", "text"]) if (name in trace) part[name] = some(trace[name]);
  if (trace.marker) part.marker = { ...trace.marker, color: some(trace.marker.color) };
  if (trace.type === "parcoords") {
    part.dimensions = trace.dimensions.map((dimension) => ({ ...dimension, values: some(dimension.values) }));
    part.line = { ...trace.line, color: some(trace.line.color) };
  }
  if (!places.length) part.showlegend = false;
  return part;
}

const evenly = (items, n) => (items.length <= n ? items : Array.from({ length: n }, (_, i) => items[Math.floor((i * items.length) / n)]));

// Return the trials that a figure shows: a Set, or null for all.
function visibleTrials(numbers, { best, most }, { ranked, only }) {
  let visible = only ? numbers.filter((number) => only.has(number)) : numbers;
  if (best) {
    const candidates = new Set(visible);
    visible = ranked.filter((number) => candidates.has(number)).slice(0, best);
  }
  const isThinned = most && visible.length > most;
  if (isThinned) visible = evenly(visible, most);
  return { visible: only || best || isThinned ? new Set(visible) : null, n: visible.length, isThinned };
}

function trialsOf(data) {
  const numbers = new Set();
  for (const trace of data) for (const number of trace.customdata ?? []) if (number !== null) numbers.add(number);
  return [...numbers];
}

// Return the figure as chosen, and facts for the controls: trials outside of the range, and axes that can be logarithmic.
// choice: { full, logs, best }; context: { ranked: numbers of trials, best first; only: a Set of numbers, or null }.
function applyChoice(figure, choice, context) {
  const { groups = [], most = 0 } = figure.layout.meta ?? {};
  const layout = { ...figure.layout, uirevision: "kept" }; // keeps zoom and menus when new data arrives
  const all = trialsOf(figure.data);
  const { visible, n, isThinned } = visibleTrials(all, { best: choice.best, most }, context);
  let data = visible ? figure.data.map((trace) => selectTrials(trace, visible)) : figure.data;
  if (visible && figure.layout.meta?.drops) data = data.filter((trace) => !trace.customdata || trace.customdata.length);
  const outside = new Set();
  const canLog = [];
  let hasRange = false;
  for (const group of groups) {
    const values = valuesOf(data, group);
    const isPositive = values.length > 0 && values.every(([value]) => value > 0);
    if (isPositive && group.axes[0] !== "z") canLog.push(group.axes[0]);
    const isLog = isPositive && choice.logs.includes(group.axes[0]);
    const scaled = isLog ? Math.log10 : (value) => value;
    const range = robustRange(values.map(([value]) => scaled(value)), group.sign);
    hasRange ||= Boolean(range);
    const axisRange = choice.full ? null : range;
    if (axisRange) {
      for (const [value, number] of values) if (number !== null && (scaled(value) < axisRange[0] || scaled(value) > axisRange[1])) outside.add(number);
    }
    data = scaleGroup(data, layout, group, isLog, axisRange);
    for (const name of group.axes) if (layout[name]) layout[name].uirevision = `${Boolean(choice.full)} ${isLog}`; // the choice replaces a zoom
  }
  return { figure: { data, layout }, outside, canLog, hasRange, n, total: all.length, isThinned };
}

function scaleGroup(data, layout, { axes }, isLog, range) {
  if (axes[0] === "z") return range ? data.map((trace) => (trace.type === "contour" ? { ...trace, zauto: false, zmin: range[0], zmax: range[1] } : trace)) : data;
  if (axes[0] === "objective") return data.map((trace) => (trace.type === "parcoords" ? objectiveAxis(trace, isLog, range) : trace));
  for (const name of axes) {
    const pad = range ? PAD * (range[1] - range[0]) : 0;
    layout[name] = { ...layout[name], ...(isLog ? { type: "log" } : {}), ...(range ? { range: [range[0] - pad, range[1] + pad], autorange: false } : {}) };
  }
  return data;
}

// Values outside of the range are at its end, where their lines stay visible.
function objectiveAxis(trace, isLog, range) {
  const dimensions = [...trace.dimensions];
  const last = { ...dimensions.pop(), isLog };
  const scaled = isLog ? last.values.map(Math.log10) : last.values;
  const [low, high] = range ?? [scaled.reduce((a, b) => Math.min(a, b), Infinity), scaled.reduce((a, b) => Math.max(a, b), -Infinity)];
  last.values = scaled.map((value) => Math.min(Math.max(value, low), high));
  if (range) last.range = [low, high];
  if (isLog && high > low) {
    last.tickvals = Array.from({ length: 5 }, (_, i) => low + ((high - low) * i) / 4);
    last.ticktext = last.tickvals.map((value) => formatValue(Number((10 ** value).toPrecision(3))));
    last.range = [low, high];
  }
  return { ...trace, dimensions: [...dimensions, last] };
}

// Return a figure that is readable in a narrow column: one slice per row, legends above the plot, colors without a bar.
function narrowFigure(figure, width) {
  if (!width || width >= NARROW_PX) return figure;
  const layout = { ...figure.layout, margin: { ...figure.layout.margin, l: 48, r: 8 } };
  layout.legend = { ...layout.legend, orientation: "h", x: 0, y: 1.02, yanchor: "bottom" };
  const rows = Object.keys(layout).filter((name) => /^yaxis\d*$/.test(name));
  if (layout.meta?.is_grid && rows.length > 1) {
    const high = 1 / rows.length;
    rows.forEach((name, i) => {
      const across = name.replace("y", "x");
      layout[name] = { ...layout[name], domain: [1 - (i + 1) * high + high * 0.3, 1 - i * high], title: layout.yaxis.title };
      layout[across] = { ...layout[across], domain: [0, 1] };
    });
    layout.height = 40 + SLICE_PX * rows.length;
  }
  const data = figure.data.map((trace) => (trace.type === "contour" ? { ...trace, colorbar: { ...trace.colorbar, orientation: "h", thickness: 10, y: -0.3, title: { ...trace.colorbar?.title, side: "top" } } } : trace));
  return { data, layout };
}

// Return the numbers of the trials with an objective, best first. at: the places of columns in a row.
function rankedTrials(rows, at, sign) {
  const scored = rows.filter((row) => isNumeric(row[at.objective]) && !["failed", "crashed"].includes(row[at.state]) && !row[at.infeasible]);
  return scored.sort((a, b) => sign * (a[at.objective] - b[at.objective])).map((row) => row[at.number]);
}

// --- downloads

function download(name, blob) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function csvOf(rows) {
  const cell = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };
  return `${rows.map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
}

// Return the points of a figure as rows, below a row with names.
function figureRows({ data, layout }) {
  const parallel = data.find((trace) => trace.type === "parcoords");
  if (parallel) {
    const names = parallel.dimensions.map(({ label }) => unescapeText(label));
    const text = ({ values, ticktext, tickvals }, i) => (ticktext && tickvals.includes(values[i]) ? ticktext[tickvals.indexOf(values[i])] : values[i]);
    return [["trial", ...names], ...parallel.customdata.map((number, i) => [number, ...parallel.dimensions.map((dimension) => text(dimension, i))])];
  }
  const rows = [["series", "trial", "x", "y", "x title", "y title"]];
  for (const trace of data) {
    if (!Array.isArray(trace.x) || trace.type === "contour" || trace.visible === false) continue;
    const title = (letter) => unescapeText(layout[(trace[`${letter}axis`] ?? letter).replace(letter, `${letter}axis`)]?.title?.text);
    trace.x.forEach((x, i) => {
      const at = trace.base ? trace.base[i] : x;
      if (x !== null) rows.push([unescapeText(trace.name), trace.customdata?.[i], unescapeText(at), unescapeText(trace.y[i]), title("x"), title("y")]);
    });
  }
  return rows;
}

async function pngOf({ data, layout }, width) {
  const style = getComputedStyle(document.documentElement);
  const whole = { ...applyTheme(layout), paper_bgcolor: style.getPropertyValue("--ground").trim() };
  const url = await Plotly.toImage({ data, layout: whole }, { format: "png", width: Math.max(width, 400), height: layout.height || 450, scale: 2 });
  return Uint8Array.from(atob(url.slice(url.indexOf(",") + 1)), (character) => character.charCodeAt(0));
}

// --- controls

function parseChoice(text, usual) {
  if (!text) return { ...usual, logs: [...usual.logs] };
  const parts = text.split(" ");
  const best = parts.map((part) => part.match(/^best(\d+)$/)?.[1]).find(Boolean);
  return { full: parts.includes("full"), logs: parts.filter((part) => part.startsWith("log-")).map((part) => part.slice(4)), best: Number(best ?? 0) };
}

const formatChoice = ({ full, logs, best }) => [full ? "full" : "robust", ...logs.map((name) => `log-${name}`), `best${best}`].filter(Boolean).join(" ");

class FigureView {
  // name: file name of downloads and key of the state. state: { get(key), set(key, text) } keeps the reader's choice.
  // context: returns { ranked, only, isFiltered }. listeners: of Plotly's events; `brushed` gets the trials selected on parallel
  // coordinates, a Set of numbers, or null for all. load: loads Plotly, which a page may load after the first drawing.
  constructor(element, { name, state = null, context = () => ({}), listeners = {}, load = () => {} }) {
    Object.assign(this, { element, name, context, listeners, state, load });
    this.image = (figure) => (element.parallel ? element.parallel.png() : pngOf(figure, element.clientWidth));
    this.note = make("span", { className: "soft note" });
    this.full = make("button", { type: "button", onclick: () => this.choose({ full: !this.choice.full }) });
    this.logs = make("span", { className: "logs" });
    this.best = make("input", { type: "range", min: 0, step: 1, ariaLabel: `${name}: number of best trials` });
    this.bestText = make("output");
    this.slider = make("label", { className: "slider" }, this.best, this.bestText);
    this.best.addEventListener("input", () => {
      const steps = this.steps();
      this.choose({ best: steps[Number(this.best.value)] ?? 0 });
    });
    this.bar = make("div", { className: "bar figure-bar" }, this.note, this.slider, this.full, this.logs,
      make("button", { type: "button", textContent: "PNG", ariaLabel: `PNG of ${name.replace(/_/g, " ")}`, title: "download this figure as an image", onclick: () => this.savePng() }),
      make("button", { type: "button", textContent: "CSV", ariaLabel: `CSV of ${name.replace(/_/g, " ")}`, title: "download the points of this figure", onclick: () => this.saveCsv() }));
    this.bar.hidden = true;
    this.caption = make("p", { className: "soft caption", hidden: true });
    element.before(this.bar);
    element.after(this.caption);
  }

  usual() {
    const { best = 0, many = 0, logs = [], full = false } = this.raw.layout.meta ?? {};
    return { full, logs, best: many && trialsOf(this.raw.data).length > many ? best : 0 };
  }

  steps() {
    return [...BEST_STEPS.filter((n) => n < this.total), 0]; // 0: all trials
  }

  show(raw) {
    this.prepare(raw);
    return showFigure(this.element, this.figure, this.listeners);
  }

  // Draw the controls, and return the figure as the reader has chosen it.
  prepare(raw) {
    this.raw = raw;
    this.choice = parseChoice(this.state?.get(this.name), this.usual());
    return this.arrange();
  }

  choose(change) {
    this.choice = { ...this.choice, ...change };
    const text = formatChoice(this.choice);
    this.state?.set(this.name, text === formatChoice(this.usual()) ? "" : text);
    this.draw();
  }

  // Draw the same figure again, for example after the filter has changed.
  draw() {
    if (!this.raw) return null;
    this.arrange();
    return showFigure(this.element, this.figure, this.listeners);
  }

  arrange() {
    const { ranked = [], only: filtered = null } = this.context();
    const only = this.raw.layout.meta?.is_whole ? null : filtered;
    const view = applyChoice(this.raw, this.choice, { ranked, only });
    this.total = only ? trialsOf(this.raw.data).filter((number) => only.has(number)).length : view.total;
    this.figure = narrowFigure(view.figure, this.element.clientWidth);
    this.drawBar(view, ranked, only);
    return this.figure;
  }

  drawBar({ outside, canLog, hasRange, n, total, isThinned }, ranked, only) {
    const isEmpty = !this.raw.data.length;
    this.caption.textContent = this.raw.layout.meta?.caption ?? "";
    this.caption.hidden = !this.caption.textContent;
    this.bar.hidden = isEmpty;
    if (isEmpty) return;
    const notes = [];
    if (only && total) notes.push(`filter: ${this.total} of ${total} trials`);
    if (this.choice.best && n < this.total) notes.push(`best ${n} of ${this.total}`);
    if (isThinned) notes.push(`${n} of ${this.total} trials, evenly selected`);
    if (outside.size) notes.push(`${outside.size} ${outside.size === 1 ? "trial is" : "trials are"} outside the range`);
    this.note.textContent = notes.join("; ");
    this.note.title = outside.size ? `trials outside: ${[...outside].sort((a, b) => a - b).slice(0, 50).join(", ")}` : "";
    this.full.hidden = !hasRange;
    this.full.textContent = "full range";
    this.full.ariaPressed = String(this.choice.full);
    const buttons = canLog.map((axis) => {
      const isOn = this.choice.logs.includes(axis);
      return make("button", { type: "button", textContent: canLog.length > 1 ? `log ${letterOf(axis)}` : "log", ariaPressed: String(isOn), "data-key": axis,
        title: "logarithmic axis", onclick: () => this.choose({ logs: isOn ? this.choice.logs.filter((each) => each !== axis) : [...this.choice.logs, axis] }) });
    });
    const focused = this.logs.contains(document.activeElement) && document.activeElement.dataset.key;
    this.logs.replaceChildren(...buttons);
    if (focused) buttons.find((each) => each.dataset.key === focused)?.focus();
    const steps = this.steps();
    const hasRanks = this.raw.layout.meta?.many && ranked.length;
    this.slider.hidden = !hasRanks || steps.length < 3;
    this.best.max = steps.length - 1;
    const at = steps.indexOf(this.choice.best);
    this.best.value = String(at < 0 ? steps.length - 1 : at);
    this.bestText.textContent = this.choice.best && at >= 0 ? `best ${this.choice.best}` : "all trials";
    this.best.setAttribute("aria-valuetext", this.bestText.textContent);
  }

  async savePng() {
    await this.load();
    download(`${this.name}.png`, new Blob([await this.image(this.figure)], { type: "image/png" }));
  }

  saveCsv() {
    download(`${this.name}.csv`, new Blob([csvOf(figureRows(this.figure))], { type: "text/csv" }));
  }
}
