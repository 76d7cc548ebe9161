// The entry point: routing between the two views, the API key, the theme, the keyboard shortcuts and error notices.

import { api, ApiError } from "./api.js";
import { Board } from "./board.js";
import { Compose } from "./compose.js";
import { at, make, say, write } from "./dom.js";
import { about } from "./format.js";
import { Panel } from "./panel.js";
import { startTheme, switchTheme } from "./theme.js";
import { Workflows } from "./workflow.js";

const RECENT = "sluice.recent"; // IDs, sizes and times; never a prompt or a result
const SINGLE = "sluice.single-keys";
const UNKNOWN_TASK = `${"0".repeat(36)}-0`; // a task that does not exist: requesting it validates the key
const TEXT_FIELDS = "input:not([type=checkbox], [type=radio]), textarea, select"; // fields that accept typed text
const KEYS = [
  ["n", "new run"], ["/", "find a prompt"], ["j  k  ↑  ↓", "next and previous task"], ["Enter", "open the task"], ["Esc", "close the task"],
  ["c", "cancel the open task"], ["Shift C", "cancel the rest of the run"], ["r", "retry the failed tasks"], ["d", "download the results"],
  ["t", "theme: light, dark, system"], ["?", "show this list"],
];

const board = new Board({ root: at("run"), open: task => navigate(board.run, task), changed: saveRecent });
const panel = new Panel({ close: () => navigate(board.run, null), apply: state => board.run?.apply(state) });
const forms = { root: at("compose"), needKey: openKeyDialog, sent: (run, ...rest) => {
  const to = board.sent(run, ...rest);
  if (!run) navigate(to, null);
  return to;
} };
const compose = new Compose(forms);
const workflows = new Workflows({ ...forms, prompts: compose.form }); // needs no key prompt: without a key there is no workflow to choose

// ---- Routing: the IDs are in the URL fragment, which is never sent, so that reloads and links restore the view ----------

function route() {
  const fields = new URLSearchParams(location.hash.slice(1));
  return { ids: (fields.get("run") || "").split(",").filter(Boolean), task: fields.get("task") };
}

const hashOf = (run, task) => (run ? `#run=${run.batches.map(({ id }) => id).join(",")}${task ? `&task=${task.id}` : ""}` : "#");

function navigate(run, task) {
  if (location.hash !== hashOf(run, task)) location.hash = hashOf(run, task);
}

const recent = () => JSON.parse(sessionStorage.getItem(RECENT) || "[]");

/** Store the batches of a run in the list of recent runs, even if another run is shown. */
function saveRecent(run) {
  const ids = run.batches.map(({ id }) => id);
  const all = recent();
  const before = all.filter(each => each.ids.every(id => ids.includes(id)));
  const time = before.at(-1)?.at || new Date().toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  const others = all.filter(each => !before.includes(each));
  sessionStorage.setItem(RECENT, JSON.stringify([{ ids, size: run.tasks.length, at: time }, ...others].slice(0, 12)));
  updateUrl(run);
  if (!at("compose").hidden) compose.showRecent(recent());
}

/** Put all batches of the shown run into the URL, without adding a history entry. */
function updateUrl(run) {
  const { ids, task } = route();
  if (run === board.run && ids[0] === run.batches[0].id) history.replaceState(null, "", hashOf(run, task && { id: task }));
}

/** Return all batches of the run that begins with these IDs: an older URL lacks the batches that were added later. */
const allBatchesOf = ids => recent().find(each => ids.every((id, index) => id === each.ids[index]))?.ids || ids;

let shown = "";
function show() {
  const { ids, task } = route();
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
    board.open(allBatchesOf(ids));
    updateUrl(board.run);
    const wanted = task && (board.run.find(task) || openWhenLoaded(task));
    if (wanted && panel.task !== wanted) {
      panel.show(wanted);
      board.list.select(wanted); // after the panel has changed the layout
      at("panel-title").focus();
    } else if (!task && panel.task) {
      panel.hide();
      at("tasks").focus({ preventScroll: true });
    } else if (!shown.startsWith("#run")) at("run-title").focus();
    if (!api.key) openKeyDialog(() => board.run?.pollNow());
  }
  shown = location.hash;
}

