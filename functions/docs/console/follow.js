// Follow a task's stream: server-sent events by fetch, because an EventSource can't send the key. Each response holds some events.

import { api, pause, ApiError } from "./api.js";

const MIN_PAUSE = 300; // milliseconds between two requests; a response that was not held asks for more
const LONGEST_WAIT = 15_000;

/** Yield {event, data} until the task has ended or the signal aborts; resume after interruptions. */
export async function* follow(taskId, signal) {
  let last = "";
  for (let failures = 0; ; ) {
    let response;
    try {
      response = await api.once(`tasks/${encodeURIComponent(taskId)}/stream`, { signal, headers: { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) } });
    } catch (error) {
      if (signal.aborted || (error instanceof ApiError && error.status < 500 && error.status !== 429)) throw error;
      failures += 1;
      await pause(error.retryAfter ? error.retryAfter * 1000 : Math.min(LONGEST_WAIT, 500 * 2 ** failures), signal, true);
      continue;
    }
    failures = 0;
    if (response.status === 204) return;
    for (const event of events(response.text)) {
      last = event.id || last;
      yield event;
      if (event.event === "ended") return;
    }
    await pause(Math.max(MIN_PAUSE, Number(/^retry: ?([0-9]{1,5})$/m.exec(response.text)?.[1]) || 0), signal);
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
