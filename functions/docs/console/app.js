// The page: which of its two views is shown, the key, the colours, the keyboard, and what goes wrong on the way.

import { api, Refusal } from "./api.js";
import { Board } from "./board.js";
import { Compose } from "./compose.js";
import { at, make, say, write } from "./dom.js";
import { about } from "./format.js";
import { Panel } from "./panel.js";
import { startTheme, switchTheme } from "./theme.js";
import { Workflows } from "./workflow.js";

const RECENT = "sluice.recent"; // ids, sizes and times; never a prompt or an answer
const SINGLE = "sluice.single-keys";
const NOBODY = `${"0".repeat(36)}-0`; // a task that nobody has: asking for it tells whether the key is good
const FIELDS = "input:not([type=checkbox], [type=radio]), textarea, select"; // what letters are typed into
const KEYS = [
  ["n", "new run"], ["/", "find a prompt"], ["j  k  ↑  ↓", "next and previous task"], ["Enter", "open the task"], ["Esc", "close it"],
  ["c", "cancel the open task"], ["Shift C", "cancel the rest of the run"], ["r", "retry the failed ones"], ["d", "download the answers"],
  ["t", "light, dark, as the system"], ["?", "this list"],
];

const board = new Board({ root: at("run"), open: task => go(board.run, task), changed: keep });
const panel = new Panel({ close: () => go(board.run, null), take: told => board.run?.take(told) });
const forms = { root: at("compose"), needKey: askKey, sent: (run, ...rest) => {
  const to = board.sent(run, ...rest);
  if (!run) go(to, null);
  return to;
} };
const compose = new Compose(forms);
const workflows = new Workflows({ ...forms, prompts: compose.form }); // asks for no key: without one it has nothing to choose

// ---- Where we are: the ids are in the fragment, which is sent nowhere, so that a reload or a link comes back to it ----

function place() {
  const fields = new URLSearchParams(location.hash.slice(1));
  return { ids: (fields.get("run") || "").split(",").filter(Boolean), task: fields.get("task") };
}

const hashOf = (run, task) => (run ? `#run=${run.batches.map(({ id }) => id).join(",")}${task ? `&task=${task.id}` : ""}` : "#");

function go(run, task) {
  if (location.hash !== hashOf(run, task)) location.hash = hashOf(run, task);
}

const recent = () => JSON.parse(sessionStorage.getItem(RECENT) || "[]");

/** Remember the batches of a run, shown or not: each is paid for. */
function keep(run) {
  const ids = run.batches.map(({ id }) => id);
  const all = recent();
  const before = all.filter(each => each.ids.every(id => ids.includes(id)));
  const time = before.at(-1)?.at || new Date().toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  const others = all.filter(each => !before.includes(each));
  sessionStorage.setItem(RECENT, JSON.stringify([{ ids, size: run.tasks.length, at: time }, ...others].slice(0, 12)));
  readdress(run);
  if (!at("compose").hidden) compose.showRecent(recent());
}

/** Have the address tell of all batches of the run that is shown; one that joins it adds no step to go back over. */
function readdress(run) {
  const { ids, task } = place();
  if (run === board.run && ids[0] === run.batches[0].id) history.replaceState(null, "", hashOf(run, task && { id: task }));
}

/** Return all batches of the run that begins with these: an address from before the others joined it has not got them. */
const grownFrom = ids => recent().find(each => ids.every((id, place) => id === each.ids[place]))?.ids || ids;

let shown = "";
function show() {
  const { ids, task } = place();
  const isRun = ids.length > 0;
  at("compose").hidden = isRun;
  at("run").hidden = !isRun;
  if (!isRun) {
    board.close();
    panel.hide();
    compose.showRecent(recent());
    document.title = "Sluice console";
    if (shown) workflows.focus();
  } else {
    board.open(grownFrom(ids));
    readdress(board.run);
    const wanted = task && (board.run.find(task) || grown(task));
    if (wanted && panel.task !== wanted) {
      panel.show(wanted);
      board.list.select(wanted); // after the panel has taken its room
      at("panel-title").focus();
    } else if (!task && panel.task) {
      panel.hide();
      at("tasks").focus({ preventScroll: true });
    } else if (!shown.startsWith("#run")) at("run-title").focus();
    if (!api.key) askKey(() => board.run?.hurry());
  }
  shown = location.hash;
}

/** Open a task of a link as soon as its batch has been read. */
function grown(id) {
  const { run } = board;
  const wait = () => {
    if (run !== board.run || place().task !== id) return run.removeEventListener("change", wait);
    if (run.find(id)) {
      run.removeEventListener("change", wait);
      show();
    }
  };
  run.addEventListener("change", wait);
  return null;
}

