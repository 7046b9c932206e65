"use strict";
// Loads the page again if one of its scripts or style sheets did not arrive. A browser aborts its requests when Docker
// or a VPN changes the network. This script is a part of the HTML: a file of its own could be lost, too.

const LOADS = "smsweep-loads"; // how often this page was loaded again
let isIncomplete = false;

addEventListener("error", ({ target }) => {
  if (document.readyState === "complete" || !(target instanceof HTMLScriptElement || target instanceof HTMLLinkElement)) return;
  if (isIncomplete) return;
  isIncomplete = true;
  try {
    const n = Number(sessionStorage.getItem(LOADS)) + 1;
    if (n > 5) return;
    sessionStorage.setItem(LOADS, n);
    setTimeout(() => location.reload(), 250 * 2 ** n);
  } catch { /* without storage, nothing could end the loads */ }
}, { capture: true });
addEventListener("load", () => {
  try {
    if (!isIncomplete) sessionStorage.removeItem(LOADS);
  } catch { /* without storage */ }
});
