// The theme: light, dark or system. Local storage holds it and the keyboard setting; nothing else outlives the tab.

import { at, say } from "./dom.js";

const KEPT = "sluice.theme";
const NEXT = { system: "light", light: "dark", dark: "system" };
const SIGNS = { system: "◐", light: "☀", dark: "☾" };

function use(theme) {
  document.documentElement.dataset.theme = theme;
  at("switch-theme").textContent = SIGNS[theme];
  at("switch-theme").setAttribute("aria-label", `Theme: ${theme}. Switch to ${NEXT[theme]}`);
}

export function startTheme() {
  const kept = localStorage.getItem(KEPT);
  use(kept in NEXT ? kept : "system");
}

export function switchTheme() {
  const theme = NEXT[document.documentElement.dataset.theme];
  localStorage.setItem(KEPT, theme);
  use(theme);
  say(`Theme: ${theme}`);
}
