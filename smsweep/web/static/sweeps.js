// The list of sweeps.

import { keepReading, path, read } from "./api.js";
import { ago, badge, command, empty, flat, icon, make, many, number, pairs, progress, spark, sweepState } from "./dom.js";

const sum = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);

export function listPage(main, _, { signal, place }) {
  place("sweeps", [["sweeps", "/"]]);
  const filter = make("input", { type: "search", placeholder: "filter by name, id, method or state", ariaLabel: "filter sweeps" });
  const count = make("span", { className: "soft", role: "status" });
  const list = make("ul", { className: "sweeps" });
  const bar = make("div", { className: "bar" }, filter, count,
    make("a", { href: "/new", className: "button main", "data-key": "n", textContent: "New sweep" }));
  main.append(make("h1", { className: "hidden-text", textContent: "Sweeps" }), bar, list);
  let sweeps = null;
  let folder = "";
  const items = new Map(); // id -> { revision, element }

  function draw() {
    if (!sweeps) return;
    bar.hidden = !sweeps.length;
    if (!sweeps.length) {
      list.replaceChildren(make("li", { className: "none" }, empty("No sweeps yet",
        make("p", {}, "This page shows the sweeps of ", make("code", { textContent: folder }), ". To create a sweep, run there:"),
        command("smsweep run sweep.yaml --parallel 2"),
        make("p", {}, make("a", { href: "/new", textContent: "or create one on this page" })))));
      return;
    }
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const text = (sweep) => `${sweep.id} ${sweep.name} ${sweep.method} ${sweepState(sweep)} ${sweep.metric?.name ?? ""}`.toLowerCase();
    const matches = sweeps.filter((sweep) => words.every((word) => text(sweep).includes(word)));
    const focusedId = document.activeElement?.closest?.("li")?.dataset.id;
    list.replaceChildren(...matches.map((sweep) => {
      const cached = items.get(sweep.id);
      const state = sweepState(sweep);
      if (cached?.revision === sweep.revision && cached?.state === state) return cached.element;
      const element = line(sweep);
      items.set(sweep.id, { revision: sweep.revision, state, element });
      return element;
    }));
    if (focusedId) list.querySelector(`li[data-id="${CSS.escape(focusedId)}"] a`)?.focus({ preventScroll: true });
    const all = many(sweeps.length, "sweep");
    count.textContent = matches.length === sweeps.length ? all : `${matches.length} of ${all}`;
  }

  filter.addEventListener("input", draw);
  keepReading(async () => {
    ({ sweeps, folder } = await read("/api/sweeps", signal));
    draw();
    return sweeps.some((sweep) => sweep.trials.running) ? 2000 : 4000;
  }, signal);
}

function line(sweep) {
  const total = sum(sweep.trials);
  const expected = sweep.expected_trial_count;
  const best = sweep.best;
  const metric = sweep.metric ?? sweep.metrics[0];
  const failed = (sweep.trials.failed ?? 0) + (sweep.trials.crashed ?? 0);
  return make("li", { "data-id": sweep.id },
    make("div", { className: "who" },
      make("a", { href: path("sweeps", sweep.id), "data-stop": "", className: "name", textContent: sweep.name || sweep.id }),
      make("div", { className: "soft line" }, make("code", { textContent: sweep.id }), ` · ${sweep.method} · `, ago(sweep.created_at))),
    make("div", { className: "how" }, badge(sweepState(sweep), true)),
    make("div", { className: "far" }, progress(sweep.trials, expected),
      make("div", { className: "soft line" }, `${total}${expected === null ? "" : ` of ${expected}`} trials`,
        sweep.trials.running ? `, ${sweep.trials.running} running` : "",
        failed ? make("span", { className: "bad" }, `, ${failed} failed`) : "")),
    make("div", { className: "line-of-best" }, spark(sweep.best_so_far, "best so far, trial by trial")),
    make("div", { className: "best" },
      sweep.front.length ? make("div", {}, make("strong", { textContent: many(sweep.front.length, "trial") }), make("span", { className: "soft", textContent: " on the Pareto front" }))
        : best ? make("div", {}, make("strong", { textContent: number(best.objective) }), " ", make("span", { className: "soft", textContent: metric.name }))
        : make("span", { className: "soft", textContent: metric ? `no ${metric.name} yet` : "no metric" }),
      best ? make("div", { className: "soft line" }, pairs(flat(best.params))) : ""));
}
