// Send items in several requests. Each has its own idempotency key, so that a retry creates no task twice.

import { api, newIdempotencyKey, ApiError } from "./api.js";
import { splitIntoRequests } from "./inputs.js";

const PLACE = /^\/(?:prompts|inputs)\/(\d+)(?:\/(.*))?$/;

export class Sender {
  #keys = new Map();
  sending = null;

  constructor({ sent }) {
    this.sent = sent;
    addEventListener("beforeunload", event => this.sending && event.preventDefault());
  }

  /**
   * Send items, one request after another: `body` builds a request body, `shown` the text of an item, and `onProgress` is called
   * before each request. If a request is rejected, this returns {error, items, done}: its items, and the number of items before it.
   * Repeated requests have the same keys until all requests of the run are accepted.
   */
  async send(path, items, { body, shown, onProgress }) {
    this.sending = { done: 0, all: items.length };
    const requests = [];
    let run = null;
    let chunk = null;
    try {
      for (chunk of splitIntoRequests(items)) {
        onProgress(this.sending);
        const text = JSON.stringify(body(chunk.map(({ item }) => item)));
        // The position distinguishes two identical requests of one file.
        const call = `${this.sending.done} ${path} ${text}`;
        requests.push(call);
        if (!this.#keys.has(call)) this.#keys.set(call, newIdempotencyKey());
        const { body: response } = await api.call(path, { method: "POST", body: text, headers: { "Idempotency-Key": this.#keys.get(call) } });
        this.sending.done += chunk.length;
        run = this.sent(run, response, chunk.map(({ item }) => shown(item)), this.sending);
      }
      for (const call of requests) this.#keys.delete(call);
      return null;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      // The accepted tasks stay; the form shows the error of the rest.
      location.hash = "#";
      return { error, items: chunk, done: this.sending.done };
    } finally {
      this.sending = null;
      if (run) this.sent(run, null, [], null);
    }
  }
}

/** Locate an error of the API in the items of a request: {item, field, detail}; `field` is the path within the item. */
export function locate({ pointer, detail }, items) {
  const [, place, field = ""] = PLACE.exec(pointer || "") || [];
  return { item: place === undefined ? null : items[Number(place)], field: field.split("/").map(step => step.replaceAll("~1", "/").replaceAll("~0", "~")), detail };
}
