// The dialog of the page. Escape closes it and returns the focus.

import { button, make } from "./dom.js";

export function openDialog(title, body, buttons) {
  const dialog = document.getElementById("dialog");
  dialog.replaceChildren(
    make("h2", { id: "dialog-title", textContent: title }), ...body,
    make("div", { className: "bar end" }, ...buttons));
  dialog.showModal();
  (dialog.querySelector("[autofocus]") || dialog.querySelector("button"))?.focus();
  return dialog;
}

// Resolve to true if the user confirms. The safe button has the focus.
export function confirmAction(title, text, yes) {
  return new Promise((resolve) => {
    let answer = false;
    const dialog = openDialog(title, [make("p", { textContent: text })], [
      button("Keep it", () => dialog.close(), { autofocus: true }),
      button(yes, () => { answer = true; dialog.close(); }, { className: "danger" }),
    ]);
    dialog.addEventListener("close", () => resolve(answer), { once: true });
  });
}
