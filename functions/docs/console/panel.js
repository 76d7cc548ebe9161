// One task in full: its text as it grows, its attempts and its errors.

import { api, Refusal } from "./api.js";
import { at, make, say, write } from "./dom.js";
import { clock, day, money, span, whole } from "./format.js";
import { follow } from "./follow.js";
import { isOver } from "./run.js";
import { WAITS } from "./list.js";

export class Panel {
  #ends = null;
  task = null;

  constructor({ close, take }) {
    this.close = close;
    this.take = take;
  }

  /** Show a task; its stream is followed until another is shown. */
  async show(task) {
    this.#ends?.abort();
    const ends = (this.#ends = new AbortController());
    this.task = task;
    this.#build(task);
    try {
      const { body } = await api.call(`tasks/${encodeURIComponent(task.id)}`, { signal: ends.signal });
      this.#told(body);
      if (!isOver(body.status)) await this.#follow(task, ends.signal);
    } catch (error) {
      if (ends.signal.aborted) return;
      if (!(error instanceof Refusal)) throw error;
      this.parts.state.textContent = error.message;
    }
  }

  hide() {
    this.#ends?.abort();
    this.task = null;
    at("panel").hidden = true;
    document.body.classList.remove("with-panel");
  }

  async #follow(task, signal) {
    this.parts.answer.replaceChildren();
    for await (const { event, data } of follow(task.id, signal)) {
      if (event === "reset") this.parts.answer.replaceChildren();
      else if (event === "delta") this.#append(data.text);
      else if (event === "status") {
        this.#status(data);
        if (data.status !== "queued") this.#tries(task, signal);
      }
      else if (event === "ended") {
        this.#told(data);
        say(`Task ${task.index + 1} is ${data.status}`);
      }
    }
  }

