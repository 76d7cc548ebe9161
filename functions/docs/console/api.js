// The calls. The key is in this tab's session storage and in no URL; addresses are relative, so any stage or domain will do.

const KEY = "sluice.key";
const LONGEST_WAIT = 30_000;
const TRANSIENT = new Set([429, 500, 502, 503, 504]);
const TOMORROW = "budget_exhausted"; // a 429 until midnight: nobody waits for that
const TROUBLE = {
  throttled: "The service asks to slow down.",
  unavailable: "The service is not available at the moment.",
  offline: "There is no connection to the service.",
};

/** An answer that is no success: problem+json with its code, and how long to wait. */
export class Refusal extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.detail || problem.title || `The service answered ${status}`);
    this.status = status;
    this.code = problem.code || String(status);
    this.errors = problem.errors || [];
    this.retryAfter = retryAfter;
    this.isStopped = false; // whether it was waited out no longer, because somebody said so
  }

  get isPassing() {
    return TRANSIENT.has(this.status) && this.code !== TOMORROW;
  }
}

/** Speak to the API. Events: `trouble` (detail: {kind, text, until, canStop}), `clear`, and `refused` where the key is no good. */
class Api extends EventTarget {
  #waits = new Set(); // calls that were answered by trouble so far
  skew = 0; // of the server's clock against ours, milliseconds

  get key() {
    return sessionStorage.getItem(KEY) || "";
  }

  set key(value) {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  }

  now() {
    return Date.now() + this.skew;
  }

  /** Call once. Returns {status, body, headers}; raises Refusal, or TypeError without a connection. */
  async once(path, { method = "GET", body, headers = {}, signal, key = this.key } = {}) {
    const sent = Date.now();
    const answer = await fetch(path, {
      method, body, signal, cache: "no-store", credentials: "omit", redirect: "error",
      headers: { ...headers, Authorization: `Bearer ${key}`, ...(body ? { "Content-Type": "application/json" } : {}) },
    });
    const text = await answer.text();
    const date = Date.parse(answer.headers.get("Date") || "");
    // The header counts whole seconds, so a smaller difference is none.
    if (date && Math.abs(date - sent) > 2000) this.skew = date - sent;
    if (answer.ok || answer.status === 304) return { status: answer.status, headers: answer.headers, text };
    throw new Refusal(answer.status, parsed(text), Number(answer.headers.get("Retry-After")) || null);
  }

  /**
   * Call until there is an answer that waiting would not change, or until somebody stops it; only for what may be repeated. With `quiet`
   * no event tells of it.
   */
  call(path, options = {}) {
    const wait = { ends: new AbortController(), canStop: options.method === "POST" };
    const answer = this.#insist(path, options, wait).finally(() => this.#waits.delete(wait) && this.#say());
    answer.catch(error => !options.quiet && [401, 403].includes(error.status) && this.dispatchEvent(new Event("refused")));
    return answer;
  }

  async #insist(path, options, wait) {
    const signal = AbortSignal.any([wait.ends.signal, options.signal].filter(Boolean));
    for (let tries = 0; ; tries += 1) {
      try {
        const answer = await this.once(path, { ...options, signal });
        return { ...answer, body: answer.text ? JSON.parse(answer.text) : null };
      } catch (error) {
        if (signal.aborted || (error instanceof Refusal && !error.isPassing)) throw error;
        const delay = error.retryAfter ? error.retryAfter * 1000 : Math.min(LONGEST_WAIT, 1000 * 2 ** tries) * (0.75 + Math.random() / 2);
        if (!options.quiet) this.#tell(error, Date.now() + delay, wait);
        await pause(delay, signal, !(error instanceof Refusal));
      }
    }
  }

  /** Try no longer what was to be sent or done: it ends as refused for what it waited for. */
  stop() {
    for (const { ends, canStop, why } of this.#waits) if (canStop) ends.abort(Object.assign(why, { isStopped: true }));
  }

  #tell(error, until, wait) {
    const kind = error instanceof Refusal ? (error.status === 429 ? "throttled" : "unavailable") : "offline";
    wait.why = error instanceof Refusal ? error : new Refusal(0, { detail: TROUBLE.offline });
    wait.told = { kind, text: TROUBLE[kind], until };
    this.#waits.delete(wait);
    this.#waits.add(wait);
    this.#say();
  }

  /** Tell of the latest trouble that is left. */
  #say() {
    const waits = [...this.#waits];
    const detail = { ...waits.at(-1)?.told, canStop: waits.some(each => each.canStop) };
    this.dispatchEvent(waits.length ? new CustomEvent("trouble", { detail }) : new Event("clear"));
  }
}

function parsed(text) {
  try {
    return JSON.parse(text) || {};
  } catch {
    return {};
  }
}

/** Wait; a connection that comes back ends it early where that was the trouble. */
export function pause(milliseconds, signal, untilOnline = false) {
  return new Promise((resolve, reject) => {
    const ends = new AbortController();
    const timer = setTimeout(done, milliseconds);
    function done() {
      clearTimeout(timer);
      ends.abort();
      resolve();
    }
    if (untilOnline) addEventListener("online", done, { signal: ends.signal });
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      ends.abort();
      reject(signal.reason);
    }, { signal: ends.signal });
    if (signal?.aborted) reject(signal.reason);
  });
}

/** Make an Idempotency-Key. crypto.randomUUID is there on https alone, and a laptop has none. */
export const freshKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), byte => byte.toString(16).padStart(2, "0")).join("");

export const api = new Api();
