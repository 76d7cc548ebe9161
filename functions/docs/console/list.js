// The virtual task list: only visible rows are in the document, so thousands of tasks cost no more than twenty. The page scrolls.

import { make, write } from "./dom.js";
import { span } from "./format.js";
import { api } from "./api.js";
import { isOver } from "./run.js";

const SPARE = 6; // extra rows above and below the viewport

export class List {
  tasks = [];
  #rows = [];
  #selected = null;
  #height = 44;

  constructor({ open }) {
    this.room = make("div", { class: "rows" });
    this.element = make("div", {
      class: "list", id: "tasks", role: "listbox", tabindex: "0", "aria-label": "Tasks", keydown: event => this.#key(event),
    }, this.room);
    this.open = open;
    this.element.addEventListener("click", event => {
      const row = event.target.closest(".row");
      if (row) this.select(this.#rows[row.dataset.slot].task, { open: true });
    });
    for (const moved of ["scroll", "resize"]) addEventListener(moved, () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  get selected() {
    return this.#selected;
  }

  /** Show these tasks in this order; returns whether they differ from the tasks before. */
  show(tasks) {
    const isOther = tasks.length !== this.tasks.length || tasks.some((task, index) => task !== this.tasks[index]);
    this.tasks = tasks;
    if (this.#selected && !tasks.includes(this.#selected)) this.#selected = null;
    this.draw();
    return isOther;
  }

  /** Return the visible tasks. */
  visible() {
    const [first, last] = this.#range(0);
    return this.tasks.slice(first, last);
  }

  #range(spare) {
    if (!this.element.isConnected || !this.element.offsetParent) return [0, 0];
    const top = this.element.getBoundingClientRect().top;
    const first = Math.floor(-top / this.#height) - spare;
    const last = Math.ceil((innerHeight - top) / this.#height) + spare;
    return [Math.min(Math.max(0, first), this.tasks.length), Math.max(0, Math.min(this.tasks.length, last))];
  }

  /** Draw the visible rows; each uses a node of a pool, by its index. */
  draw() {
    if (!this.element.offsetParent) return;
    this.#height = parseFloat(getComputedStyle(this.room).getPropertyValue("--row")) || 44;
    this.room.style.height = `${this.tasks.length * this.#height}px`;
    const [first, last] = this.#range(SPARE);
    while (this.#rows.length < last - first) this.#grow();
    const used = new Set();
    for (let index = first; index < last; index += 1) {
      const row = this.#rows[index % this.#rows.length];
      used.add(row);
      this.#write(row, this.tasks[index], index);
    }
    for (const row of this.#rows) if (!used.has(row)) (row.element.hidden = true), (row.task = null);
    const shown = this.#rows.find(row => row.task && row.task === this.#selected);
    if (shown) this.element.setAttribute("aria-activedescendant", shown.element.id);
    else this.element.removeAttribute("aria-activedescendant");
  }

  #grow() {
    const slot = this.#rows.length;
    const parts = Object.fromEntries(["number", "status", "name", "text", "time"].map(name => [name, make("span", { class: name })]));
    const fill = make("i");
    parts.bar = make("span", { class: "bar" }, fill);
    const element = make("div", { class: "row", role: "option", id: `row-${slot}`, "data-slot": String(slot) },
      parts.number, parts.status, parts.name, parts.bar, parts.text, parts.time);
    this.#rows.push({ element, parts, fill, task: null });
    this.room.append(element);
  }

  #write(row, task, index) {
    const { element, parts, fill } = row;
    row.task = task;
    element.hidden = false;
    element.style.transform = `translateY(${index * this.#height}px)`;
    element.dataset.status = task.status;
    element.setAttribute("aria-selected", String(task === this.#selected));
    element.setAttribute("aria-setsize", String(this.tasks.length));
    element.setAttribute("aria-posinset", String(index + 1));
    write(parts.number, String(task.index + 1));
    write(parts.status, task.status.replace("_", " "));
    write(parts.name, nameOf(task));
    parts.name.title = nameOf(task);
    parts.name.classList.toggle("id", !task.prompt && !task.custom_id);
    fill.style.transform = `scaleX(${(isOver(task.status) ? 100 : task.progress) / 100})`;
    const text = textOf(task);
    // A growing text shows its end: it is laid out from the right, between marks that preserve its own direction.
    const grows = task.status === "processing";
    write(parts.text, grows && text ? `\u200e${text}\u200e` : text);
    parts.text.classList.toggle("tail", grows);
    write(parts.time, task.started ? span((task.ended || api.now()) - task.started) : "");
    const progress = task.status === "processing" ? `, ${task.progress} percent` : "";
    element.setAttribute("aria-label", `Task ${task.index + 1}, ${task.status}${progress}, ${nameOf(task).slice(0, 80)}${isOver(task.status) && text ? `: ${text.slice(0, 120)}` : ""}`);
  }

  /** Select a task and scroll its row into view. */
  select(task, { open = false } = {}) {
    this.#selected = task;
    const index = this.tasks.indexOf(task);
    if (index >= 0) {
      const top = this.element.getBoundingClientRect().top + index * this.#height;
      const low = innerHeight - this.#height - 12;
      const high = 64 + (document.querySelector(".tools")?.offsetHeight || 0);
      if (top < high) scrollBy({ top: top - high });
      else if (top > low) scrollBy({ top: top - low });
    }
    this.draw();
    if (open && task) this.open(task);
  }

  /** Move the selection by a number of rows. */
  move(by) {
    if (!this.tasks.length) return;
    const index = this.tasks.indexOf(this.#selected);
    const next = index < 0 && Number.isFinite(by) ? (by > 0 ? this.#range(0)[0] : this.tasks.length - 1) : index + by;
    this.select(this.tasks[Math.min(this.tasks.length - 1, Math.max(0, next))]);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(innerHeight / this.#height) - 4);
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    if (by) this.move(by);
    else if ((event.key === "Enter" || event.key === " ") && this.#selected) this.open(this.#selected);
    else return;
    event.preventDefault();
  }
}

export const nameOf = task => task.prompt || task.custom_id || task.id;

function textOf(task) {
  if (task.status === "failed") return task.error?.last_code ? `${task.error.code} · ${task.error.last_code}` : task.error?.code || "";
  if (task.status === "queued") return WAITS[task.waiting_on] || "";
  return task.text.replace(/\s+/g, " ").trim();
}

export const WAITS = { capacity: "waiting for a free worker", budget: "waiting for the next day's budget", rate_limit: "waiting for the rate limit", provider: "waiting for its next attempt" };
