"use strict";
// A table of trials with sort order, filter and pages. Values are inserted as text, never as HTML.

const PAGE = 100; // rows per page
const PART = 34; // rows that are drawn at a time, more than fit on the screen
const PART_MS = 100; // between two parts
const CONDITION = /^\s*(\S+?)\s*(<=|>=|!=|=|<|>)\s*(.*?)\s*$/;
const SMALLEST_PLAIN = 1e-3; // smaller numbers are written with an exponent, as on the axes of figures
const LARGEST_PLAIN = 1e6;

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function formatValue(value) {
  if (value === null || value === undefined || value === "") return "";
  if (typeof value === "number" && !Number.isInteger(value)) return formatNumber(value);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function formatNumber(value) {
  const digits = Number(value.toPrecision(6));
  const size = Math.abs(digits);
  if (!Number.isFinite(digits) || digits === 0 || (size >= SMALLEST_PLAIN && size < LARGEST_PLAIN)) return String(digits);
  return digits.toExponential().replace("e+", "e");
}

// Return the test of a filter text, such as "lr<0.01 and state=failed", and its problem, "" without one.
// The test accepts rows, which are arrays in the order of columns. An unfinished condition accepts all rows.
function trialTest(text, columns) {
  const tests = [];
  const problems = [];
  for (const part of text.split(/\s+and\s+/i)) {
    const low = part.trim().toLowerCase();
    const [, name, sign, operand] = part.match(CONDITION) ?? [];
    const at = name ? columns.findIndex((each) => [name, `params.${name}`, `metrics.${name}`].includes(each)) : -1;
    if (name && at >= 0 && !operand) {
      problems.push(`${name}${sign}: a value is missing, for example ${name}${sign}0.01`);
    } else if (name && at >= 0) {
      const number = Number(operand);
      if (/[<>]/.test(sign) && Number.isNaN(number)) problems.push(`${name}${sign}${operand}: ${operand} is not a number`);
      else tests.push(conditionTest(at, sign, operand, number));
    } else if (low) {
      if (name) problems.push(`no column ${name}; searching for this text`);
      tests.push((row) => row.some((value) => formatValue(value).toLowerCase().includes(low)));
    }
  }
  return { passes: (row) => tests.every((test) => test(row)), problem: problems.join("; ") };
}

function conditionTest(at, sign, operand, number) {
  if (sign === "=") return (row) => String(row[at]) === operand || row[at] === number;
  if (sign === "!=") return (row) => String(row[at]) !== operand && row[at] !== number;
  const compare = { "<": (a) => a < number, "<=": (a) => a <= number, ">": (a) => a > number, ">=": (a) => a >= number }[sign];
  return (row) => typeof row[at] === "number" && compare(row[at]);
}

class TrialTable {
  // rows: arrays in the order of columns; the first column is the trial's number.
  // choose: called with the number of a clicked trial. Or link: returns the URL of a trial.
  // pick: called with the numbers of the selected trials. title: returns the text above a column.
  // cell: returns the node for a value, or null for plain text. usual: columns that are shown at first; null for all.
  // view: { text, state, order, columns } to begin with; changed: called after the reader changed one of them.
  constructor(container, { columns, rows, choose, label, pick = null, link = null, title = (name) => name,
    cell = () => null, usual = null, view = {}, changed = () => {} }) {
    Object.assign(this, { columns, rows, choose, pick, link, title, cell, usual, changed });
    const [sorted, isDown] = [(view.order ?? "").replace(/^-/, ""), (view.order ?? "").startsWith("-")];
    this.order = { column: Math.max(0, columns.indexOf(sorted)), isDown };
    this.page = 0;
    this.only = null;
    this.chosen = view.columns ?? null; // names of the shown columns; null for the usual ones
    this.picked = new Set();
    this.text = make("input", { type: "search", placeholder: "filter: text, or a condition such as params.lr<0.01",
      ariaLabel: `filter ${label}` });
    this.state = make("select", { ariaLabel: "state" }, make("option", { value: "" }, "all states"));
    this.count = make("span", { className: "soft", role: "status" });
    this.back = make("button", { type: "button", textContent: "previous", onclick: () => this.turn(-1) });
    this.next = make("button", { type: "button", textContent: "next", onclick: () => this.turn(1) });
    this.head = make("tr");
    this.body = make("tbody");
    this.problem = make("span", { className: "bad problem", role: "alert" });
    this.text.value = view.text ?? "";
    this.chosenState = view.state ?? "";
    for (const control of [this.text, this.state]) {
      control.addEventListener("input", () => { this.chosenState = this.state.value; this.filter(); this.changed(); });
    }
    this.picker = make("details", { className: "picker" });
    this.picker.addEventListener("toggle", () => this.drawPicker());
    const table = make("table", { ariaLabel: label }, make("thead", {}, this.head), this.body);
    this.bar = make("div", { className: "bar" }, this.text, this.state, this.count, this.back, this.next, this.picker, this.problem);
    container.replaceChildren(this.bar, make("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: label }, table));
    this.drawPicker();
    this.update(columns, rows);
  }

  update(columns, rows) {
    this.columns = columns;
    this.rows = rows;
    this.order.column = Math.min(this.order.column, columns.length - 1);
    const at = columns.indexOf("state");
    this.stateAt = at;
    this.state.hidden = at < 0;
    const states = [...new Set(rows.map((row) => row[at]))].sort();
    const before = this.chosenState;
    this.state.replaceChildren(make("option", { value: "" }, "all states"),
      ...states.map((state) => make("option", { value: state }, state)));
    this.state.value = states.includes(before) ? before : "";
    this.filter(this.page);
  }

  isFiltered() {
    return Boolean(this.text.value.trim() || this.state.value);
  }

  // Return the numbers of the trials that pass the filter, also those that an axis of a figure excludes.
  passed() {
    const { passes } = trialTest(this.text.value, this.columns);
    const state = this.state.value;
    return this.rows.filter((row) => passes(row) && (!state || row[this.stateAt] === state)).map((row) => row[0]);
  }

  showOnly(numbers) {
    this.only = numbers;
    this.filter();
  }

  filter(page = 0) {
    const { passes, problem } = trialTest(this.text.value, this.columns);
    const state = this.state.value;
    this.problem.textContent = problem;
    this.text.setAttribute("aria-invalid", String(Boolean(problem)));
    this.matches = this.rows.filter((row) => passes(row) && (!state || row[this.stateAt] === state) &&
      (!this.only || this.only.has(row[0])));
    this.sort();
    this.page = Math.min(page, Math.max(0, Math.ceil(this.matches.length / PAGE) - 1));
    this.draw();
  }

  sort() {
    const { column, isDown } = this.order;
    const rank = (value) => (typeof value === "number" ? 0 : typeof value === "string" ? 1 : 2);
    this.matches.sort((a, b) => {
      const [x, y] = [a[column] ?? null, b[column] ?? null];
      if (x === null || y === null) return (x === null) - (y === null); // empty values come last in both orders
      const by = rank(x) - rank(y) || (x < y ? -1 : x > y ? 1 : 0);
      return (isDown ? -by : by) || a[0] - b[0];
    });
  }

  turn(by) {
    this.page += by;
    this.draw();
  }

  // What a link to this table needs; "" and null for what is as usual.
  view() {
    const { column, isDown } = this.order;
    const order = column || isDown ? `${isDown ? "-" : ""}${this.columns[column]}` : "";
    return { text: this.text.value.trim(), state: this.state.value, order, columns: this.chosen };
  }

  isVisible(name) {
    const names = this.chosen ?? this.usual;
    return !names || names.includes(name) || name === this.columns[0];
  }

  show(columns) {
    this.chosen = columns;
    this.draw();
    this.drawPicker();
    this.changed();
  }

  drawPicker() {
    if (!this.picker.open) {
      this.picker.replaceChildren(make("summary", { textContent: "columns" }));
      return;
    }
    const boxes = this.columns.slice(1).map((name) => {
      const box = make("input", { type: "checkbox", checked: this.isVisible(name) });
      box.addEventListener("change", () => {
        this.chosen = this.columns.slice(1).filter((each) => (each === name ? box.checked : this.isVisible(each)));
        this.draw();
        this.changed();
      });
      return make("label", {}, box, ` ${this.title(name)}`);
    });
    const button = (text, columns) => make("button", { type: "button", textContent: text, onclick: () => this.show(columns) });
    this.picker.replaceChildren(this.picker.querySelector("summary") ?? make("summary", { textContent: "columns" }),
      make("div", { className: "choices" }, make("div", { className: "bar" }, button("usual", null), button("all", this.columns.slice(1)), button("none", [])), ...boxes));
  }

  draw() {
    const visible = this.columns.map((_, i) => i).filter((i) => this.isVisible(this.columns[i]));
    const heads = visible.map((i) => {
      const isSorted = i === this.order.column;
      const arrow = isSorted ? (this.order.isDown ? " ▼" : " ▲") : "";
      const button = make("button", { type: "button", textContent: this.title(this.columns[i]) + arrow, title: this.columns[i], onclick: () => {
        this.order = { column: i, isDown: isSorted && !this.order.isDown };
        this.sort();
        this.draw();
        this.changed();
      } });
      const isNumber = i > 0 && typeof this.matches[0]?.[i] === "number";
      return make("th", { scope: "col", className: isNumber ? "number" : "", ariaSort: isSorted ? (this.order.isDown ? "descending" : "ascending") : "none" }, button);
    });
    if (this.pick) heads.unshift(make("th", { scope: "col" }, make("span", { textContent: "select", className: "hidden-text" })));
    const focus = document.activeElement?.closest?.("th") && [...this.head.children].indexOf(document.activeElement.closest("th"));
    this.head.replaceChildren(...heads);
    if (typeof focus === "number" && focus >= 0) this.head.children[focus]?.querySelector("button")?.focus();
    const start = this.page * PAGE;
    const focused = this.focused();
    this.body.replaceChildren();
    this.append(this.matches.slice(start, start + PAGE), visible, focused ? PAGE : PART);
    if (focused) this.body.querySelector(`tr[data-number="${focused.number}"] ${focused.tag}`)?.focus();
    const n = this.matches.length;
    this.count.textContent = n ? `${start + 1}–${Math.min(start + PAGE, n)} of ${n}` : "no trials";
    this.back.disabled = this.page === 0;
    this.next.disabled = start + PAGE >= n;
  }

  // Append rows, each part in a task of its own, so that the page stays responsive.
  append(rows, visible, n) {
    clearTimeout(this.rest);
    this.body.append(...rows.slice(0, n).map((row) => this.line(row, visible)));
    if (rows.length > n) this.rest = setTimeout(() => this.append(rows.slice(n), visible, PART), PART_MS);
  }

  // Return the trial whose control has the keyboard focus, so that `draw` can restore the focus in the new rows.
  focused() {
    const line = this.body.contains(document.activeElement) && document.activeElement.closest("tr");
    return line ? { number: line.dataset.number, tag: document.activeElement.tagName.toLowerCase() } : null;
  }

  line(row, visible) {
    const cells = visible.map((i) => {
      const text = formatValue(row[i]);
      if (i === 0 && this.link) return make("td", {}, make("a", { href: this.link(row[0]), textContent: text }));
      if (i === 0) {
        return make("td", {}, make("button", { type: "button", textContent: text, onclick: () => this.choose(row[0]) }));
      }
      const node = this.cell(this.columns[i], row[i], row);
      if (node) return make("td", { className: typeof row[i] === "number" ? "number" : "" }, node);
      return make("td", { textContent: text, title: text, className: typeof row[i] === "number" ? "number" : "" });
    });
    if (this.pick) {
      const box = make("input", { type: "checkbox", checked: this.picked.has(row[0]), ariaLabel: `select trial ${row[0]}` });
      box.addEventListener("change", () => {
        if (box.checked) this.picked.add(row[0]);
        else this.picked.delete(row[0]);
        this.pick(this.picked);
      });
      cells.unshift(make("td", {}, box));
    }
    return make("tr", { "data-state": row[this.stateAt] ?? "", "data-number": row[0] }, ...cells);
  }
}

// Show all fields of a trial in the page's dialog. Escape closes the dialog.
function showTrial(dialog, columns, row, ...more) {
  const rows = columns.map((name, i) => [name, formatValue(row[i])]).filter(([, text]) => text !== "");
  const body = make("tbody", {}, ...rows.map(([name, text]) =>
    make("tr", {}, make("th", { scope: "row", textContent: name }), make("td", { textContent: text }))));
  const close = make("button", { type: "button", textContent: "close", onclick: () => dialog.close() });
  dialog.replaceChildren(
    make("div", { className: "bar" }, make("h2", { textContent: `trial ${row[0]}`, style: "flex:1;margin:0" }), close),
    ...more, make("table", {}, body));
  dialog.showModal();
}

function copyButton(text) {
  const button = make("button", { type: "button", textContent: "copy" });
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "copied";
    } catch {
      button.textContent = "copy failed; select the text";
    }
  });
  return button;
}
