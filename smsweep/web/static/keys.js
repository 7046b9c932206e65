// Keyboard shortcuts, and a dialog that lists them and can turn them off.

import { button, make } from "./dom.js";
import { openDialog } from "./dialog.js";

const OFF = "smsweep-keys-off";
const keys = new Map(); // key -> { about, run, signal }

const isOff = () => { try { return localStorage.getItem(OFF) === "1"; } catch { return false; } };

// key: KeyboardEvent.key. signal: removes the key on abort.
export function onKey(key, about, run, signal = null) {
  const entry = { about, run };
  keys.set(key, entry);
  signal?.addEventListener("abort", () => { if (keys.get(key) === entry) keys.delete(key); });
}

document.addEventListener("keydown", (event) => {
  const { target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (document.querySelector("dialog[open]")) return;
  const isTyping = target.closest?.("textarea, select, [contenteditable], input:not([type=checkbox])");
  if (isTyping) {
    if (event.key === "Escape") target.blur();
    return;
  }
  const entry = keys.get(event.key);
  if (!entry || (isOff() && event.key !== "?")) return;
  event.preventDefault();
  entry.run();
});

export function showKeys() {
  const rows = [...keys].map(([key, { about }]) => make("tr", {},
    make("td", {}, make("kbd", { textContent: key === " " ? "space" : key })), make("td", { textContent: about })));
  const toggle = make("input", { type: "checkbox", checked: !isOff(), id: "keys-on" });
  toggle.addEventListener("change", () => {
    try { localStorage.setItem(OFF, toggle.checked ? "0" : "1"); } catch { /* without storage, until reload */ }
  });
  openDialog("Keys", [
    make("table", { className: "keys" }, make("tbody", {}, ...rows)),
    make("p", {}, make("label", {}, toggle, " enable these keys"))],
  [button("Close", () => document.getElementById("dialog").close(), { autofocus: true })]);
}

// Move the focus to the next or previous link of a list or table.
export function step(container, by) {
  const stops = [...container.querySelectorAll("a[data-stop], tbody tr a")].filter((stop) => stop.checkVisibility());
  if (!stops.length) return;
  const at = stops.findIndex((stop) => stop === document.activeElement || stop.closest("tr")?.contains(document.activeElement));
  const next = stops[at < 0 ? (by > 0 ? 0 : stops.length - 1) : Math.min(Math.max(at + by, 0), stops.length - 1)];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
}
