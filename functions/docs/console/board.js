// The view of a run: its totals, charts, task list and actions.

import { cancelRest, retriable, retryFailed, saveAll } from "./actions.js";
import { api, ApiError } from "./api.js";
import { Charts, timeLeft } from "./charts.js";
import { make, say, write } from "./dom.js";
import { about, many, money, short, span, whole } from "./format.js";
import { List, nameOf } from "./list.js";
import { Run } from "./run.js";

const STATES = ["processing", "queued", "completed", "failed", "cancelled"];
const DRAW_INTERVAL = 250; // milliseconds
const CHART_INTERVAL = 1000;

export class Board {
  run = null;
  #filter = "all";
  #drawn = 0;
  #charted = 0;
  #timer = 0;
  #announced = "";
  #background = new Set(); // hidden runs that are still being sent or have a running action

  constructor({ root, open, changed }) {
    this.changed = changed;
    const button = (id, kind, text, click) => make("button", { class: kind, type: "button", id, hidden: true, click }, text);
    const parts = (this.parts = {
      title: make("h1", { id: "run-title", tabindex: "-1" }), about: make("p", { class: "soft ids" }),
      strip: make("div", { class: "strip", role: "progressbar", "aria-label": "Progress of the run", "aria-valuemin": "0", "aria-valuemax": "100" }),
      facts: make("dl", { class: "numbers" }), gone: make("div", { class: "error", role: "alert", hidden: true }),
      filters: make("div", { class: "filters", role: "group", "aria-label": "Show" }),
      find: make("input", { id: "find", type: "search", placeholder: "Find a prompt or name", "aria-label": "Find a prompt or name", autocomplete: "off", spellcheck: "false" }),
      nothing: make("p", { class: "nothing-here soft" }),
      retry: button("retry", "plain", "", () => this.retry()), cancel: button("cancel-run", "plain", "Cancel the rest", () => this.cancel()),
      save: button("save", "plain", "Download", () => this.save()),
    });
    this.numbers = Object.fromEntries(["Ended", "Processing", "Queued", "Failed", "Tokens", "Cost", "Time"].map(name => {
      const value = make("dd", { class: "number" });
      parts.facts.append(make("div", { "data-name": name.toLowerCase() }, make("dt", {}, name), value));
      return [name.toLowerCase(), value];
    }));
    this.pieces = Object.fromEntries(["completed", "failed", "cancelled", "processing"].map(name => [name, make("i", { class: `back-${name}` })]));
    parts.strip.append(...Object.values(this.pieces));
    this.tabs = Object.fromEntries(["all", ...STATES].map(name => {
      const count = make("b", { class: "number" });
      const tab = make("button", { type: "button", "data-filter": name, "aria-pressed": "false", click: () => this.filter(name) }, make("span", {}, name), count);
      parts.filters.append(tab);
      return [name, { tab, count }];
    }));
    this.charts = new Charts();
    this.list = new List({ open });
    parts.find.addEventListener("input", () => {
      this.draw();
      this.#pollSoon();
    });
    for (const moved of ["scroll", "resize"]) addEventListener(moved, () => this.#pollSoon(), { passive: true });
    root.append(
      make("div", { class: "run-head" }, make("div", {}, parts.title, parts.about), make("div", { class: "buttons" }, parts.retry, parts.cancel, parts.save)),
      parts.gone, make("div", { class: "card summary" }, parts.strip, parts.facts), this.charts.element,
      make("div", { class: "card tasks" }, make("div", { class: "tools" }, parts.filters, parts.find), this.list.element, parts.nothing));
    // The shown times advance between two polls.
    setInterval(() => this.run && !this.run.isOver && !document.hidden && this.draw(), 1000);
  }

  /** Show the run with these batches. A known run that begins with them is shown again instead of being loaded. */
  open(ids) {
    const known = [this.run?.isBusy && this.run, ...this.#background].find(run => run && run.batches[0].id === ids[0]);
    if (known) return known === this.run || this.#show(known);
    if (this.run && ids.length === this.run.batches.length && ids.every((id, place) => this.run.batches[place].id === id)) return;
    const run = new Run();
    for (const id of ids) run.add(id);
    this.#begin(run);
  }

  /** Add an accepted batch to a run and show it if it is the first; returns the run, for the next request of the same file. */
  sent(run, answer, prompts, sending) {
    const to = run || new Run();
    to.sending = sending;
    if (answer) to.add(answer.batch_id, answer.task_ids.length, answer.tasks, prompts);
    if (!run) this.#begin(to);
    this.draw();
    return to;
  }

  #begin(run) {
    run.visible = () => this.list.visible();
    run.addEventListener("change", () => this.draw());
    run.addEventListener("added", () => this.changed(run));
    this.#show(run);
    this.changed(run);
  }

  #show(run) {
    this.close();
    this.#background.delete(run);
    this.run = run;
    this.#filter = "all";
    this.#announced = "";
    this.parts.find.value = "";
    run.watch();
    this.draw();
  }

  /** Hide the run. Sending and running actions continue. */
  close() {
    this.run?.stop();
    if (this.run?.isBusy) this.#background.add(this.run);
    this.run = null;
  }

  filter(name) {
    this.#filter = name;
    this.draw();
    this.#pollSoon();
  }

