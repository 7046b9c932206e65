// The user's notes on a sweep: text that can be edited in place.

import { Refused, change, path } from "./api.js";
import { button, make, notify } from "./dom.js";

export class Notes {
  constructor(panel, model) {
    this.model = model;
    this.body = make("div", { className: "notes-text" });
    this.edit = button("Edit notes", () => this.begin(), { "data-key": "edit-notes" });
    this.element = make("section", { className: "card notes", ariaLabel: "Notes" },
      make("div", { className: "bar" }, make("h2", { textContent: "Notes" }), this.edit), this.body);
    panel.append(this.element);
  }

  update() {
    if (this.isOpen) return;
    const { notes } = this.model.sweep;
    this.edit.textContent = notes ? "Edit notes" : "Add notes";
    this.body.replaceChildren(notes ? make("p", { textContent: notes }) : "");
  }

  begin() {
    this.isOpen = true;
    this.edit.hidden = true;
    const text = make("textarea", { value: this.model.sweep.notes, rows: 5, ariaLabel: "notes on this sweep" });
    const save = button("Save notes", () => this.save(text.value), { className: "main" });
    this.body.replaceChildren(text, make("div", { className: "bar end" }, button("Discard", () => this.end()), save));
    text.addEventListener("keydown", (event) => { if ((event.ctrlKey || event.metaKey) && event.key === "Enter") this.save(text.value); });
    text.focus();
  }

  async save(text) {
    try {
      const { notes } = await change(path("api", "sweeps", this.model.sweepId, "notes"), { text });
      this.model.sweep.notes = notes;
      notify("notes saved");
      this.end();
    } catch (err) {
      notify(err instanceof Refused ? err.problems.join("\n") : err.message, true);
    }
  }

  end() {
    this.isOpen = false;
    this.edit.hidden = false;
    this.update();
    this.edit.focus();
  }
}
