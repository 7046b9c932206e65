"use strict";
// Light or dark: as the reader chose, else as the system has it. Runs before anything is drawn.

const systemDark = matchMedia("(prefers-color-scheme: dark)");

function chosenTheme() {
  try {
    return localStorage.getItem("smsweep-theme");
  } catch {
    return null; // a page without storage forgets
  }
}

function keepTheme(name) {
  try {
    localStorage.setItem("smsweep-theme", name);
  } catch { /* likewise */ }
}

function themeName() {
  const chosen = chosenTheme();
  return ["light", "dark"].includes(chosen) ? chosen : systemDark.matches ? "dark" : "light";
}

document.documentElement.dataset.theme = themeName();
