// The web page: routes, top bar, and keys that work on every page.

import { onLive } from "./api.js";
import { comparePage } from "./compare.js";
import { createPage } from "./create.js";
import { plotly, warmUp } from "./figures_live.js";
import { button, empty, icon, make } from "./dom.js";
import { onKey, showKeys, step } from "./keys.js";
import { listPage } from "./sweeps.js";
import { sweepPage } from "./sweep.js";
import { trialPage } from "./trial.js";

const ROUTES = [
  [/^\/$/, listPage], [/^\/new$/, createPage], [/^\/compare$/, comparePage],
  [/^\/sweeps\/([^/]+)$/, sweepPage], [/^\/sweeps\/([^/]+)\/trials\/(\d+)$/, trialPage],
];
const main = document.getElementById("main");
const crumbs = make("nav", { ariaLabel: "Breadcrumbs", className: "crumbs" });
const live = make("span", { className: "live", "data-live": "live" });
let leave = new AbortController();

const STATUS_TEXT = { live: "live", resting: "paused while hidden", away: "server unavailable, retrying", ended: "not live" };
onLive((state, why = "") => {
  live.title = why;
  if (live.dataset.live === state && live.textContent) return;
  live.dataset.live = state;
  live.replaceChildren(make("span", { className: "dot", ariaHidden: "true" }), STATUS_TEXT[state]);
});

const theme = make("button", { type: "button", id: "theme" });
followTheme(theme);
document.getElementById("top").append(
  make("a", { className: "brand", href: "/" }, icon("M2 12 6 7 9 10 14 4", "brand-mark"), "smsweep"), crumbs, live,
  button("keys", showKeys, { title: "Keys (?)" }), theme);

// where: [[text, address], ...] from the list of sweeps to this page.
export function place(title, where) {
  document.title = title ? `${title} · smsweep` : "smsweep";
  crumbs.replaceChildren(...where.map(([text, address], i) => (i === where.length - 1
    ? make("span", { textContent: text, ariaCurrent: "page" }) : make("a", { href: address, textContent: text }))));
}

function decodePart(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // an incomplete escape: the server reports that there is no such page
  }
}

function open(isNew = true) {
  leave.abort();
  leave = new AbortController();
  const route = ROUTES.map(([pattern, page]) => [location.pathname.match(pattern), page]).find(([match]) => match);
  main.replaceChildren();
  if (!route) {
    place("not found", [["sweeps", "/"], ["not found", ""]]);
    main.append(empty("Page not found", make("p", {}, make("a", { href: "/", textContent: "All sweeps" }))));
    return;
  }
  const [[, ...parts], page] = route;
  live.hidden = page === createPage; // a form has no live data
  page(main, parts.map(decodePart), { signal: leave.signal, place, go });
  if (isNew) scrollTo(0, 0);
}

export function go(address) {
  history.pushState(null, "", address);
  open();
  main.focus({ preventScroll: true });
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  const isPlain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  if (!link || !isPlain || link.target || link.download || link.origin !== location.origin || link.getAttribute("href").startsWith("#")) return;
  event.preventDefault();
  go(link.getAttribute("href"));
});
addEventListener("popstate", () => open(false));
addEventListener("refused", ({ detail }) => {
  main.replaceChildren(empty(detail.status === 404 ? "Not found, or removed" : "The request failed",
    make("p", { textContent: detail.message }), make("p", {}, make("a", { href: "/", textContent: "All sweeps" }))));
});

onKey("?", "show these keys", showKeys);
onKey("t", "light or dark theme", () => theme.click());
onKey("g", "go to all sweeps", () => go("/"));
onKey("n", "new sweep", () => (document.querySelector("[data-key=n]") ? document.querySelector("[data-key=n]").click() : go("/new")));
onKey("j", "next in the list", () => step(main, 1));
onKey("k", "previous in the list", () => step(main, -1));
onKey("/", "filter", () => main.querySelector("input[type=search]:not([hidden])")?.focus());
open();
addEventListener("load", () => setTimeout(() => plotly().then(warmUp).catch(() => {}))); // the figures report an error
