// A run: one or more batches that are watched together. It polls only what it needs: the processing tasks of each batch that has
// not ended, the tasks that have ended since the last poll, and the texts of the visible rows.

import { api, ApiError } from "./api.js";

export const IDS = 200; // per request: an API Gateway URL has room for about 240 IDs
const OVER = new Set(["completed", "failed", "cancelled", "expired", "not_found"]);
const BATCH = "status,progress,size,counts,usage,cost,metadata,created_at,deadline_at,expires_at,tasks";
const TASK = "custom_id,progress,model,waiting_on,error,retried_as,usage,cost,created_at,started_at,ended_at";
const TEXT = `${TASK},partial_result,result,tool_calls,refusal`;
const PREVIEW = 240; // characters of a row's text; the full text is loaded when the task is opened
const SWEEPS = 3; // requests for task states, per batch and poll
const HIDDEN_SECONDS = 10;
const REFUSED_SECONDS = 10;

export const isOver = status => OVER.has(status);

class Task {
  status = "queued";
  progress = 0;
  isLoaded = false; // whether its state has been loaded
  text = "";
  hasText = false;

  constructor(batch, position, index) {
    this.batch = batch;
    this.position = position;
    this.index = index;
    this.id = `${batch.id}-${position}`;
  }
}

/** Watch batches. Events: `change` when something must be redrawn, `added` when tasks were added. */
export class Run extends EventTarget {
  batches = [];
  tasks = [];
  missing = []; // batches that cannot be read: {id, error}
  message = ""; // the message of the last action or poll
  sending = null; // {done, all} while more tasks are sent
  actions = new Set(); // the names of the running actions
  reading = 0; // tasks downloaded so far
  visible = () => [];
  #aborter = null;
  #wake = null;
  #isPollDue = false;

  /** Add a batch; for a batch sent by this tab with its tasks from the response and their prompts. */
  add(id, size = 0, state = [], prompts = []) {
    const batch = { id, size: 0, first: this.tasks.length, isOver: false, known: 0, view: null, etag: "", turn: IDS, tasks: [] };
    this.batches.push(batch);
    this.#grow(batch, size);
    batch.tasks.forEach((task, position) => {
      if (!state[position]) return;
      Object.assign(task, { isLoaded: true, custom_id: state[position].custom_id, prompt: prompts[position], created: api.now() });
    });
    this.#emit("added");
    this.pollNow();
    return batch;
  }