/** Open a linked task as soon as its batch has been loaded. */
function openWhenLoaded(id) {
  const { run } = board;
  const wait = () => {
    if (run !== board.run || route().task !== id) return run.removeEventListener("change", wait);
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
function openKeyDialog(next = null) {
  then = next;
  if (!at("key-dialog").open) at("key-dialog").showModal();
}

function showKey() {
  at("show-key").dataset.state = api.key ? "set" : "none";
  write(at("key-state"), api.key ? "Key set" : "Set the key");
  at("forget-key").hidden = !api.key;
}

at("show-key").addEventListener("click", () => openKeyDialog());
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
    await api.once(`tasks?task_ids=${UNKNOWN_TASK}&fields=status`, { key });
  } catch (error) {
    if (error instanceof ApiError && [401, 403].includes(error.status)) {
      write(at("key-problem"), "The service does not accept this key.");
      return at("key").select();
    }
    // Other errors don't concern the key; the next request reports them.
  }
  api.key = key;
  at("key").value = "";
  at("key-dialog").close();
  at("notice").hidden = true;
  showKey();
  say("Key set");
  workflows.load();
  board.run?.pollNow();
  const next = then;
  then = null;
  next?.();
});
at("key-dialog").addEventListener("close", () => (at("key").value = ""));

// ---- Error notices ----------------------------------------------------------------------------------------------------

let countdown = 0;
const noticeParts = {
  text: make("span"), left: make("span", { class: "soft number", "aria-hidden": "true" }),
  stop: make("button", { class: "plain", type: "button", click: () => api.stop() }, "Stop"),
  change: make("button", { class: "plain", type: "button", click: () => openKeyDialog() }, "Change the key"),
};
at("notice").append(...Object.values(noticeParts));
function notice(kind, text, ...shown) {
  clearInterval(countdown);
  at("notice").dataset.kind = kind;
  write(noticeParts.text, text);
  for (const each of [noticeParts.left, noticeParts.stop, noticeParts.change]) each.hidden = !shown.includes(each);
  at("notice").hidden = false;
}
api.addEventListener("trouble", ({ detail: { kind, text, until, canStop } }) => {
  notice(kind, text, noticeParts.left, canStop && noticeParts.stop);
  const tick = () => write(noticeParts.left, until > Date.now() ? `Retrying in ${about(until - Date.now())}.` : "Retrying …");
  tick();
  countdown = setInterval(tick, 500);
});
api.addEventListener("clear", () => {
  clearInterval(countdown);
  at("notice").hidden = true;
});
api.addEventListener("refused", () => notice("refused", "The service rejected the key of this tab.", noticeParts.change));

// ---- Dialogs, theme and keyboard shortcuts ----------------------------------------------------------------------------

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
  // A held key repeats only for moving through the tasks.
  if (event.repeat && !["j", "k"].includes(event.key)) return;
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") {
    if (event.target.id === "find" && event.target.value) return;
    if (panel.task) panel.close();
    else event.target.blur?.();
    return;
  }
  // An invisible field takes no text: focus stays in a closed dialog until the next frame.
  if (event.target.closest(TEXT_FIELDS)?.checkVisibility()) return;
  if (event.key === "Enter" && !event.target.closest("a, button, summary") && board.list.selected && board.run) return navigate(board.run, board.list.selected);
  if (!at("single-keys").checked || !actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
});

startTheme();
showKey();
if (["localhost", "127.0.0.1", "[::1]"].includes(location.hostname)) at("key").placeholder = "local (with make local)";
addEventListener("hashchange", show);
show();
workflows.load();
