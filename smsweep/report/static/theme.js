"use strict";
// The light or dark theme: the user's choice, otherwise the system's. Runs before anything is drawn.

const systemDark = matchMedia("(prefers-color-scheme: dark)");

function chosenTheme() {
  try {
    return localStorage.getItem("smsweep-theme");
  } catch {
    return null; // without storage the page does not remember the choice
  }
}

function keepTheme(name) {
  try {
    localStorage.setItem("smsweep-theme", name);
  } catch { /* see above */ }
}

function themeName() {
  const chosen = chosenTheme();
  return ["light", "dark"].includes(chosen) ? chosen : systemDark.matches ? "dark" : "light";
}

document.documentElement.dataset.theme = themeName();
