"use strict";
// Draw figures in the page's colors, each when it first becomes visible. For printing, draw all figures in light colors.

const OPTIONS = { displaylogo: false, responsive: true };
const PAPER_PX = 660; // width that fits A4 and letter
const drawn = new Map(); // element -> its figure
const unseen = new Map(); // element -> function that draws it
let isPrinting = false;

function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const axis = { gridcolor: color("--line"), zerolinecolor: color("--line"), linecolor: color("--line") };
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
  if (height) element.style.minHeight = `${height}px`;
  const layout = themed(figure.layout);
  if (isPrinting && element.checkVisibility()) layout.width = PAPER_PX;
  const ready = Plotly.react(element, figure.data, layout, OPTIONS);
  if (!drawn.has(element)) {
    ready.then(() => {
      for (const [event, listener] of Object.entries(listeners)) element.on(event, listener);
      element.dataset.isDrawn = "true";
    });
  }
  drawn.set(element, figure);
  return ready;
}

function showWhenSeen(element, figure, listeners) {
  const show = () => {
    watcher.disconnect();
    unseen.delete(element);
    showFigure(element, figure, listeners);
  };
  const watcher = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) show();
  }, { rootMargin: "300px" });
  unseen.set(element, show);
  watcher.observe(element);
}

addEventListener("beforeprint", () => {
  isPrinting = true;
  for (const show of [...unseen.values()]) show();
  setTheme("light");
});
addEventListener("afterprint", () => {
  isPrinting = false;
  setTheme(themeName());
  for (const element of drawn.keys()) if (element.checkVisibility()) Plotly.Plots.resize(element);
});

// Return a listener that calls back with the numbers of the trials selected on the axes; null for all trials.
function onBrush(element, callback) {
  return () => {
    const trace = element.data[0];
    const chosen = trace.dimensions.filter((dimension) => dimension.constraintrange);
    if (!chosen.length) return callback(null);
    const isIn = (value, range) => value >= range[0] && value <= range[1];
    const numbers = trace.customdata.filter((_, i) => chosen.every((dimension) => {
      const ranges = Array.isArray(dimension.constraintrange[0]) ? dimension.constraintrange : [dimension.constraintrange];
      return ranges.some((range) => isIn(dimension.values[i], range));
    }));
    return callback(new Set(numbers));
  };
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  for (const [element, figure] of drawn) {
    if (element.isConnected) showFigure(element, figure);
    else drawn.delete(element);
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
