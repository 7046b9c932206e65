// Helpers that build elements from text, never from HTML; parts that the pages share.

export const { make, formatValue, copyButton, download } = globalThis;

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// A shape for each state, so that readers with color blindness can distinguish states.
const SHAPES = {
  finished: "M3.5 8.5 6.5 11.5 12.5 4.5", running: "M5 3.5 12 8 5 12.5Z", stopping: "M4 8H12", pending: "M8 8H8.01",
  stopped: "M8 3 13 8 8 13 3 8Z", killed: "M4.5 4.5H11.5V11.5H4.5Z", failed: "M4.5 4.5 11.5 11.5 M11.5 4.5 4.5 11.5",
  crashed: "M8 3.5V9 M8 12V12.01", paused: "M6 4V12 M10 4V12", cancelled: "M4.5 4.5 11.5 11.5 M11.5 4.5 4.5 11.5",
};
const SWEEP_SHAPES = { stopped: SHAPES.killed };

export function icon(path, className = "icon") {
  return svg("svg", { viewBox: "0 0 16 16", class: className, "aria-hidden": "true" }, svg("path", { d: path }));
}

// The state of a sweep as `smsweep ls` shows it: pending if no agent works on it.
export function sweepState(sweep) {
  return sweep.state === "running" && !sweep.has_agent ? "pending" : sweep.state;
}

export function badge(state, ofSweep = false) {
  const path = (ofSweep && SWEEP_SHAPES[state]) || SHAPES[state] || SHAPES.pending;
  return make("span", { className: "badge", "data-state": state }, icon(path), state);
}

export function spark(values, label, { width = 120, height = 28 } = {}) {
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "spark", role: "img", "aria-label": label });
  if (values.length < 2) return drawing;
  const low = Math.min(...values);
  const span = Math.max(...values) - low || 1;
  const points = values.map((value, i) => {
    const x = 2 + (i / (values.length - 1)) * (width - 6);
    return [x.toFixed(1), (height - 4 - ((value - low) / span) * (height - 8)).toFixed(1)];
  });
  const [x, y] = points[points.length - 1];
  drawing.append(
    svg("polyline", { points: points.map((point) => point.join(",")).join(" ") }),
    svg("circle", { cx: x, cy: y, r: 2.5 }));
  return drawing;
}

export const STATES = ["finished", "running", "stopping", "stopped", "killed", "failed", "crashed", "pending"];

// A bar with one part per state; the numbers are beside it as text.
export function progress(counts, expected) {
  const total = Object.values(counts).reduce((a, b) => a + b, 0);
  const whole = Math.max(expected ?? total, total, 1);
  const parts = STATES.filter((state) => counts[state]).map((state) =>
    svg("rect", { "data-state": state, height: 8, width: (counts[state] / whole) * 100 }));
  let x = 0;
  for (const part of parts) {
    part.setAttribute("x", x);
    x += Number(part.getAttribute("width"));
  }
  const text = STATES.filter((state) => counts[state]).map((state) => `${counts[state]} ${state}`).join(", ");
  return svg("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", class: "progress", role: "img",
    "aria-label": text || "no trials yet" }, ...parts);
}

export function number(value) {
  return value === null || value === undefined ? "–" : formatValue(value);
}

export const many = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

export function duration(seconds) {
  if (!Number.isFinite(seconds) || seconds < 0) return "–";
  if (seconds < 10 && !Number.isInteger(seconds)) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.round((seconds % 86400) / 3600)} h`;
}

export function seconds(from, to) {
  return from ? ((to ? Date.parse(to) : Date.now()) - Date.parse(from)) / 1000 : NaN;
}

export function ago(time) {
  if (!time) return make("span", { textContent: "–" });
  const passed = seconds(time, null);
  const text = passed < 5 ? "just now" : `${duration(Math.round(passed)).replace(/^(\S+ \S+).*/, "$1")} ago`;
  return make("time", { dateTime: time, title: new Date(time).toLocaleString(), textContent: text });
}

export function pairs(params) {
  const list = make("span", { className: "pairs" });
  for (const [name, value] of Object.entries(params)) {
    list.append(make("span", { className: "pair" }, make("span", { className: "soft", textContent: `${name} ` }), number(value)));
  }
  return list;
}

export function flat(params, prefix = "") {
  return Object.entries(params).reduce((all, [name, value]) => ({ ...all,
    ...(value && typeof value === "object" && !Array.isArray(value)
      ? flat(value, `${prefix}${name}.`) : { [prefix + name]: value }) }), {});
}

// Replace the children of an element, and keep the focus on the same control: the one with the same data-key, or the same text.
export function refill(element, ...children) {
  const focused = element.contains(document.activeElement) && document.activeElement;
  const key = (each) => each.dataset.key ?? `${each.textContent} ${each.href ?? ""}`;
  const name = focused && key(focused);
  element.replaceChildren(...children);
  if (focused) [...element.querySelectorAll(focused.localName)].find((each) => key(each) === name)?.focus({ preventScroll: true });
}

export function button(text, onclick, options = {}) {
  return make("button", { type: "button", textContent: text, onclick, ...options });
}

export function command(text) {
  return make("div", { className: "command" }, make("code", { textContent: text }), copyButton(text));
}

export function empty(title, ...more) {
  return make("div", { className: "empty" }, icon("M2 12 6 7 9 10 14 4", "empty-mark"),
    make("h2", { textContent: title }), ...more);
}

let lastNotice = 0;
export function notify(text, isBad = false) {
  const notice = document.getElementById("notice");
  notice.textContent = text;
  notice.className = isBad ? "bad" : "";
  const mine = ++lastNotice;
  if (text) setTimeout(() => { if (mine === lastNotice) notice.textContent = ""; }, isBad ? 12000 : 5000);
}