  /** Read the attempts anew: a status that has changed means that one began. */
  async #tries(task, signal) {
    try {
      const { body } = await api.call(`tasks/${encodeURIComponent(task.id)}?fields=attempts,started_at`, { signal });
      if (task === this.task && !isOver(task.status)) this.#attempts(body);
    } catch (error) {
      if (!signal.aborted && !(error instanceof Refusal)) throw error;
    }
  }

  #attempts(told) {
    this.parts.tries.replaceChildren(told.attempts?.length ? attempts(told) : make("p", { class: "soft" }, "None so far."));
  }

  #append(text) {
    const { answer, body } = this.parts;
    const isAtEnd = body.scrollHeight - body.scrollTop - body.clientHeight < 40;
    answer.append(document.createTextNode(text));
    this.parts.empty.hidden = true;
    if (isAtEnd) body.scrollTop = body.scrollHeight;
  }

  #build(task) {
    const parts = (this.parts = {
      chip: make("span", { class: "chip" }), fill: make("i"), state: make("span", { class: "soft" }),
      answer: make("div", { class: "answer", id: "answer" }), empty: make("p", { class: "soft" }),
      error: make("div", { class: "error", hidden: true }), facts: make("dl", { class: "facts" }),
      asked: make("h3", {}, askedOf(task)), tries: make("div"), calls: make("pre", { hidden: true, tabindex: "0" }), body: make("div", { class: "panel-body", tabindex: "0" }),
      cancel: make("button", { class: "plain", type: "button", id: "cancel-task" }, "Cancel"),
      copy: make("button", { class: "plain", type: "button", hidden: true }, "Copy the answer"),
    });
    parts.percent = make("span", { class: "soft number" });
    parts.cancel.addEventListener("click", () => this.cancel());
    parts.copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(parts.answer.textContent);
      write(parts.copy, "Copied");
    });
    parts.body.append(
      parts.error,
      parts.asked,
      task.prompt ? make("div", { class: "prompt" }, task.prompt) : make("p", { class: "soft" }, "Not shown: a prompt is kept by the page that sent it, until it is left."),
      make("h3", {}, "Answer"), parts.empty, parts.answer, parts.calls,
      make("h3", {}, "Attempts"), parts.tries,
      make("h3", {}, "Details"), parts.facts);
    at("panel").replaceChildren(
      make("header", {},
        make("h2", { id: "panel-title", tabindex: "-1" }, `Task ${whole(task.index + 1)}`), parts.chip,
        make("button", { class: "icon", type: "button", "aria-label": "Close the task", title: "Close (Esc)", click: () => this.close() }, "✕")),
      make("div", { class: "progress-line" }, make("span", { class: "bar" }, parts.fill), parts.percent, parts.state),
      parts.body,
      make("footer", {}, parts.cancel, parts.copy));
    at("panel").hidden = false;
    document.body.classList.add("with-panel");
    this.#status({ status: task.status, progress: task.progress, waiting_on: task.waiting_on });
  }

  #status({ status, progress, waiting_on: waits }) {
    const { chip, fill, state, cancel, percent, empty } = this.parts;
    at("panel").dataset.status = status;
    write(chip, status.replace("_", " "));
    fill.style.transform = `scaleX(${(isOver(status) ? 100 : progress) / 100})`;
    write(percent, isOver(status) ? "" : `${progress} %`);
    write(state, status === "queued" ? WAITS[waits] || "" : "");
    cancel.hidden = isOver(status);
    write(empty, { queued: "It has not been asked yet.", processing: "The model has not said anything yet.", failed: "There is none.", cancelled: "There is none." }[status] || "");
    empty.hidden = Boolean(this.parts.answer.textContent) || status === "completed";
  }

  /** Take the whole task. */
  #told(told) {
    const { answer, error, calls, copy, facts } = this.parts;
    const task = this.task;
    this.take(told);
    write(this.parts.asked, askedOf(task));
    const text = told.result ?? told.partial_result ?? "";
    if (answer.textContent !== text) answer.replaceChildren(text);
    this.#status(told);
    copy.hidden = !told.result;
    calls.hidden = !told.tool_calls;
    if (told.tool_calls) write(calls, JSON.stringify(told.tool_calls, null, 2));
    error.hidden = !told.error;
    if (told.error)
      error.replaceChildren(make("strong", {}, told.error.code), make("p", {}, told.error.detail),
        told.error.last_code ? make("p", { class: "soft" }, `The last attempt: ${told.error.last_code}`) : "");
    this.#attempts(told);
    facts.replaceChildren(...this.#facts(told, task));
  }

  #facts(told, task) {
    const { usage } = told;
    const rows = [
      ["Id", told.task_id], ["Name", told.custom_id], ["Model", told.model],
      ["Accepted", told.created_at && day(Date.parse(told.created_at))],
      ["Waited", task.started && span(task.started - task.created)],
      ["Took", told.ended_at && task.started && span(task.ended - task.started)],
      ["Tokens", usage && `${whole(usage.prompt_tokens)} in, ${whole(usage.completion_tokens)} out`],
      ["Cost", told.cost && money(Number(told.cost.usd))],
      ["Retried as", told.retried_as],
      ["Ends because", told.finish_reason && (told.truncated ? `${told.finish_reason}: cut at its token limit` : told.finish_reason)],
      ["Readable until", told.expires_at && day(Date.parse(told.expires_at))],
    ];
    return rows.filter(([, value]) => value).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
  }

  async cancel() {
    if (!this.task || isOver(this.task.status) || this.parts.cancel.disabled) return;
    const { cancel, state } = this.parts;
    cancel.disabled = true;
    try {
      const { body } = await api.call(`tasks/${encodeURIComponent(this.task.id)}/cancel`, { method: "POST", signal: this.#ends.signal });
      this.#told(body);
    } catch (error) {
      if (error instanceof Refusal) write(state, error.message);
    } finally {
      cancel.disabled = false;
    }
  }
}

const askedOf = ({ model }) => (model?.startsWith("workflow/") ? "Input" : "Prompt");

function attempts(told) {
  const row = (attempt, number) => {
    const started = Date.parse(attempt.started_at);
    const ended = attempt.ended_at && Date.parse(attempt.ended_at);
    const how = attempt.code || (ended ? "answered" : "under way");
    return make("tr", {}, make("td", {}, String(number + 1)), make("td", {}, clock(started)),
      make("td", {}, ended ? span(ended - started) : "…"), make("td", { class: attempt.code ? "bad" : "" }, how));
  };
  return make("table", {}, make("thead", {}, make("tr", {}, ...["#", "Started", "Took", "Outcome"].map(name => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...told.attempts.map(row)));
}

