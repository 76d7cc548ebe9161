// The calls. The key is in this tab's session storage and in no URL; addresses are relative, so any stage or domain will do.

const KEY = "sluice.key";
const LONGEST_WAIT = 30_000;
const TRANSIENT = new Set([429, 500, 502, 503, 504]);

/** An answer that is no success: problem+json with its code, and how long to wait. */
export class Refusal extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.detail || problem.title || `The service answered ${status}`);
    this.status = status;
    this.code = problem.code || String(status);
    this.errors = problem.errors || [];
    this.retryAfter = retryAfter;
  }
}

/** Speak to the API. Events: `trouble` (detail: {kind, text, until}), `clear`, and `refused` where the key is no good. */
class Api extends EventTarget {
  #troubled = false;
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

  /** Call until there is an answer that waiting would not change; only for what may be repeated. With `quiet` no event tells of it. */
  async call(path, options = {}) {
    for (let tries = 0; ; tries += 1) {
      try {
        const answer = await this.once(path, options);
        if (!options.quiet) this.#clear();
        return { ...answer, body: answer.text ? JSON.parse(answer.text) : null };
      } catch (error) {
        if (options.signal?.aborted) throw error;
        if (error instanceof Refusal && !TRANSIENT.has(error.status)) {
          if (options.quiet) throw error;
          this.#clear();
          if (error.status === 401 || error.status === 403) this.dispatchEvent(new CustomEvent("refused", { detail: error }));
          throw error;
        }
        const wait = error.retryAfter ? error.retryAfter * 1000 : Math.min(LONGEST_WAIT, 1000 * 2 ** tries) * (0.75 + Math.random() / 2);
        if (!options.quiet) this.#tell(error, Date.now() + wait);
        await pause(wait, options.signal, !(error instanceof Refusal));
      }
    }
  }

  #tell(error, until) {
    this.#troubled = true;
    const kind = error instanceof Refusal ? (error.status === 429 ? "throttled" : "unavailable") : "offline";
    const text = {
      throttled: "The service asks to slow down.",
      unavailable: "The service is not available at the moment.",
      offline: "There is no connection to the service.",
    }[kind];
    this.dispatchEvent(new CustomEvent("trouble", { detail: { kind, text, until } }));
  }

  #clear() {
    if (!this.#troubled) return;
    this.#troubled = false;
    this.dispatchEvent(new Event("clear"));
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
