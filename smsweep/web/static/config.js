// The files of a sweep, its origin, and the command that runs its trials.

import { path, read } from "./api.js";
import { command, copyButton, make } from "./dom.js";

export class Config {
  constructor(panel, model) {
    this.panel = panel;
    this.model = model;
  }

  async update() {
    if (this.isShown) return;
    this.isShown = true;
    const { sweepId, signal, sweep } = this.model;
    const { sweep_yaml: config, job_yaml: job, origin, prior_runs: priors } = await read(path("api", "sweeps", sweepId, "texts"), signal);
    const git = origin.git ?? {};
    const facts = [["git commit", git.commit], ["git branch", git.branch], ["git remote", git.remote],
      ["uncommitted changes", git.is_dirty ? "yes: the source snapshot contains them" : ""], ["source snapshot", sweep.source_hash],
      ["created with", origin.smsweep && `smsweep ${origin.smsweep}, Python ${origin.python}`], ["platform", origin.platform],
      ["project", [sweep.entity, sweep.project].filter(Boolean).join("/")], ["prior runs", priors.join(", ")]];
    this.panel.replaceChildren(
      make("section", { className: "card" }, make("h2", { textContent: "Run trials" }), command(`smsweep agent ${sweepId}`),
        make("p", { className: "soft", textContent: "Several agents can share a sweep, on this and other machines." })),
      text("sweep.yaml", config), job ? text("job.yaml", job) : "",
      make("section", { className: "card" }, make("h2", { textContent: "Origin" }),
        make("dl", { className: "facts" }, ...facts.filter(([, value]) => value).map(([name, value]) =>
          make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: value }))))),
      origin.packages ? make("details", { className: "card" }, make("summary", { textContent: `${origin.packages.length} packages` }),
        make("pre", { textContent: origin.packages.join("\n") })) : "");
  }
}

function text(name, content) {
  return make("section", { className: "card" }, make("div", { className: "bar" }, make("h2", { textContent: name }), copyButton(content)),
    make("pre", { textContent: content, tabIndex: 0 }));
}
