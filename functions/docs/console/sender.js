// The calls that send many items. Each has a key of its own, so that a repeat after an interruption starts nothing twice.

import { api, freshKey, Refusal } from "./api.js";
import { calls } from "./inputs.js";

const PLACE = /^\/(?:prompts|inputs)\/(\d+)(?:\/(.*))?$/;

export class Sender {
  #keys = new Map();
  sending = null;

  constructor({ sent }) {
    this.sent = sent;
    addEventListener("beforeunload", event => this.sending && event.preventDefault());
  }

  /**
   * Send items, a call after another: `body` makes a call's body of its items, `shown` the text that stands for one, and `told` is called
   * before each. Where a call is refused this returns {error, items, done}: what it held, and how many items went before it.
   * The same calls again, as after such a refusal, have the same keys until all of them are accepted, whatever is sent in between.
   */
  async send(path, items, { body, shown, told }) {
    this.sending = { done: 0, all: items.length };
    const made = [];
    let run = null;
    let open = null;
    try {
      for (open of calls(items)) {
        told(this.sending);
        const text = JSON.stringify(body(open.map(({ item }) => item)));
        // With its place: two calls of one file may be alike, and are two.
        const call = `${this.sending.done} ${path} ${text}`;
        made.push(call);
        if (!this.#keys.has(call)) this.#keys.set(call, freshKey());
        const { body: answer } = await api.call(path, { method: "POST", body: text, headers: { "Idempotency-Key": this.#keys.get(call) } });
        this.sending.done += open.length;
        run = this.sent(run, answer, open.map(({ item }) => shown(item)), this.sending);
      }
      for (const call of made) this.#keys.delete(call);
      return null;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      // What was accepted is kept; what was not is told in the form.
      location.hash = "#";
      return { error, items: open, done: this.sending.done };
    } finally {
      this.sending = null;
      if (run) this.sent(run, null, [], null);
    }
  }
}

/** Find what an error of the API is about: {item, field, detail}, of the items of the call and the steps within one. */
export function placed({ pointer, detail }, items) {
  const [, place, field = ""] = PLACE.exec(pointer || "") || [];
  return { item: place === undefined ? null : items[Number(place)], field: field.split("/").map(step => step.replaceAll("~1", "/").replaceAll("~0", "~")), detail };
}
