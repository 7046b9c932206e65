"use strict";
// Inside the frame: draw the figure that the page sends, and report the selected trials.

const element = document.getElementById("figure");
const toPage = (message) => parent.postMessage(message, "*");

addEventListener("message", ({ source, data: { figure, theme } }) => {
  if (source !== parent) return;
  setTheme(theme);
  if (!figure) return;
  for (const [i, dimension] of (element.data?.[0]?.dimensions || []).entries()) { // keep the selection
    const same = figure.data[0]?.dimensions?.[i];
    if (same?.label === dimension.label && dimension.constraintrange) same.constraintrange = dimension.constraintrange;
  }
  const brushed = onBrush(element, (numbers) => toPage({ chosen: numbers && [...numbers] }));
  showFigure(element, figure, { plotly_restyle: brushed }).then(() => toPage({ drawn: true }));
});
toPage({ ready: true });
