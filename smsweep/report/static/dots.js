"use strict";
// Thousands of marks and bars on a canvas below the axes of the plotting library, which needs a second for as many elements.
//
// A trace with many marks is replaced by one without marks, which still answers to the pointer, and a mark for the legend.

const MANY_DOTS = 300; // of a trace
const GROUPS = 64; // colors of a trace whose colors are numbers
const CIVIDIS = ["#00204d", "#31446b", "#666970", "#958f78", "#cbba69", "#ffea46"].map((color, i, all) => [i / (all.length - 1), color]);

// Return the traces of a figure for the library, without the marks that `drawDots` draws.
function withoutDots({ data }) {
  const isMany = (trace) => (trace.mode === "markers" || trace.base) && trace.visible !== false && trace.x.length > MANY_DOTS;
  if (!data.some(isMany)) return data;
  const traces = data.map((trace) => (trace.base && isMany(trace) ? middles(trace) : trace)).flatMap((trace, i) => {
    if (!isMany(trace)) return [trace];
    const group = `dots ${i}`;
    const { color, ...marker } = trace.marker ?? {};
    const hasScale = Array.isArray(color);
    const bounds = hasScale ? { color: [extent(color)[0]], cmin: extent(color)[0], cmax: extent(color)[1] } : { color };
    return [{ ...trace, mode: "none", legendgroup: group, showlegend: false, hoverlabel: hasScale ? trace.hoverlabel : { bgcolor: color } },
      { type: "scatter", mode: "markers", x: [null], y: [null], xaxis: trace.xaxis, yaxis: trace.yaxis, name: trace.name, legendgroup: group, showlegend: trace.showlegend,
        hoverinfo: "skip", marker: { ...marker, ...bounds } }];
  });
  return traces;
}

// Return the middles of horizontal bars over time as points that know the length of their bars.
function middles({ base, x, marker, ...trace }) {
  const at = base.map((start, i) => new Date(Date.parse(start) + x[i] / 2).toISOString());
  return { ...trace, type: "scatter", mode: "markers", x: at, text: base, marker: { ...marker, symbol: "square" }, meta: { lengths: x },
    hovertemplate: trace.hovertemplate.replace("%{base}", "%{text}") };
}

const extent = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);

// Draw the marks again whenever the library has drawn the axes.
function followDots(element) {
  if (element.dots) return;
  element.dots = make("canvas", { className: "dots", ariaHidden: "true" });
  const draw = () => drawDots(element);
  element.on("plotly_afterplot", draw);
  element.on("plotly_relayouting", draw);
  draw();
}

function drawDots(element) {
  const canvas = element.dots;
  const { width, height } = element._fullLayout;
  const scale = devicePixelRatio || 1;
  const place = element.querySelector(".svg-container");
  if (canvas.parentNode !== place) place.prepend(canvas);
  Object.assign(canvas, { width: width * scale, height: height * scale }); // also clears it
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  element._fullData.forEach((full, i) => {
    if (element.data[full.index]?.mode !== "none" || full.visible !== true) return;
    const [across, up] = [full.xaxis, full.yaxis].map((name) => element._fullLayout[`${name[0]}axis${name.slice(1)}`]);
    const points = element.calcdata[i];
    const marker = element.data[full.index].marker ?? {};
    const { size = 6 } = marker;
    context.save();
    context.beginPath();
    context.rect(across._offset - size, up._offset - size, across._length + 2 * size, up._length + 2 * size);
    context.clip();
    const { lengths } = element.data[full.index].meta ?? {};
    if (lengths) drawBars(context, marker.color, points, lengths, across, up, 1 - (element.layout.bargap ?? 0.2));
    else drawMarks(context, { color: full.line?.color, ...marker }, points.map(({ x }) => across._offset + across.c2p(x)), points.map(({ y }) => up._offset + up.c2p(y)));
    context.restore();
  });
}

function drawBars(context, color, points, lengths, across, up, share) {
  const high = share * Math.abs(up.c2p(1) - up.c2p(0));
  context.fillStyle = color;
  points.forEach(({ x, y }, i) => {
    const [left, right] = [-1, 1].map((side) => across.c2p(x + (side * lengths[i]) / 2));
    context.fillRect(across._offset + left, up._offset + up.c2p(y) - high / 2, Math.max(1, right - left), high);
  });
}

function drawMarks(context, { color, colorscale, reversescale, size = 6, opacity = 1, symbol = "circle" }, xs, ys) {
  const half = size / 2;
  const isScaled = Array.isArray(color);
  const [low, high] = isScaled ? extent(color) : [0, 1];
  const paint = isScaled ? colorOf(Array.isArray(colorscale) ? colorscale : CIVIDIS) : null;
  const groups = new Map();
  xs.forEach((_, i) => {
    const share = isScaled ? (color[i] - low) / (high - low || 1) : 0;
    const key = Math.round((reversescale ? 1 - share : share) * GROUPS);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(i);
  });
  context.globalAlpha = opacity;
  for (const [key, places] of groups) {
    context.fillStyle = context.strokeStyle = isScaled ? paint(key / GROUPS) : color;
    for (const i of places) {
      const [x, y] = [xs[i], ys[i]];
      if (!Number.isFinite(x) || !Number.isFinite(y)) continue; // not on a logarithmic axis
      context.beginPath();
      if (symbol === "square") context.rect(x - half, y - half, size, size);
      else if (symbol === "diamond") {
        const wide = half * 1.3;
        context.moveTo(x, y - wide);
        context.lineTo(x + wide, y);
        context.lineTo(x, y + wide);
        context.lineTo(x - wide, y);
      } else context.arc(x, y, half, 0, 2 * Math.PI);
      if (symbol.endsWith("-open")) context.stroke();
      else context.fill();
    }
  }
}
