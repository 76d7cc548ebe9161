// The details of a task: its streamed text, its attempts and its errors.

import { api, ApiError } from "./api.js";
import { at, make, say, write } from "./dom.js";
import { clock, day, money, span, whole } from "./format.js";
import { follow } from "./follow.js";
import { isOver } from "./run.js";
import { WAITS } from "./list.js";

export class Panel {
  #aborter = null;
  task = null;

  constructor({ close, apply }) {
    this.close = close;
    this.apply = apply;
  }

  /** Show a task and follow its stream until another task is shown. */
  async show(task) {
    this.#aborter?.abort();
    const aborter = (this.#aborter = new AbortController());
    this.task = task;
    this.#build(task);
    try {
      const { body } = await api.call(`tasks/${encodeURIComponent(task.id)}`, { signal: aborter.signal });
      this.#apply(body);
      if (!isOver(body.status)) await this.#follow(task, aborter.signal);
    } catch (error) {
      if (aborter.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.parts.state.textContent = error.message;
    }
  }

  hide() {
    this.#aborter?.abort();
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
        if (data.status !== "queued") this.#loadAttempts(task, signal);
      }
      else if (event === "ended") {
        this.#apply(data);
        say(`Task ${task.index + 1} is ${data.status}`);
      }
    }
  }

  /** Reload the attempts: a changed status means that a new attempt has started. */
  async #loadAttempts(task, signal) {
    try {
      const { body } = await api.call(`tasks/${encodeURIComponent(task.id)}?fields=attempts,started_at`, { signal });
      if (task === this.task && !isOver(task.status)) this.#attempts(body);
    } catch (error) {
      if (!signal.aborted && !(error instanceof ApiError)) throw error;
    }
  }

  #attempts(state) {
    this.parts.attempts.replaceChildren(state.attempts?.length ? attempts(state) : make("p", { class: "soft" }, "No attempt yet."));
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
      promptTitle: make("h3", {}, promptTitleOf(task)), attempts: make("div"), calls: make("pre", { hidden: true, tabindex: "0" }), body: make("div", { class: "panel-body", tabindex: "0" }),
      cancel: make("button", { class: "plain", type: "button", id: "cancel-task" }, "Cancel"),
      copy: make("button", { class: "plain", type: "button", hidden: true }, "Copy the result"),
    });
    parts.percent = make("span", { class: "soft number" });
    parts.cancel.addEventListener("click", () => this.cancel());
    parts.copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(parts.answer.textContent);
      write(parts.copy, "Copied");
    });
    parts.body.append(
      parts.error,
      parts.promptTitle,
      task.prompt ? make("div", { class: "prompt" }, task.prompt) : make("p", { class: "soft" }, "Not available: prompts are kept only in the memory of the page that sent them."),
      make("h3", {}, "Result"), parts.empty, parts.answer, parts.calls,
      make("h3", {}, "Attempts"), parts.attempts,
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
    write(empty, { queued: "The task is queued.", processing: "The model has not returned any text yet.", failed: "No result.", cancelled: "No result." }[status] || "");
    empty.hidden = Boolean(this.parts.answer.textContent) || status === "completed";
  }

  /** Show the complete task. */
  #apply(state) {
    const { answer, error, calls, copy, facts } = this.parts;
    const task = this.task;
    this.apply(state);
    write(this.parts.promptTitle, promptTitleOf(task));
    const text = (state.result || state.refusal) ?? state.partial_result ?? "";
    if (answer.textContent !== text) answer.replaceChildren(text);
    this.#status(state);
    copy.hidden = !(state.result || state.refusal);
    calls.hidden = !state.tool_calls;
    if (state.tool_calls) write(calls, JSON.stringify(state.tool_calls, null, 2));
    error.hidden = !state.error;
    if (state.error)
      error.replaceChildren(make("strong", {}, state.error.code), make("p", {}, state.error.detail),
        state.error.last_code ? make("p", { class: "soft" }, `Last attempt: ${state.error.last_code}`) : "",
        state.error.provider_error ? make("p", { class: "soft" }, `Provider: ${fieldsOf(state.error.provider_error)}`) : "");
    this.#attempts(state);
    facts.replaceChildren(...this.#facts(state, task));
  }

  #facts(state, task) {
    const { usage } = state;
    const rows = [
      ["ID", state.task_id], ["Name", state.custom_id], ["Model", state.model],
      ["Accepted", state.created_at && day(Date.parse(state.created_at))],
      ["Queued for", task.started && span(task.started - task.created)],
      ["Duration", state.ended_at && task.started && span(task.ended - task.started)],
      ["Tokens", usage && `${whole(usage.prompt_tokens)} in, ${whole(usage.completion_tokens)} out`],
      ["Cost", state.cost && money(Number(state.cost.usd))],
      ["Retried as", state.retried_as],
      ["Finish reason", state.finish_reason && (state.truncated ? `${state.finish_reason}: cut at its token limit` : state.finish_reason)],
      ["Retained until", state.expires_at && day(Date.parse(state.expires_at))],
    ];
    return rows.filter(([, value]) => value).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
  }

  async cancel() {
    if (!this.task || isOver(this.task.status) || this.parts.cancel.disabled) return;
    const { cancel, state } = this.parts;
    cancel.disabled = true;
    try {
      const { body } = await api.call(`tasks/${encodeURIComponent(this.task.id)}/cancel`, { method: "POST", signal: this.#aborter.signal });
      this.#apply(body);
    } catch (error) {
      if (error instanceof ApiError) write(state, error.message);
    } finally {
      cancel.disabled = false;
    }
  }
}

const promptTitleOf = ({ model }) => (model?.startsWith("workflow/") ? "Input" : "Prompt");

const fieldsOf = error => Object.entries(error).map(([name, value]) => `${name} ${value}`).join(", ");

function attempts(state) {
  const row = (attempt, number) => {
    const started = Date.parse(attempt.started_at);
    const ended = attempt.ended_at && Date.parse(attempt.ended_at);
    const outcome = attempt.code || (ended ? "completed" : "processing");
    return make("tr", {}, make("td", {}, String(number + 1)), make("td", {}, clock(started)),
      make("td", {}, ended ? span(ended - started) : "…"), make("td", { class: attempt.code ? "bad" : "" }, outcome));
  };
  return make("table", {}, make("thead", {}, make("tr", {}, ...["#", "Started", "Duration", "Outcome"].map(name => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...state.attempts.map(row)));
}

