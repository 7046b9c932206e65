"use strict";
// Draw figures in the page's colors, each when it first becomes visible. For printing, draw all figures in light colors.

const OPTIONS = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["toImage"] }; // figure_view.js has a button
const PAPER_PX = 660; // width that fits A4 and letter
const drawnFigures = new Map(); // element -> its figure
const pendingDraws = new Map(); // element -> function that draws it
let isPrinting = false;

function applyTheme(layout) {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  // The same numbers as in tables: 0.001, 1e-4.
  const axis = { exponentformat: "e", gridcolor: color("--line"), zerolinecolor: color("--line"), linecolor: color("--line") };
  const whole = {
    ...layout,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: color("--ink"), family: "system-ui, sans-serif" },
    hoverlabel: { font: { family: "ui-monospace, monospace" } },
    modebar: { color: color("--soft"), activecolor: color("--accent") },
  };
  for (const name of new Set([...Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key)), "xaxis", "yaxis"])) {
    whole[name] = { ...axis, ...layout[name] };
  }
  whole.updatemenus = (layout.updatemenus || []).map((menu) => ({
    ...menu,
    bgcolor: color("--card"),
    bordercolor: color("--line"),
    buttons: menu.buttons.map((button) => ({
      ...button,
      args: [button.args[0], Object.fromEntries(Object.entries(button.args[1]).map(([k, v]) => [k, { ...axis, ...v }]))],
    })),
  }));
  return whole;
}

function showFigure(element, figure, listeners = {}) {
  const height = figure.layout.height;
  if (figure.data[0]?.type === "parcoords") return showParallel(element, figure, listeners);
  if (!globalThis.Plotly) return null; // the page draws the figure as soon as the library is loaded
  element.querySelector(".sketch")?.remove();
  if (element.parallel) element.parallel = element.parallel.remove();
  if (height) element.style.minHeight = `${height}px`;
  const layout = applyTheme(figure.layout);
  if (isPrinting && element.checkVisibility()) layout.width = PAPER_PX;
  const ready = Plotly.react(element, withoutDots(figure), layout, OPTIONS);
  if (!drawnFigures.has(element)) {
    ready.then(() => {
      followDots(element);
      for (const [event, listener] of Object.entries(listeners)) if (event !== "brushed") element.on(event, listener);
      element.dataset.isDrawn = "true";
    });
  }
  drawnFigures.set(element, figure);
  return ready;
}

function forgetFigure(element) {
  Plotly.purge(element);
  drawnFigures.delete(element);
}

function showParallel(element, figure, { brushed = () => {} }) {
  element.style.minHeight = `${figure.layout.height}px`;
  if (!element.parallel) globalThis.Plotly?.purge(element); // a text was shown before
  element.parallel ||= new ParallelPlot(element, brushed);
  const width = isPrinting && element.checkVisibility() ? { width: PAPER_PX } : {};
  const ready = element.parallel.show({ data: figure.data, layout: { ...figure.layout, ...width } }).then(() => { element.dataset.isDrawn = "true"; });
  drawnFigures.set(element, figure);
  return ready;
}

function showWhenSeen(element, draw) {
  const show = () => {
    watcher.disconnect();
    pendingDraws.delete(element);
    draw();
  };
  const watcher = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) show();
  }, { rootMargin: "300px" });
  pendingDraws.set(element, show);
  watcher.observe(element);
}

addEventListener("beforeprint", () => {
  isPrinting = true;
  for (const show of [...pendingDraws.values()]) show();
  setTheme("light");
});
addEventListener("afterprint", () => {
  isPrinting = false;
  setTheme(themeName());
  for (const element of drawnFigures.keys()) if (element.checkVisibility() && !element.parallel) Plotly.Plots.resize(element);
});

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  for (const [element, figure] of drawnFigures) {
    if (element.isConnected) showFigure(element, figure);
    else drawnFigures.delete(element);
  }
}

function followTheme(button) {
  const other = { dark: "light", light: "dark" };
  const apply = (name) => {
    setTheme(name);
    button.textContent = `${other[name]} theme`;
  };
  apply(themeName());
  systemDark.addEventListener("change", () => apply(themeName()));
  button.addEventListener("click", () => {
    const name = other[document.documentElement.dataset.theme];
    keepTheme(name);
    apply(name);
  });
}
