// The first drawing of a figure: curves and dots on a canvas, in a few milliseconds. The plotting library, which needs
// more than 100 ms, replaces it in idle time.

import { make, formatValue } from "./dom.js";

const COLORS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"]; // of the library
const MARGIN = { l: 80, r: 80, t: 100, b: 80 }; // of the library
const HEIGHT = 450;
const LEGEND_ROW = 19;
const LEGEND_MARK = 40; // px before a name
const TITLE_PX = 14;

// Draw a figure into an element. Return false if the figure has parts that only the library can draw.
export function sketch(element, { data, layout }) {
  const { width: wide, height: high } = { width: element.clientWidth, height: layout.height ?? HEIGHT };
  const isNumeric = (values) => values.every((value) => value === null || typeof value === "number");
  const isKnown = data.every((trace) => trace.type === "scatter" && !trace.xaxis && isNumeric(trace.x) && isNumeric(trace.y) && !Array.isArray(trace.marker?.color));
  if (!data.length || !isKnown || !wide || layout.updatemenus?.length || layout.title) return false;
  const style = getComputedStyle(document.documentElement);
  const [ink, line] = ["--ink", "--line"].map((name) => style.getPropertyValue(name).trim());
  const scale = devicePixelRatio || 1;
  const canvas = make("canvas", { className: "sketch", ariaHidden: "true", width: wide * scale, height: high * scale });
  canvas.style.width = `${wide}px`;
  canvas.style.height = `${high}px`;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.font = "12px system-ui, sans-serif";
  const color = (trace) => trace.line?.color ?? trace.marker?.color ?? COLORS[data.indexOf(trace) % COLORS.length];
  const named = layout.showlegend !== false && data.length > 1 ? data.filter(({ showlegend }) => showlegend !== false) : [];
  const isBeside = named.length > 0 && layout.legend?.orientation !== "h";
  const texts = named.map(({ name }) => unescapeText(name));
  const margin = { ...MARGIN, ...layout.margin };
  if (isBeside) margin.r = Math.max(margin.r, LEGEND_MARK + 20 + Math.max(...texts.map((text) => context.measureText(text).width)));
  const spots = legendSpots(texts.map((text) => LEGEND_MARK + 10 + context.measureText(text).width), wide - margin.l - margin.r, isBeside);
  if (named.length && !isBeside) margin.t += LEGEND_ROW * (spots[spots.length - 1][1] + 1);
  const place = { left: margin.l, right: wide - margin.r, top: margin.t, bottom: high - margin.b };
  const hasDots = data.some(({ mode }) => mode.includes("markers"));
  const x = axisOf(layout.xaxis, data.map((trace) => trace.x), hasDots ? 0.05 : 0, place.left, place.right);
  const y = axisOf(layout.yaxis, data.map((trace) => trace.y), 0.05, place.bottom, place.top);

  Object.assign(context, { strokeStyle: line, fillStyle: ink, textAlign: "center", lineWidth: 1 });
  context.beginPath();
  for (const value of x.ticks) {
    context.moveTo(x.at(value), place.top);
    context.lineTo(x.at(value), place.bottom);
    context.fillText(formatValue(Number(value.toPrecision(4))), x.at(value), place.bottom + 15);
  }
  context.textAlign = "right";
  for (const value of y.ticks) {
    context.moveTo(place.left, y.at(value));
    context.lineTo(place.right, y.at(value));
    context.fillText(formatValue(Number(value.toPrecision(4))), place.left - 3, y.at(value) + 4);
  }
  context.stroke();

  context.save();
  context.beginPath();
  context.rect(place.left, place.top, place.right - place.left, place.bottom - place.top);
  context.clip();
  for (const trace of data) {
    context.globalAlpha = trace.opacity ?? 1;
    if (trace.mode.includes("lines")) strokeLine(context, trace, color(trace), x.at, y.at);
    if (trace.mode.includes("markers")) drawMarks(context, { ...trace.marker, color: color(trace) }, trace.x.map(x.at), trace.y.map(y.at));
  }
  context.restore();

  context.textAlign = "left";
  const [legendLeft, legendTop] = isBeside ? [place.right + 12, place.top + 10] : [place.left, (layout.margin?.t ?? MARGIN.t) + LEGEND_ROW / 2 - 5];
  texts.forEach((text, i) => {
    const [left, top] = [legendLeft + spots[i][0], legendTop + spots[i][1] * LEGEND_ROW];
    context.fillStyle = color(named[i]);
    context.fillRect(left + 5, top - 1.5, 30, 3);
    context.fillStyle = ink;
    context.fillText(text, left + LEGEND_MARK, top + 4);
  });
  Object.assign(context, { font: `${TITLE_PX}px system-ui, sans-serif`, textAlign: "center" });
  context.fillText(unescapeText(layout.xaxis.title?.text), (place.left + place.right) / 2, place.bottom + 40);
  context.rotate(-Math.PI / 2);
  context.fillText(unescapeText(layout.yaxis.title?.text), -(place.top + place.bottom) / 2, TITLE_PX + 8);
  element.replaceChildren(canvas);
  element.style.minHeight = `${high}px`;
  element.dataset.isDrawn = "sketch";
  return true;
}

// Return the place of each entry of a legend: px from the left, row. An entry beside the plot has its own row.
function legendSpots(widths, wide, isBeside) {
  const column = Math.max(...widths);
  const n = isBeside ? 1 : Math.max(1, Math.floor(wide / column));
  return widths.map((_, i) => [(i % n) * column, Math.floor(i / n)]);
}

// Return the function from a value to its place between two ends, and the ticks.
function axisOf({ type, range }, columns, pad, from, to) {
  const scaled = type === "log" ? Math.log10 : (value) => value;
  const finite = columns.flat().filter((value) => value !== null).map(scaled).filter(Number.isFinite);
  const ends = [finite.reduce((a, b) => Math.min(a, b), Infinity), finite.reduce((a, b) => Math.max(a, b), -Infinity)];
  const room = pad * (ends[1] - ends[0]) || (ends[0] === ends[1] ? 1 : 0);
  const [low, high] = range ?? [ends[0] - room, ends[1] + room];
  const powers = Array.from({ length: 40 }, (_, i) => Math.ceil(low) + i).filter((power) => power <= high).map((power) => 10 ** power);
  const ticks = type !== "log" ? evenTicks(low, high) : powers.length > 1 ? powers : [10 ** low, 10 ** high];
  return { at: (value) => (value === null ? NaN : from + ((scaled(value) - low) / (high - low)) * (to - from)), ticks };
}

function strokeLine(context, { x, y, line }, color, acrossOf, upOf) {
  Object.assign(context, { strokeStyle: color, lineWidth: line?.width ?? 2 });
  context.beginPath();
  let before = NaN; // height of the previous point; NaN after a gap
  x.forEach((value, i) => {
    const [across, up] = [acrossOf(value), upOf(y[i])];
    if (Number.isNaN(before)) context.moveTo(across, up);
    else {
      if (line?.shape === "hv") context.lineTo(across, before);
      context.lineTo(across, up);
    }
    before = up;
  });
  context.stroke();
}
