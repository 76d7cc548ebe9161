// A run: one or more batches watched together. It asks for little: the running tasks of each batch that is not over, those that
// have ended since, and the text of the rows on the screen.

import { api, Refusal } from "./api.js";

export const IDS = 200; // a URL of API Gateway holds about 240 ids
const OVER = new Set(["completed", "failed", "cancelled", "expired", "not_found"]);
const BATCH = "status,progress,size,counts,usage,cost,metadata,created_at,deadline_at,expires_at,tasks";
const TASK = "custom_id,progress,model,waiting_on,error,retried_as,usage,cost,created_at,started_at,ended_at";
const TEXT = `${TASK},partial_result,result,tool_calls`;
const PREVIEW = 240; // characters of a row's text; the rest is asked for when the task is opened
const SWEEPS = 3; // questions for tasks, a batch and a look
const HIDDEN_SECONDS = 10;
const REFUSED_SECONDS = 10;

export const isOver = status => OVER.has(status);

class Task {
  status = "queued";
  progress = 0;
  seen = false; // whether the service has told of it
  text = "";
  hasText = false;

  constructor(batch, place, index) {
    this.batch = batch;
    this.place = place;
    this.index = index;
    this.id = `${batch.id}-${place}`;
  }
}

/** Watch batches. Events: `change` when there is something to draw, `added` when there is more of it. */
export class Run extends EventTarget {
  batches = [];
  tasks = [];
  gone = []; // batches that cannot be read: {id, error}
  told = ""; // what was said last of what was asked of it
  sending = null; // {done, all} while more of it is sent
  doing = new Set(); // the names of what is being done with it
  reading = 0; // tasks read so far, to be saved
  visible = () => [];
  #ends = null;
  #wake = null;
  #isHurried = false;

  /** Add a batch; what this tab has just sent comes with its tasks as answered, and their prompts. */
  add(id, size = 0, told = [], prompts = []) {
    const batch = { id, size: 0, first: this.tasks.length, over: false, known: 0, view: null, etag: "", turn: IDS, tasks: [] };
    this.batches.push(batch);
    this.#grow(batch, size);
    batch.tasks.forEach((task, place) => {
      if (!told[place]) return;
      Object.assign(task, { seen: true, custom_id: told[place].custom_id, prompt: prompts[place], created: api.now() });
    });
    this.#emit("added");
    this.hurry();
    return batch;
  }