  /** Schedule a redraw; changes in quick succession are drawn once. */
  draw() {
    if (this.#timer) return;
    const wait = Math.max(0, DRAW_INTERVAL - (performance.now() - this.#drawn));
    this.#timer = setTimeout(() => requestAnimationFrame(() => {
      this.#timer = 0;
      this.#drawn = performance.now();
      if (this.run) this.#draw();
    }), wait);
  }

  /** Load the texts of newly visible rows once scrolling has stopped. */
  #pollSoon() {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.run?.pollNow(), 150);
  }

  #draw() {
    const { run, parts } = this;
    const totals = run.totals();
    const now = api.now();
    this.#head(totals, now);
    const query = parts.find.value.trim().toLowerCase();
    const shown = run.tasks.filter(task => (this.#filter === "all" || task.status === this.#filter) && (!query || nameOf(task).toLowerCase().includes(query)));
    // An ended run is no longer polled, so newly visible rows are loaded once.
    if (this.list.show(shown) && run.isOver) this.#pollSoon();
    parts.nothing.hidden = Boolean(shown.length);
    write(parts.nothing, run.tasks.length ? "No matching tasks." : run.missing.length ? "" : "Loading the batch …");
    if (performance.now() - this.#charted > CHART_INTERVAL || run.isOver) {
      this.#charted = performance.now();
      this.charts.show(run, totals, now);
    }
    this.#announce(totals);
  }

  #head(totals, now) {
    const { run, parts, numbers } = this;
    const first = run.batches[0];
    const created = first?.view ? Date.parse(first.view.created_at) : null;
    const left = run.isOver ? null : timeLeft(run, totals, now);
    const ended = run.tasks.reduce((last, task) => Math.max(last, task.ended || 0), 0);
    write(parts.title, totals.size ? many(totals.size, "task") : "Run");
    write(parts.about, `${run.batches.length > 1 ? `${run.batches.length} batches from ` : "Batch "}${first?.id ?? ""}${run.sending ? ` · sending ${whole(run.sending.done)} of ${whole(run.sending.all)}` : ""}`);
    write(numbers.ended, `${short(totals.ended)} / ${short(totals.size)}`);
    write(numbers.processing, short(totals.processing));
    write(numbers.queued, short(totals.queued));
    write(numbers.failed, short(totals.failed));
    write(numbers.tokens, totals.tokens ? short(totals.tokens) : "–");
    write(numbers.cost, totals.hasCost ? money(totals.usd) : "–");
    write(numbers.time, created ? span((run.isOver && ended ? ended : now) - created) + (left ? ` · ${about(left)} left` : "") : "–");
    numbers.failed.classList.toggle("bad", totals.failed > 0);
    for (const [name, piece] of Object.entries(this.pieces)) piece.style.width = `${totals.size ? (totals[name] / totals.size) * 100 : 0}%`;
    parts.strip.setAttribute("aria-valuenow", String(totals.size ? Math.floor((totals.ended / totals.size) * 100) : 0));
    for (const [name, { tab, count }] of Object.entries(this.tabs)) {
      write(count, short(name === "all" ? totals.size : totals[name]));
      tab.setAttribute("aria-pressed", String(name === this.#filter));
      tab.hidden = name !== "all" && !totals[name] && name !== this.#filter;
    }
    const failed = run.batches.reduce((sum, batch) => sum + retriable(batch), 0);
    parts.retry.hidden = !failed;
    write(parts.retry, `Retry ${many(failed, "failed task")}`);
    parts.cancel.hidden = run.isOver || !totals.size;
    parts.save.hidden = !totals.ended;
    write(parts.save, run.reading ? `Downloading ${whole(run.reading)} …` : "Download");
    for (const name of ["retry", "cancel", "save"]) parts[name].disabled = run.actions.has(name);
    parts.gone.hidden = !run.missing.length && !run.message;
    if (!parts.gone.hidden) parts.gone.replaceChildren(
      ...run.missing.map(({ id, error }) => make("p", {}, make("strong", {}, error.code === "expired" ? "This batch has expired. " : "No such batch exists for this key. "), make("code", {}, id))),
      run.message && make("p", {}, run.message));
    document.title = `${totals.size ? `${Math.floor((totals.ended / totals.size) * 100)} % · ` : ""}Sluice console`;
  }

  #announce(totals) {
    if (!totals.size) return;
    const text = this.run.isOver
      ? `The run has ended: ${whole(totals.completed)} completed, ${whole(totals.failed)} failed, ${whole(totals.cancelled)} cancelled.`
      : `${Math.floor((totals.ended / totals.size) * 4) * 25} percent of ${many(totals.size, "task")} ended.`;
    if (text !== this.#announced) say((this.#announced = text));
  }

  retry() {
    return this.#perform("retry", retryFailed);
  }

  cancel() {
    return this.#perform("cancel", cancelRest);
  }

  save() {
    return this.#perform("save", run => saveAll(run, count => {
      run.reading = count;
      this.draw();
    }));
  }

  /** Run an action, once at a time, and show its message under the title. */
  async #perform(name, work) {
    const { run } = this;
    if (run.actions.has(name)) return;
    run.actions.add(name);
    this.draw();
    try {
      run.message = (await work(run)) || "";
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      run.message = error.message;
    } finally {
      run.actions.delete(name);
      this.draw();
    }
    run.pollNow();
  }
}
