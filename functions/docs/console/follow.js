// A task's own stream: server-sent events by fetch, since an EventSource sends no key. Each answer is one step.

import { api, pause, Refusal } from "./api.js";

const AGAIN = 300; // milliseconds between two steps, at least; a step that was not held asks for more
const LONGEST_WAIT = 15_000;

/** Yield {event, data} until the task has ended or the signal aborts; an interruption goes on where it was. */
export async function* follow(taskId, signal) {
  let last = "";
  for (let misses = 0; ; ) {
    let answer;
    try {
      answer = await api.once(`tasks/${encodeURIComponent(taskId)}/stream`, { signal, headers: { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) } });
    } catch (error) {
      if (signal.aborted || (error instanceof Refusal && error.status < 500 && error.status !== 429)) throw error;
      misses += 1;
      await pause(error.retryAfter ? error.retryAfter * 1000 : Math.min(LONGEST_WAIT, 500 * 2 ** misses), signal, true);
      continue;
    }
    misses = 0;
    if (answer.status === 204) return;
    for (const event of events(answer.text)) {
      last = event.id || last;
      yield event;
      if (event.event === "ended") return;
    }
    await pause(Math.max(AGAIN, Number(/^retry: ?([0-9]{1,5})$/m.exec(answer.text)?.[1]) || 0), signal);
  }
}

function* events(text) {
  for (const block of text.split(/\r?\n\r?\n/)) {
    const fields = {};
    for (const line of block.split(/\r?\n/)) {
      const [, name, value] = /^([a-z]+): ?(.*)$/.exec(line) || [];
      if (name) fields[name] = name === "data" && "data" in fields ? `${fields.data}\n${value}` : value;
    }
    if (fields.event) yield { id: fields.id, event: fields.event, data: fields.data ? JSON.parse(fields.data) : {} };
  }
}