  #grow(batch, size) {
    for (let place = batch.size; place < size; place += 1) {
      const task = new Task(batch, place, this.tasks.length);
      batch.tasks.push(task);
      this.tasks.push(task);
    }
    batch.size = Math.max(batch.size, size);
  }

  /** Whether more of it is being sent, or something is being done with it. */
  get isBusy() {
    return Boolean(this.sending || this.doing.size);
  }

  get isOver() {
    return this.batches.every(batch => batch.over);
  }

  /** Sum over the batches: a count of each status, tokens and dollars. */
  totals() {
    const sum = { size: 0, queued: 0, processing: 0, completed: 0, failed: 0, cancelled: 0, lost: 0, tokens: 0, usd: 0, hasCost: false };
    for (const { view, size } of this.batches) {
      sum.size += size;
      if (!view) {
        sum.queued += size;
        continue;
      }
      for (const name of ["queued", "processing", "completed", "failed", "cancelled"]) sum[name] += view.counts[name];
      sum.lost += view.counts.not_found + view.counts.expired;
      sum.tokens += view.usage?.total_tokens || 0;
      sum.usd += Number(view.cost?.usd || 0);
      sum.hasCost ||= Boolean(view.cost);
    }
    sum.over = sum.completed + sum.failed + sum.cancelled + sum.lost;
    return sum;
  }

  stop() {
    this.#ends?.abort();
  }

  /** Look again now: something was done, or other rows are on the screen. */
  hurry() {
    this.#isHurried = true;
    this.#wake?.();
  }

  /** Look until it is stopped; what waits for nothing is not asked about. */
  async watch() {
    const { signal } = (this.#ends = new AbortController());
    while (!signal.aborted) {
      let seconds = null;
      this.#isHurried = false;
      try {
        for (const batch of this.batches.filter(each => !each.over)) seconds = Math.min(seconds ?? 60, await this.#look(batch, signal));
        await this.#read(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof Refusal)) throw error;
        // A key that is no good waits for another, which hurries; anything else is said.
        seconds = [401, 403].includes(error.status) ? null : REFUSED_SECONDS;
        if (seconds) {
          this.told = error.message;
          this.#emit("change");
        }
      }
      if (document.hidden) seconds = Math.max(seconds ?? 0, HIDDEN_SECONDS);
      await this.#rest(seconds, signal);
    }
  }

  #rest(seconds, signal) {
    return new Promise(resolve => {
      if (this.#isHurried) return resolve();
      this.#wake = resolve;
      signal.addEventListener("abort", resolve, { once: true });
      if (seconds !== null) setTimeout(resolve, seconds * 1000);
    });
  }

  async #look(batch, signal) {
    const headers = batch.etag && !batch.isBehind ? { "If-None-Match": batch.etag } : {};
    let answer;
    try {
      answer = await api.call(`batches/${encodeURIComponent(batch.id)}?status=processing&limit=1000&fields=${BATCH}`, { headers, signal });
    } catch (error) {
      if (!(error instanceof Refusal) || ![404, 410].includes(error.status)) throw error;
      batch.over = true;
      this.gone.push({ id: batch.id, error });
      this.#emit("change");
      return 0;
    }
    const seconds = Number(answer.headers.get("Retry-After")) || 1;
    if (answer.status === 304) return seconds;
    batch.etag = answer.headers.get("ETag") || "";
    const { tasks, ...view } = answer.body;
    batch.view = view;
    if (view.size > batch.size) {
      this.#grow(batch, view.size);
      this.#emit("added");
    }
    const running = new Set(tasks.map(task => task.task_id));
    const left = batch.tasks.filter(task => task.status === "processing" && !running.has(task.id));
    for (const task of tasks) this.#take(task);
    this.#emit("change");
    await this.#sweep(batch, left, signal);
    batch.isBehind = batch.known < batch.size - view.counts.queued - view.counts.processing || batch.tasks.some(task => !task.seen);
    batch.over = view.status === "ended" && !batch.isBehind;
    this.#emit("change");
    return batch.isBehind ? 0 : seconds;
  }

  /** Ask for tasks that have moved on: those that ran a moment ago, those never seen, and while the counts say that more are over
   * than are known, those that wait: the oldest first, since the queue is nearly in order, then the others in turn. */
  async #sweep(batch, left, signal) {
    for (let place = 0; place < left.length; place += IDS) await this.#ask(left.slice(place, place + IDS), TASK, signal);
    const { queued, processing } = batch.view.counts;
    for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
      const unseen = batch.tasks.filter(task => !task.seen);
      if (!unseen.length && batch.known >= batch.size - queued - processing) return;
      const waiting = unseen.length ? unseen : batch.tasks.filter(task => task.status === "queued");
      const from = sweep && !unseen.length ? batch.turn % Math.max(1, waiting.length) : 0;
      if (sweep) batch.turn += IDS;
      await this.#ask([...waiting.slice(from), ...waiting.slice(0, from)].slice(0, IDS), TASK, signal);
      this.#emit("change");
    }
  }

  /** Read the text of the rows on the screen, so far as it is not there yet. */
  async #read(signal) {
    const wanted = this.visible().filter(task => task.status === "processing" || (task.status === "completed" && !task.hasText));
    if (!wanted.length) return;
    await this.#ask(wanted.slice(0, IDS), TEXT, signal);
    this.#emit("change");
  }

  async #ask(tasks, fields, signal) {
    if (!tasks.length) return;
    let path = `tasks?task_ids=${tasks.map(task => task.id).join(",")}&fields=${fields}`;
    while (path) {
      const { body } = await api.call(path, { signal });
      for (const told of body.tasks) this.#take(told);
      path = body.next ? `tasks${body.next}` : "";
    }
  }

  /** Find a task by its id. */
  find(id) {
    const [batchId, place] = id.split("-");
    return this.batches.find(each => each.id === batchId)?.tasks[Number(place)];
  }

  /** Take what the service tells of a task; what is over stays so. */
  take(told) {
    this.#take(told);
    this.#emit("change");
  }

  #take(told) {
    const task = this.find(told.task_id);
    if (!task) return;
    const { batch } = task;
    const wasOver = isOver(task.status);
    task.seen = true;
    if (wasOver && !isOver(told.status)) return;
    task.status = told.status;
    task.progress = told.progress ?? task.progress;
    for (const name of ["custom_id", "model", "waiting_on", "error", "retried_as", "usage"]) task[name] = told[name] ?? (name === "waiting_on" ? null : task[name]);
    for (const [name, field] of [["created", "created_at"], ["started", "started_at"], ["ended", "ended_at"]])
      if (told[field]) task[name] = Date.parse(told[field]);
    if (told.cost) task.usd = Number(told.cost.usd);
    if (told.result !== undefined || told.tool_calls) {
      task.text = told.result?.slice(0, PREVIEW) || (told.tool_calls ? `→ ${told.tool_calls.map(call => call.function?.name || call.type).join(", ")}` : "");
      task.hasText = true;
    } else if (told.partial_result !== undefined) task.text = told.partial_result.slice(-PREVIEW);
    if (isOver(told.status) && !wasOver) batch.known += 1;
  }

  #emit(name) {
    this.dispatchEvent(new Event(name));
  }
}