  #grow(batch, size) {
    for (let position = batch.size; position < size; position += 1) {
      const task = new Task(batch, position, this.tasks.length);
      batch.tasks.push(task);
      this.tasks.push(task);
    }
    batch.size = Math.max(batch.size, size);
  }

  /** Whether tasks are being sent or an action is running. */
  get isBusy() {
    return Boolean(this.sending || this.actions.size);
  }

  get isOver() {
    return this.batches.every(batch => batch.isOver);
  }

  /** Return totals over the batches: the number of tasks in each status, tokens and cost. */
  totals() {
    const sum = { size: 0, queued: 0, processing: 0, completed: 0, failed: 0, cancelled: 0, expired: 0, tokens: 0, usd: 0, hasCost: false };
    for (const { view, size } of this.batches) {
      sum.size += size;
      if (!view) {
        sum.queued += size;
        continue;
      }
      for (const name of ["queued", "processing", "completed", "failed", "cancelled"]) sum[name] += view.counts[name];
      sum.expired += view.counts.not_found + view.counts.expired;
      sum.tokens += view.usage?.total_tokens || 0;
      sum.usd += Number(view.cost?.usd || 0);
      sum.hasCost ||= Boolean(view.cost);
    }
    sum.ended = sum.completed + sum.failed + sum.cancelled + sum.expired;
    return sum;
  }

  stop() {
    this.#aborter?.abort();
  }

  /** Poll now: an action has ended, or other rows are visible. */
  pollNow() {
    this.#isPollDue = true;
    this.#wake?.();
  }

  /** Poll until stopped; batches that have ended are not polled. */
  async watch() {
    const { signal } = (this.#aborter = new AbortController());
    while (!signal.aborted) {
      let seconds = null;
      this.#isPollDue = false;
      try {
        for (const batch of this.batches.filter(each => !each.isOver)) seconds = Math.min(seconds ?? 60, await this.#pollBatch(batch, signal));
        await this.#loadTexts(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof ApiError)) throw error;
        // After a rejected key polling resumes when a new key is set; other errors are shown.
        seconds = [401, 403].includes(error.status) ? null : REFUSED_SECONDS;
        if (seconds) {
          this.message = error.message;
          this.#emit("change");
        }
      }
      if (document.hidden) seconds = Math.max(seconds ?? 0, HIDDEN_SECONDS);
      await this.#wait(seconds, signal);
    }
  }

  #wait(seconds, signal) {
    return new Promise(resolve => {
      if (this.#isPollDue) return resolve();
      this.#wake = resolve;
      signal.addEventListener("abort", resolve, { once: true });
      if (seconds !== null) setTimeout(resolve, seconds * 1000);
    });
  }

  async #pollBatch(batch, signal) {
    const headers = batch.etag && !batch.isBehind ? { "If-None-Match": batch.etag } : {};
    let response;
    try {
      response = await api.call(`batches/${encodeURIComponent(batch.id)}?status=processing&limit=1000&fields=${BATCH}`, { headers, signal });
    } catch (error) {
      if (!(error instanceof ApiError) || ![404, 410].includes(error.status)) throw error;
      batch.isOver = true;
      this.missing.push({ id: batch.id, error });
      this.#emit("change");
      return 0;
    }
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    if (response.status === 304) return seconds;
    batch.etag = response.headers.get("ETag") || "";
    const { tasks, ...view } = response.body;
    batch.view = view;
    if (view.size > batch.size) {
      this.#grow(batch, view.size);
      this.#emit("added");
    }
    const running = new Set(tasks.map(task => task.task_id));
    const left = batch.tasks.filter(task => task.status === "processing" && !running.has(task.id));
    for (const task of tasks) this.#apply(task);
    this.#emit("change");
    await this.#loadChanged(batch, left, signal);
    batch.isBehind = batch.known < batch.size - view.counts.queued - view.counts.processing || batch.tasks.some(task => !task.isLoaded);
    batch.isOver = view.status === "ended" && !batch.isBehind;
    this.#emit("change");
    return batch.isBehind ? 0 : seconds;
  }

  /** Load tasks whose status may have changed: those that were processing at the last poll and those never loaded. While the counts
   * show more ended tasks than are known, also queued ones: the oldest first, because the queue is nearly ordered, then the others in turn. */
  async #loadChanged(batch, left, signal) {
    for (let position = 0; position < left.length; position += IDS) await this.#loadTasks(left.slice(position, position + IDS), TASK, signal);
    const { queued, processing } = batch.view.counts;
    for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
      const unseen = batch.tasks.filter(task => !task.isLoaded);
      if (!unseen.length && batch.known >= batch.size - queued - processing) return;
      const waiting = unseen.length ? unseen : batch.tasks.filter(task => task.status === "queued");
      const from = sweep && !unseen.length ? batch.turn % Math.max(1, waiting.length) : 0;
      if (sweep) batch.turn += IDS;
      await this.#loadTasks([...waiting.slice(from), ...waiting.slice(0, from)].slice(0, IDS), TASK, signal);
      this.#emit("change");
    }
  }

  /** Load the missing texts of the visible rows. */
  async #loadTexts(signal) {
    const wanted = this.visible().filter(task => task.status === "processing" || (task.status === "completed" && !task.hasText));
    if (!wanted.length) return;
    await this.#loadTasks(wanted.slice(0, IDS), TEXT, signal);
    this.#emit("change");
  }

  async #loadTasks(tasks, fields, signal) {
    if (!tasks.length) return;
    let path = `tasks?task_ids=${tasks.map(task => task.id).join(",")}&fields=${fields}`;
    while (path) {
      const { body } = await api.call(path, { signal });
      for (const state of body.tasks) this.#apply(state);
      path = body.next ? `tasks${body.next}` : "";
    }
  }

  /** Find a task by its ID. */
  find(id) {
    const [batchId, position] = id.split("-");
    return this.batches.find(each => each.id === batchId)?.tasks[Number(position)];
  }

  /** Apply a task state from the service; a task that has ended stays ended. */
  apply(state) {
    this.#apply(state);
    this.#emit("change");
  }

  #apply(state) {
    const task = this.find(state.task_id);
    if (!task) return;
    const { batch } = task;
    const wasOver = isOver(task.status);
    task.isLoaded = true;
    if (wasOver && !isOver(state.status)) return;
    task.status = state.status;
    task.progress = state.progress ?? task.progress;
    for (const name of ["custom_id", "model", "waiting_on", "error", "retried_as", "usage"]) task[name] = state[name] ?? (name === "waiting_on" ? null : task[name]);
    for (const [name, field] of [["created", "created_at"], ["started", "started_at"], ["ended", "ended_at"]])
      if (state[field]) task[name] = Date.parse(state[field]);
    if (state.cost) task.usd = Number(state.cost.usd);
    if (state.result !== undefined || state.tool_calls) {
      task.text = (state.result || state.refusal)?.slice(0, PREVIEW) || (state.tool_calls ? `→ ${state.tool_calls.map(call => call.function?.name || call.type).join(", ")}` : "");
      task.hasText = true;
    } else if (state.partial_result !== undefined) task.text = state.partial_result.slice(-PREVIEW);
    if (isOver(state.status) && !wasOver) batch.known += 1;
  }

  #emit(name) {
    this.dispatchEvent(new Event(name));
  }
}