// ---- The key ----------------------------------------------------------------------------------------------------------

let then = null;
function askKey(next = null) {
  then = next;
  if (!at("key-dialog").open) at("key-dialog").showModal();
}

function showKey() {
  at("show-key").dataset.state = api.key ? "set" : "none";
  write(at("key-state"), api.key ? "Key set" : "Set the key");
  at("forget-key").hidden = !api.key;
}

at("show-key").addEventListener("click", () => askKey());
at("forget-key").addEventListener("click", () => {
  api.key = "";
  at("key").value = "";
  showKey();
  workflows.load();
});
at("key-form").addEventListener("submit", async event => {
  event.preventDefault();
  const key = at("key").value.trim();
  if (!key) return at("key").focus();
  write(at("key-problem"), "");
  try {
    await api.once(`tasks?task_ids=${NOBODY}&fields=status`, { key });
  } catch (error) {
    if (error instanceof Refusal && [401, 403].includes(error.status)) {
      write(at("key-problem"), "The service does not know this key.");
      return at("key").select();
    }
    // Anything else says nothing about the key; whoever needs it will meet the same.
  }
  api.key = key;
  at("key").value = "";
  at("key-dialog").close();
  at("notice").hidden = true;
  showKey();
  say("Key set");
  workflows.load();
  board.run?.hurry();
  const next = then;
  then = null;
  next?.();
});
at("key-dialog").addEventListener("close", () => (at("key").value = ""));

// ---- What goes wrong --------------------------------------------------------------------------------------------------

let ticking = 0;
const told = {
  text: make("span"), left: make("span", { class: "soft number", "aria-hidden": "true" }),
  stop: make("button", { class: "plain", type: "button", click: () => api.stop() }, "Stop"),
  change: make("button", { class: "plain", type: "button", click: () => askKey() }, "Change the key"),
};
at("notice").append(...Object.values(told));
function notice(kind, text, ...shown) {
  clearInterval(ticking);
  at("notice").dataset.kind = kind;
  write(told.text, text);
  for (const each of [told.left, told.stop, told.change]) each.hidden = !shown.includes(each);
  at("notice").hidden = false;
}
api.addEventListener("trouble", ({ detail: { kind, text, until, canStop } }) => {
  notice(kind, text, told.left, canStop && told.stop);
  const tick = () => write(told.left, until > Date.now() ? `Next try in ${about(until - Date.now())}.` : "Trying again …");
  tick();
  ticking = setInterval(tick, 500);
});
api.addEventListener("clear", () => {
  clearInterval(ticking);
  at("notice").hidden = true;
});
api.addEventListener("refused", () => notice("refused", "The service does not accept this key.", told.change));

// ---- Dialogs, colours and the keyboard --------------------------------------------------------------------------------

at("keys").append(...KEYS.map(([key, text]) => make("div", {}, make("dt", {}, ...key.split("  ").map(each => make("kbd", {}, each))), make("dd", {}, text))));
for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
at("show-help").addEventListener("click", () => at("help-dialog").showModal());
at("switch-theme").addEventListener("click", switchTheme);
at("single-keys").checked = localStorage.getItem(SINGLE) !== "off";
at("single-keys").addEventListener("change", event => localStorage.setItem(SINGLE, event.target.checked ? "on" : "off"));

const actions = {
  n: () => (location.hash = "#"),
  "/": () => board.run && at("find").focus(),
  j: () => board.run && board.list.move(1),
  k: () => board.run && board.list.move(-1),
  c: () => panel.cancel(),
  C: () => board.run && board.cancel(),
  r: () => board.run && !at("retry").hidden && board.retry(),
  d: () => board.run && !at("save").hidden && board.save(),
  t: switchTheme,
  "?": () => at("help-dialog").showModal(),
};
addEventListener("keydown", event => {
  // Held down, a key goes on through the tasks, and does nothing else again.
  if (event.repeat && !["j", "k"].includes(event.key)) return;
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") {
    if (event.target.id === "find" && event.target.value) return;
    if (panel.task) panel.close();
    else event.target.blur?.();
    return;
  }
  // A field that is not drawn takes no text: the focus stays in a dialog that was closed until the next frame.
  if (event.target.closest(FIELDS)?.checkVisibility()) return;
  if (event.key === "Enter" && !event.target.closest("a, button, summary") && board.list.selected && board.run) return go(board.run, board.list.selected);
  if (!at("single-keys").checked || !actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
});

startTheme();
showKey();
if (["localhost", "127.0.0.1", "[::1]"].includes(location.hostname)) at("key").placeholder = "local, on make local";
addEventListener("hashchange", show);
show();
workflows.load();
