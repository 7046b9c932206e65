// Talk with the server: read, change, and read again for as long as somebody looks.

// Signing in left this page's key behind the #. A browser sends the cookie to other ports of this machine, too;
// what is in storage, it keeps for this page alone.
const STORED = "smsweep-page-key";
const arrived = location.hash.match(/^#key=(\w+)$/)?.[1];
if (arrived) history.replaceState(null, "", location.pathname + location.search);
const pageKey = arrived ?? stored();
if (arrived) keep(arrived);

function stored() {
  try {
    return localStorage.getItem(STORED) ?? "";
  } catch {
    return ""; // a page without storage asks for the token at each load
  }
}

function keep(key) {
  try {
    localStorage.setItem(STORED, key);
  } catch { /* likewise */ }
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
    location.assign("/?token="); // the token is another now: to the page that asks for it
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

export const path = (...parts) => `/${parts.map((part) => encodeURIComponent(part)).join("/")}`;

let tellLive = () => {};
export function onLive(tell) {
  tellLive = tell;
}

// Calls work again and again until the signal ends it; work returns how many ms to wait. It rests while nobody
// sees the page, waits longer where answers take long, and goes on by itself after the server was away.
export function keepReading(work, signal) {
  let timer = 0;
  let failures = 0;
  let isBusy = false;
  const turn = async () => {
    clearTimeout(timer);
    if (signal.aborted || isBusy) return;
    if (document.hidden) {
      tellLive("resting");
      return;
    }
    isBusy = true;
    const started = performance.now();
    let wait = 1000;
    try {
      wait = await work();
      failures = 0;
      tellLive("live");
    } catch (err) {
      if (signal.aborted) return;
      if (err instanceof Refused && err.status < 500) {
        tellLive("ended");
        throw err;
      }
      failures += 1;
      wait = Math.min(10000, 500 * 2 ** failures);
      tellLive("away", err.message);
    } finally {
      isBusy = false;
    }
    const took = performance.now() - started;
    if (!signal.aborted) timer = setTimeout(begin, Math.max(wait, 4 * took));
  };
  const begin = () => turn().catch((err) => dispatchEvent(new CustomEvent("refused", { detail: err })));
  document.addEventListener("visibilitychange", begin, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  begin();
  return begin; // to read at once
}
