// The log of a trial, updated as it grows.

import { keepReading, read } from "./api.js";
import { button, make, many } from "./dom.js";

const MAX_LINES = 5000; // on the page; older lines are dropped
const ANSI = /\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x1b\x9b][[\]()#;?]*(?:\d{1,4}(?:;\d{0,4})*)?[0-9A-ORZcf-nqry=><~]/g;

export class LogView {
  constructor(address, signal) {
    Object.assign(this, { address, signal, cursor: "", follows: true, isFirst: true, dropped: 0 });
    this.text = make("pre", { className: "log", tabIndex: 0, role: "log", ariaLabel: "log", ariaLive: "off" });
    this.filter = make("input", { type: "search", placeholder: "filter lines", ariaLabel: "filter lines of the log" });
    this.count = make("span", { className: "soft" });
    this.follow = button("following", () => this.toggle(), { ariaPressed: "true" });
    this.element = make("section", { className: "card wide" },
      make("div", { className: "bar" }, make("h2", { textContent: "Log" }), this.filter, this.count, this.follow), this.text);
    this.filter.addEventListener("input", () => { for (const line of this.text.children) this.applyFilter(line); });
    this.text.addEventListener("scroll", () => {
      const isAtEnd = this.text.scrollHeight - this.text.scrollTop - this.text.clientHeight < 40;
      if (this.follows !== isAtEnd && !this.isMoving) this.setFollow(isAtEnd);
      this.isMoving = false;
    });
  }

  // The log of an ended trial does not grow: there is nothing to follow.
  setEnded(isEnded) {
    this.follow.hidden = isEnded;
    this.element.classList.toggle("ended", isEnded);
    if (isEnded) this.setFollow(false);
    else this.setFollow(true);
  }

  // Start reading; new lines are appended.
  begin() {
    if (this.now) this.now();
    else this.now = keepReading(() => this.turn(), this.signal);
  }

  async turn() {
    let page;
    try {
      page = await read(`${this.address}?cursor=${encodeURIComponent(this.cursor)}`, this.signal);
    } catch (err) {
      if (this.signal.aborted || !err.status) throw err;
      this.count.textContent = err.message; // the log is on another machine, or was deleted
      return 10000;
    }
    if (page.is_new) this.text.replaceChildren();
    if (page.is_new) this.dropped = 0;
    const hasMoved = this.cursor !== page.cursor;
    this.cursor = page.cursor;
    this.add(page.lines, page.note);
    if (hasMoved) return 0; // there may be more lines
    if (page.is_last) return 15000;
    return ["running", "stopping"].includes(page.state) ? 1000 : 3000;
  }

  add(lines, note = "") {
    const some = document.createDocumentFragment();
    for (const line of lines.slice(-MAX_LINES)) {
      const element = make("div", { textContent: `${line.replace(ANSI, "")}\n` });
      this.applyFilter(element);
      some.append(element);
    }
    this.dropped += Math.max(0, lines.length - MAX_LINES);
    this.text.append(some);
    while (this.text.children.length > MAX_LINES) {
      this.text.firstChild.remove();
      this.dropped += 1;
    }
    const n = this.text.children.length;
    this.text.hidden = !n && this.follow.hidden;
    this.count.textContent = n ? `${many(n + this.dropped, "line")}${this.dropped ? `, showing the last ${n}` : ""}` : note || "no output yet";
    if (lines.length && (this.follows || this.isFirst)) {
      this.isFirst = false;
      this.toEnd();
    }
  }

  applyFilter(line) {
    line.hidden = !line.textContent.toLowerCase().includes(this.filter.value.toLowerCase());
  }

  toggle() {
    this.setFollow(!this.follows);
    if (this.follows) this.toEnd();
  }

  setFollow(follows) {
    this.follows = follows;
    this.follow.ariaPressed = String(follows);
    this.follow.textContent = follows ? "following" : "follow";
  }

  toEnd() {
    this.isMoving = true;
    this.text.scrollTop = this.text.scrollHeight;
  }
}
