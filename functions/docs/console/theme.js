// Light, dark, or as the system has it; the choice is kept, and is all that is kept beyond the tab besides the keyboard's.

import { at, say } from "./dom.js";

const KEPT = "sluice.theme";
const NEXT = { system: "light", light: "dark", dark: "system" };
const SIGNS = { system: "◐", light: "☀", dark: "☾" };

function use(theme) {
  document.documentElement.dataset.theme = theme;
  at("switch-theme").textContent = SIGNS[theme];
  at("switch-theme").setAttribute("aria-label", `Colours: ${theme}. Switch to ${NEXT[theme]}`);
}

export function startTheme() {
  const kept = localStorage.getItem(KEPT);
  use(kept in NEXT ? kept : "system");
}

export function switchTheme() {
  const theme = NEXT[document.documentElement.dataset.theme];
  localStorage.setItem(KEPT, theme);
  use(theme);
  say(`Colours: ${theme}`);
}
