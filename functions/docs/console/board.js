// A run on the screen: what it stands at, its charts, its tasks, and what can be done with it.

import { cancelRest, retriable, retryFailed, saveAll } from "./actions.js";
import { api, Refusal } from "./api.js";
import { Charts, timeLeft } from "./charts.js";
import { make, say, write } from "./dom.js";
import { about, many, money, short, span, whole } from "./format.js";
import { List, nameOf } from "./list.js";
import { Run } from "./run.js";

const STATES = ["processing", "queued", "completed", "failed", "cancelled"];
const DRAW_EVERY = 250; // milliseconds
const CHART_EVERY = 1000;

export class Board {
  run = null;
  #filter = "all";
  #drawn = 0;
  #charted = 0;
  #due = 0;
  #said = "";
  #left = new Set(); // runs that were left while more of them was sent or done

  constructor({ root, open, changed }) {
    this.changed = changed;
    const button = (id, kind, text, click) => make("button", { class: kind, type: "button", id, hidden: true, click }, text);
    const parts = (this.parts = {
      title: make("h1", { id: "run-title", tabindex: "-1" }), about: make("p", { class: "soft ids" }),
      strip: make("div", { class: "strip", role: "progressbar", "aria-label": "The whole run", "aria-valuemin": "0", "aria-valuemax": "100" }),
      facts: make("dl", { class: "numbers" }), gone: make("div", { class: "error", role: "alert", hidden: true }),
      filters: make("div", { class: "filters", role: "group", "aria-label": "Show" }),
      find: make("input", { id: "find", type: "search", placeholder: "Find a prompt or name", "aria-label": "Find a prompt or name", autocomplete: "off", spellcheck: "false" }),
      nothing: make("p", { class: "nothing-here soft" }),
      retry: button("retry", "plain", "", () => this.retry()), cancel: button("cancel-run", "plain", "Cancel the rest", () => this.cancel()),
      save: button("save", "plain", "Download", () => this.save()),
    });
    this.numbers = Object.fromEntries(["Done", "Running", "Waiting", "Failed", "Tokens", "Cost", "Time"].map(name => {
      const value = make("dd", { class: "number" });
      parts.facts.append(make("div", { "data-name": name.toLowerCase() }, make("dt", {}, name), value));
      return [name.toLowerCase(), value];
    }));
    this.pieces = Object.fromEntries(["completed", "failed", "cancelled", "processing"].map(name => [name, make("i", { class: `back-${name}` })]));
    parts.strip.append(...Object.values(this.pieces));
    this.tabs = Object.fromEntries(["all", ...STATES].map(name => {
      const count = make("b", { class: "number" });
      const tab = make("button", { type: "button", "data-filter": name, "aria-pressed": "false", click: () => this.filter(name) }, make("span", {}, name === "processing" ? "running" : name === "queued" ? "waiting" : name), count);
      parts.filters.append(tab);
      return [name, { tab, count }];
    }));
    this.charts = new Charts();
    this.list = new List({ open });
    parts.find.addEventListener("input", () => {
      this.draw();
      this.#look();
    });
    for (const moved of ["scroll", "resize"]) addEventListener(moved, () => this.#look(), { passive: true });
    root.append(
      make("div", { class: "run-head" }, make("div", {}, parts.title, parts.about), make("div", { class: "buttons" }, parts.retry, parts.cancel, parts.save)),
      parts.gone, make("div", { class: "card summary" }, parts.strip, parts.facts), this.charts.element,
      make("div", { class: "card tasks" }, make("div", { class: "tools" }, parts.filters, parts.find), this.list.element, parts.nothing));
    // Times on the screen go on between two looks.
    setInterval(() => this.run && !this.run.isOver && !document.hidden && this.draw(), 1000);
  }

  /** Show these batches; those that are there already stay as they are, and a run that they are the beginning of goes on. */
  open(ids) {
    const begun = [this.run?.isBusy && this.run, ...this.#left].find(run => run && run.batches[0].id === ids[0]);
    if (begun) return begun === this.run || this.#show(begun);
    if (this.run && ids.length === this.run.batches.length && ids.every((id, place) => this.run.batches[place].id === id)) return;
    const run = new Run();
    for (const id of ids) run.add(id);
    this.#begin(run);
  }

  /** Take what has just been accepted, and show the first of it; returns the run it went to, for the next call of the same file. */
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
    this.#left.delete(run);
    this.run = run;
    this.#filter = "all";
    this.#said = "";
    this.parts.find.value = "";
    run.watch();
    this.draw();
  }

  /** Leave the run. What is sent or done goes on without being seen. */
  close() {
    this.run?.stop();
    if (this.run?.isBusy) this.#left.add(this.run);
    this.run = null;
  }

  filter(name) {
    this.#filter = name;
    this.draw();
    this.#look();
  }

  /** Draw soon: what comes in quick succession is drawn once. */
  draw() {
    if (this.#due) return;
    const wait = Math.max(0, DRAW_EVERY - (performance.now() - this.#drawn));
    this.#due = setTimeout(() => requestAnimationFrame(() => {
      this.#due = 0;
      this.#drawn = performance.now();
      if (this.run) this.#draw();
    }), wait);
  }

  /** Have the rows that came onto the screen read, once it rests. */
  #look() {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.run?.hurry(), 150);
  }

