"use strict";
// A table of trials with sort order, filter and pages. Values are inserted as text, never as HTML.

const PAGE = 100; // rows per page
const CONDITION = /^\s*(\S+?)\s*(<=|>=|!=|=|<|>)\s*(.+?)\s*$/;

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function shown(value) {
  if (value === null || value === undefined || value === "") return "";
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(6)));
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

class TrialTable {
  // rows: arrays in the order of columns; the first column is the trial's number.
  // choose: called with the number of a clicked trial. Or link: returns the URL of a trial.
  // pick: called with the numbers of the selected trials. title: returns the text above a column.
  // cell: returns the node for a value, or null for plain text.
  constructor(container, { columns, rows, choose, label, pick = null, link = null, title = (name) => name,
    cell = () => null }) {
    Object.assign(this, { columns, rows, choose, pick, link, title, cell });
    this.order = { column: 0, isDown: false };
    this.page = 0;
    this.only = null;
    this.hidden = new Set();
    this.picked = new Set();
    this.text = make("input", { type: "search", placeholder: "filter: text, or a condition such as params.lr<0.01",
      ariaLabel: `filter ${label}` });
    this.state = make("select", { ariaLabel: "state" }, make("option", { value: "" }, "all states"));
    this.count = make("span", { className: "soft", role: "status" });
    this.back = make("button", { type: "button", textContent: "previous", onclick: () => this.turn(-1) });
    this.next = make("button", { type: "button", textContent: "next", onclick: () => this.turn(1) });
    this.head = make("tr");
    this.body = make("tbody");
    for (const control of [this.text, this.state]) control.addEventListener("input", () => this.filter());
    const table = make("table", { ariaLabel: label }, make("thead", {}, this.head), this.body);
    this.bar = make("div", { className: "bar" }, this.text, this.state, this.count, this.back, this.next);
    container.replaceChildren(this.bar, make("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: label }, table));
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
    const before = this.state.value;
    this.state.replaceChildren(make("option", { value: "" }, "all states"),
      ...states.map((state) => make("option", { value: state }, state)));
    this.state.value = states.includes(before) ? before : "";
    this.filter(this.page);
  }

  showOnly(numbers) {
    this.only = numbers;
    this.filter();
  }

  test() {
    const text = this.text.value.trim();
    const found = text.match(CONDITION);
    const names = [found?.[1], `params.${found?.[1]}`, `metrics.${found?.[1]}`];
    const at = found ? this.columns.findIndex((name) => names.includes(name)) : -1;
    if (at >= 0) {
      const [, , sign, wanted] = found;
      const number = Number(wanted);
      const compare = {
        "<": (a) => a < number, "<=": (a) => a <= number, ">": (a) => a > number, ">=": (a) => a >= number,
        "=": (a) => String(a) === wanted || a === number, "!=": (a) => String(a) !== wanted && a !== number,
      }[sign];
      return (row) => (sign.includes("=") && sign.length === 1) || sign === "!=" ? compare(row[at]) :
        typeof row[at] === "number" && compare(row[at]);
    }
    const low = text.toLowerCase();
    return low ? (row) => row.some((value) => shown(value).toLowerCase().includes(low)) : () => true;
  }

  filter(page = 0) {
    const passes = this.test();
    const state = this.state.value;
    this.found = this.rows.filter((row) => passes(row) && (!state || row[this.stateAt] === state) &&
      (!this.only || this.only.has(row[0])));
    this.sort();
    this.page = Math.min(page, Math.max(0, Math.ceil(this.found.length / PAGE) - 1));
    this.draw();
  }

  sort() {
    const { column, isDown } = this.order;
    const rank = (value) => (typeof value === "number" ? 0 : typeof value === "string" ? 1 : 2);
    this.found.sort((a, b) => {
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

  draw() {
    const visible = this.columns.map((_, i) => i).filter((i) => !this.hidden.has(this.columns[i]));
    const heads = visible.map((i) => {
      const isSorted = i === this.order.column;
      const arrow = isSorted ? (this.order.isDown ? " ▼" : " ▲") : "";
      const button = make("button", { type: "button", textContent: this.title(this.columns[i]) + arrow, title: this.columns[i], onclick: () => {
        this.order = { column: i, isDown: isSorted && !this.order.isDown };
        this.sort();
        this.draw();
      } });
      const isNumber = i > 0 && typeof this.found[0]?.[i] === "number";
      return make("th", { scope: "col", className: isNumber ? "number" : "", ariaSort: isSorted ? (this.order.isDown ? "descending" : "ascending") : "none" }, button);
    });
    if (this.pick) heads.unshift(make("th", { scope: "col" }, make("span", { textContent: "select", className: "hidden-text" })));
    const focus = document.activeElement?.closest?.("th") && [...this.head.children].indexOf(document.activeElement.closest("th"));
    this.head.replaceChildren(...heads);
    if (typeof focus === "number" && focus >= 0) this.head.children[focus]?.querySelector("button")?.focus();
    const start = this.page * PAGE;
    const held = this.focused();
    this.body.replaceChildren(...this.found.slice(start, start + PAGE).map((row) => this.line(row, visible)));
    if (held) this.body.querySelector(`tr[data-number="${held.number}"] ${held.tag}`)?.focus();
    const n = this.found.length;
    this.count.textContent = n ? `${start + 1}–${Math.min(start + PAGE, n)} of ${n}` : "no trials";
    this.back.disabled = this.page === 0;
    this.next.disabled = start + PAGE >= n;
  }

  // Return the trial whose control has the keyboard focus, so that `draw` can restore the focus in the new rows.
  focused() {
    const line = this.body.contains(document.activeElement) && document.activeElement.closest("tr");
    return line ? { number: line.dataset.number, tag: document.activeElement.tagName.toLowerCase() } : null;
  }

  line(row, visible) {
    const cells = visible.map((i) => {
      const text = shown(row[i]);
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
  const rows = columns.map((name, i) => [name, shown(row[i])]).filter(([, text]) => text !== "");
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
