// The files of a sweep and their revisions, its origin, and the command that runs its trials.

import { Refused, change, path, read } from "./api.js";
import { ago, button, command, copyButton, make, notify, refill } from "./dom.js";

export class Config {
  constructor(panel, model) {
    this.panel = panel;
    this.model = model;
  }

  async update() {
    const { sweepId, signal, sweep } = this.model;
    if (this.revision === sweep.revisions.length) return;
    this.revision = sweep.revisions.length;
    const { sweep_yaml: config, job_yaml: job, origin, prior_runs: priors } = await read(path("api", "sweeps", sweepId, "texts"), signal);
    const git = origin.git ?? {};
    const facts = [["git commit", git.commit], ["git branch", git.branch], ["git remote", git.remote],
      ["uncommitted changes", git.is_dirty ? "yes: the source snapshot contains them" : ""], ["source snapshot", sweep.source_hash],
      ["created with", origin.smsweep && `smsweep ${origin.smsweep}, Python ${origin.python}`], ["platform", origin.platform],
      ["project", [sweep.entity, sweep.project].filter(Boolean).join("/")], ["prior runs", priors.join(", ")]];
    refill(this.panel,
      make("section", { className: "card" }, make("h2", { textContent: "Run trials" }), command(`smsweep agent ${sweepId}`),
        make("p", { className: "soft", textContent: "Several agents can share a sweep, on this and other machines." })),
      this.changes(sweep.revisions), text("sweep.yaml", config), job ? text("job.yaml", job) : "",
      make("section", { className: "card" }, make("h2", { textContent: "Origin" }),
        make("dl", { className: "facts" }, ...facts.filter(([, value]) => value).map(([name, value]) =>
          make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: value }))))),
      origin.packages ? make("details", { className: "card" }, make("summary", { textContent: `${origin.packages.length} packages` }),
        make("pre", { textContent: origin.packages.join("\n") })) : "");
  }

  // The revisions of the config, and a form that makes the next one.
  changes(revisions) {
    const lines = make("textarea", { rows: 2, placeholder: "run_cap=200", id: "config-changes", ariaLabel: "changes of the config", value: this.lines ?? "",
      oninput: () => { this.lines = lines.value; } });
    const form = make("form", {}, lines, make("div", { className: "bar end" }, button("Change config", () => this.set(lines.value), { className: "main" })));
    form.addEventListener("submit", (event) => { event.preventDefault(); this.set(lines.value); });
    return make("section", { className: "card", ariaLabel: "Changes" }, make("h2", { textContent: "Changes" }),
      make("p", { className: "soft", textContent: "One change per line, for example parameters.lr.max=0.1, budget.usd=50 or early_terminate=null. Running agents apply it at their next poll." }),
      form, ...revisions.slice(1).reverse().map(({ number, changes, changed_by: user, changed_at: time }) => make("div", { className: "bar" },
        make("span", { textContent: `revision ${number}` }), make("code", { textContent: Object.entries(changes).map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`).join(", ") }),
        make("span", { className: "soft" }, `${user}, `, ago(time)))));
  }

  async set(lines) {
    const changes = lines.split("\n").map((line) => line.trim()).filter(Boolean);
    try {
      const { revision, is_changed: isChanged, hint } = await change(path("api", "sweeps", this.model.sweepId, "set"), { changes });
      this.lines = "";
      if (!isChanged) return notify(`nothing changed: revision ${revision.number} has these values already`);
      notify([`the config is revision ${revision.number}`, hint].filter(Boolean).join("; "));
      await this.model.read();
    } catch (err) {
      notify(err instanceof Refused ? err.problems.join("\n") : err.message, true);
    }
  }
}

function text(name, content) {
  return make("section", { className: "card" }, make("div", { className: "bar" }, make("h2", { textContent: name }), copyButton(content)),
    make("pre", { textContent: content, tabIndex: 0 }));
}
