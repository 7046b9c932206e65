// Requests to the server: read, change, and poll while the page is visible.

import { download } from "./dom.js";

// Sign-in puts the page key after the #. A browser sends the cookie to all ports of this machine,
// but storage belongs to this page alone.
const STORED = "smsweep-page-key";
const signInKey = location.hash.match(/^#key=(\w+)$/)?.[1];
if (signInKey) history.replaceState(null, "", location.pathname + location.search);
let pageKey = signInKey ?? readStoredKey();
if (signInKey) storeKey(signInKey);

function readStoredKey() {
  try {
    return localStorage.getItem(STORED) ?? "";
  } catch {
    return ""; // without storage, each load asks for the token
  }
}

function storeKey(key) {
  try {
    localStorage.setItem(STORED, key);
  } catch { /* without storage */ }
}

export class Refused extends Error {
  constructor(status, answer) {
    super(answer.error || `the server answered ${status}`);
    this.status = status;
    this.problems = answer.problems || [this.message];
  }
}

async function ask(path, { headers, ...options }) {
  const own = { "X-CSRF-Token": pageKey };
  const response = await fetch(path, { credentials: "same-origin", headers: { ...own, ...headers }, ...options });
  if (response.status === 401 || response.status === 403) {
    if (pageKey !== readStoredKey()) { // another tab has signed in since
      pageKey = readStoredKey();
      return ask(path, { headers, ...options });
    }
    location.assign("/?token="); // the token has changed: go to the sign-in page
    return new Promise(() => {});
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}

export const read = (path, signal) => ask(path, { signal });

export const change = (path, body = {}) => ask(path, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

// Download an answer as a file. The request needs the page key, so a link cannot do this.
export async function save(address, name) {
  const response = await fetch(address, { credentials: "same-origin", headers: { "X-CSRF-Token": pageKey } });
  if (!response.ok) throw new Refused(response.status, await response.json().catch(() => ({})));
  download(name, await response.blob());
}

export const path = (...parts) => `/${parts.map((part) => encodeURIComponent(part)).join("/")}`;

let reportLive = () => {};
export function onLive(report) {
  reportLive = report;
}

// Call work repeatedly until the signal aborts; work returns the ms to wait. Pauses while the page is hidden,
// waits longer after slow responses, and retries while the server is unavailable.
export function keepReading(work, signal) {
  let timer = 0;
  let failures = 0;
  let isBusy = false;
  const turn = async () => {
    clearTimeout(timer);
    if (signal.aborted || isBusy) return;
    if (document.hidden) {
      reportLive("resting");
      return;
    }
    isBusy = true;
    const started = performance.now();
    let wait = 1000;
    try {
      wait = await work();
      failures = 0;
      reportLive("live");
    } catch (err) {
      if (signal.aborted) return;
      if (err instanceof Refused && err.status < 500) {
        reportLive("ended");
        throw err;
      }
      failures += 1;
      wait = Math.min(10000, 500 * 2 ** failures);
      reportLive("away", err.message);
    } finally {
      isBusy = false;
    }
    const elapsed = performance.now() - started;
    if (!signal.aborted) timer = setTimeout(begin, Math.max(wait, 4 * elapsed));
  };
  const begin = () => turn().catch((err) => dispatchEvent(new CustomEvent("refused", { detail: err })));
  document.addEventListener("visibilitychange", begin, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  begin();
  return begin; // to read immediately
}