  #draw() {
    const { run, parts } = this;
    const totals = run.totals();
    const now = api.now();
    this.#head(totals, now);
    const words = parts.find.value.trim().toLowerCase();
    const shown = run.tasks.filter(task => (this.#filter === "all" || task.status === this.#filter) && (!words || nameOf(task).toLowerCase().includes(words)));
    // Where nothing is asked for any more, what has come onto the screen is read once.
    if (this.list.show(shown) && run.isOver) this.#look();
    parts.nothing.hidden = Boolean(shown.length);
    write(parts.nothing, run.tasks.length ? "No task is like this." : run.gone.length ? "" : "Reading the batch …");
    if (performance.now() - this.#charted > CHART_EVERY || run.isOver) {
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
    write(numbers.done, `${short(totals.over)} / ${short(totals.size)}`);
    write(numbers.running, short(totals.processing));
    write(numbers.waiting, short(totals.queued));
    write(numbers.failed, short(totals.failed));
    write(numbers.tokens, totals.tokens ? short(totals.tokens) : "–");
    write(numbers.cost, totals.hasCost ? money(totals.usd) : "–");
    write(numbers.time, created ? span((run.isOver && ended ? ended : now) - created) + (left ? ` · ${about(left)} left` : "") : "–");
    numbers.failed.classList.toggle("bad", totals.failed > 0);
    for (const [name, piece] of Object.entries(this.pieces)) piece.style.width = `${totals.size ? (totals[name] / totals.size) * 100 : 0}%`;
    parts.strip.setAttribute("aria-valuenow", String(totals.size ? Math.floor((totals.over / totals.size) * 100) : 0));
    for (const [name, { tab, count }] of Object.entries(this.tabs)) {
      write(count, short(name === "all" ? totals.size : totals[name]));
      tab.setAttribute("aria-pressed", String(name === this.#filter));
      tab.hidden = name !== "all" && !totals[name] && name !== this.#filter;
    }
    const failed = run.batches.reduce((sum, batch) => sum + retriable(batch), 0);
    parts.retry.hidden = !failed;
    write(parts.retry, `Retry the ${many(failed, "failed one", "failed ones")}`);
    parts.cancel.hidden = run.isOver || !totals.size;
    parts.save.hidden = !totals.over;
    write(parts.save, run.reading ? `Reading ${whole(run.reading)} …` : "Download");
    for (const name of ["retry", "cancel", "save"]) parts[name].disabled = run.doing.has(name);
    parts.gone.hidden = !run.gone.length && !run.told;
    if (!parts.gone.hidden) parts.gone.replaceChildren(
      ...run.gone.map(({ id, error }) => make("p", {}, make("strong", {}, error.code === "expired" ? "This batch has expired. " : "There is no such batch for this key. "), make("code", {}, id))),
      run.told && make("p", {}, run.told));
    document.title = `${totals.size ? `${Math.floor((totals.over / totals.size) * 100)} % · ` : ""}Sluice console`;
  }

  #announce(totals) {
    if (!totals.size) return;
    const text = this.run.isOver
      ? `The run has ended: ${whole(totals.completed)} completed, ${whole(totals.failed)} failed, ${whole(totals.cancelled)} cancelled.`
      : `${Math.floor((totals.over / totals.size) * 4) * 25} percent of ${many(totals.size, "task")} have ended.`;
    if (text !== this.#said) say((this.#said = text));
  }

  retry() {
    return this.#act("retry", retryFailed);
  }

  cancel() {
    return this.#act("cancel", cancelRest);
  }

  save() {
    return this.#act("save", run => saveAll(run, count => {
      run.reading = count;
      this.draw();
    }));
  }

  /** Do what a button says, once at a time; what it has to say stands under the title. */
  async #act(name, work) {
    const { run } = this;
    if (run.doing.has(name)) return;
    run.doing.add(name);
    this.draw();
    try {
      run.told = (await work(run)) || "";
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      run.told = error.message;
    } finally {
      run.doing.delete(name);
      this.draw();
    }
    run.hurry();
  }
}
