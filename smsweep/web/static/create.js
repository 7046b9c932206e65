// The form for a new sweep, checked while you type.

import { costText, startAgent } from "./agents.js";
import { Refused, change, path, read } from "./api.js";
import { confirmAction } from "./dialog.js";
import { button, flat, make, many, number, notify } from "./dom.js";
import { onKey } from "./keys.js";
import { table } from "./overview.js";

const DEBOUNCE_MS = 600; // after the last key press

export function createPage(main, _, { signal, place, go }) {
  const pageQuery = new URLSearchParams(location.search);
  const labels = pageQuery.getAll("t");
  place("new sweep", [["sweeps", "/"], ["new sweep", ""]]);
  const field = (tag, id, text, attributes = {}, hint = "") => {
    const input = make(tag, { id, spellcheck: false, ...attributes });
    if (hint) input.setAttribute("aria-describedby", `${id}-hint`);
    return [input, make("div", { className: "field" }, make("label", { htmlFor: id, textContent: text }), input,
      hint ? make("p", { id: `${id}-hint`, className: "soft hint-text", textContent: hint }) : "")];
  };
  const [name, nameField] = field("input", "name", "Name", { autocomplete: "off" }, "Shown in lists; leave empty to use the name in the YAML.");
  const [config, configField] = field("textarea", "config", "sweep.yaml", { rows: 18, className: "code" });
  const [job, jobField] = field("textarea", "job", "job.yaml", { rows: 5, className: "code" }, "Settings of the training jobs. Optional on your own machine.");
  const [priors, priorsField] = field("textarea", "priors", "Prior runs", { rows: 3, className: "code" },
    "Trials (ID/N) or whole sweeps (ID), one per line. The search uses their results; a grid skips their cells.");
  const like = make("input", { type: "checkbox", id: "like", checked: true });
  const likeText = make("span");
  const likeField = make("p", { hidden: true }, make("label", { htmlFor: "like" }, like, " ", likeText));
  const narrow = make("input", { type: "checkbox", id: "narrow", checked: pageQuery.get("narrow") === "1" });
  const narrowField = make("p", { hidden: !labels.length }, make("label", { htmlFor: "narrow" }, narrow, " limit ranges to the values of the prior runs"));
  const startBox = make("input", { type: "checkbox", id: "start" });
  const parallel = make("input", { type: "number", min: 1, max: 256, value: "1", ariaLabel: "trials at the same time" });
  const backend = make("select", { ariaLabel: "backend" });
  const startField = make("p", { className: "bar" }, make("label", { htmlFor: "start" }, startBox, " start an agent on this machine"), make("label", {}, "parallel ", parallel),
    make("label", {}, "backend ", backend));
  let costly = new Set();
  const verdict = make("div", { className: "verdict", role: "status" });
  const create = button("Create sweep", () => submit(), { className: "main" });
  const form = make("div", { className: "sides even" },
    make("div", {}, make("section", { className: "card" }, configField),
      make("section", { className: "card" }, make("h2", { textContent: "Check" }), verdict)),
    make("section", { className: "card" }, nameField, priorsField, narrowField, likeField, jobField, startField, make("div", { className: "bar end" }, create)));
  main.append(make("header", { className: "head" }, make("div", { className: "title" }, make("h1", { textContent: "New sweep" }))), form);
  let source = "";
  let timer = 0;
  let turn = 0;

  const document_ = () => ({ sweep_yaml: config.value, job_yaml: job.value, name: name.value.trim(), like: like.checked ? source : "",
    prior_runs: priors.value.split(/[\s,]+/).filter(Boolean) });

  async function fill() {
    const query = labels.map((label) => `t=${encodeURIComponent(label)}`).join("&");
    const draft = await read(`/api/draft?${query}${narrow.checked ? "&narrow=1" : ""}`, signal);
    config.value = draft.sweep_yaml;
    job.value = draft.job_yaml;
    name.value ||= draft.name ? `${draft.name}, again` : "";
    priors.value = draft.prior_runs.join("\n");
    source = draft.like;
    costly = new Set(draft.backends.filter((each) => each.costs_money).map((each) => each.name));
    backend.replaceChildren(...draft.backends.map((each) => make("option", { value: each.name }, each.costs_money ? `${each.name} (costs money)` : each.name)));
    backend.value = draft.backend;
    likeField.hidden = !draft.source;
    likeText.textContent = `use the source snapshot of sweep ${draft.like} instead of the current files in this folder`;
    check();
  }

  async function check() {
    const mine = ++turn;
    try {
      const result = await change("/api/check", document_());
      if (mine === turn) showVerdict(result);
    } catch (err) {
      if (mine === turn) showVerdict({ problems: err instanceof Refused ? err.problems : [err.message], warnings: [], trials: [] });
    }
  }

  function showVerdict({ problems, warnings, trials, expected_trial_count: expected }) {
    create.disabled = Boolean(problems.length);
    const list = (items, className, mark) => (items.length ? [make("ul", { className: `reasons ${className}` },
      ...items.map((item) => make("li", {}, make("strong", { textContent: mark }), " ", linkToLine(item))))] : []);
    const columns = [...new Set(trials.flatMap((params) => Object.keys(flat(params))))];
    verdict.replaceChildren(
      make("p", { className: problems.length ? "bad strong" : "good strong", textContent: problems.length
        ? `${many(problems.length, "problem")} to fix` : `✓ valid${expected === null ? ", but unlimited; set run_cap to limit it" : `: ${expected} trials`}` }),
      ...list(problems, "bad", "✕"), ...list(warnings, "", "!"),
      ...(trials.length ? [make("p", { className: "soft", textContent: "Example trials" }),
        table(columns, trials.map((params) => make("tr", {}, ...columns.map((column) => make("td", { textContent: number(flat(params)[column]) })))))] : []));
  }

  // A problem with a line number links to that line.
  function linkToLine(problem) {
    const [, file, line] = problem.match(/^(sweep|job)\.yaml:(\d+)/) ?? [];
    if (!file) return problem;
    const lead = button(`${file}.yaml:${line}`, () => {
      const input = file === "sweep" ? config : job;
      const lines = input.value.split("\n");
      const start = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
      input.focus();
      input.setSelectionRange(start, start + (lines[line - 1] ?? "").length);
    }, { className: "lead" });
    const all = make("span");
    all.append(lead, problem.slice(`${file}.yaml:${line}`.length));
    return all;
  }

  async function submit() {
    const isCostly = startBox.checked && costly.has(backend.value);
    if (isCostly && !(await confirmAction(`Start jobs on ${backend.value}?`, costText(null, backend.value, parallel.value), "Create, start and pay"))) return;
    create.disabled = true;
    try {
      const sweep = await change("/api/create", document_());
      notify(`sweep ${sweep.id} is created${startBox.checked ? "" : "; start an agent to run its trials"}`);
      if (startBox.checked) await startAgent(sweep.id, backend.value, Number(parallel.value), isCostly);
      go(path("sweeps", sweep.id));
    } catch (err) {
      showVerdict({ problems: err instanceof Refused ? err.problems : [err.message], warnings: [], trials: [] });
      verdict.scrollIntoView({ block: "nearest" });
      create.disabled = false;
    }
  }

  for (const input of [config, job, priors, name, like]) {
    input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(check, DEBOUNCE_MS); }, { signal });
  }
  config.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "Enter" && !create.disabled) submit();
  });
  narrow.addEventListener("change", fill);
  signal.addEventListener("abort", () => { clearTimeout(timer); turn += 1; });
  onKey("e", "edit the YAML", () => config.focus(), signal);
  fill().catch((err) => { if (!signal.aborted) showVerdict({ problems: [err.message], warnings: [], trials: [] }); });
}

