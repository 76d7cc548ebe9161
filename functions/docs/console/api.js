// The HTTP client of the API. The key is in this tab's session storage, never in a URL. Paths are relative, so any stage or domain works.

const KEY = "sluice.key";
const LONGEST_WAIT = 30_000;
const TRANSIENT = new Set([429, 500, 502, 503, 504]);
const BUDGET_EXHAUSTED = "budget_exhausted"; // a 429 until midnight, which is not retried
const TROUBLE = {
  throttled: "The service is limiting requests.",
  unavailable: "The service is temporarily unavailable.",
  offline: "No connection to the service.",
};

/** An error response: the problem document with its code, and how long to wait before a retry. */
export class ApiError extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.detail || problem.title || `The service responded with status ${status}`);
    this.status = status;
    this.code = problem.code || String(status);
    this.errors = problem.errors || [];
    this.retryAfter = retryAfter;
    this.isStopped = false; // whether the user has stopped the retries
  }

  get isTransient() {
    return TRANSIENT.has(this.status) && this.code !== BUDGET_EXHAUSTED;
  }
}

/** Send requests. Events: `trouble` (detail: {kind, text, until, canStop}), `clear`, and `refused` for a rejected key. */
class Api extends EventTarget {
  #pending = new Set(); // requests that are waiting for a retry
  skew = 0; // of the server's clock against the local one, in milliseconds

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

  /** Send a request once. Returns {status, text, headers}; throws ApiError, or TypeError without a connection. */
  async once(path, { method = "GET", body, headers = {}, signal, key = this.key } = {}) {
    const sent = Date.now();
    const response = await fetch(path, {
      method, body, signal, cache: "no-store", credentials: "omit", redirect: "error",
      headers: { ...headers, Authorization: `Bearer ${key}`, ...(body ? { "Content-Type": "application/json" } : {}) },
    });
    const text = await response.text();
    const date = Date.parse(response.headers.get("Date") || "");
    // The header has whole seconds, so smaller differences mean nothing.
    if (date && Math.abs(date - sent) > 2000) this.skew = date - sent;
    if (response.ok || response.status === 304) return { status: response.status, headers: response.headers, text };
    throw new ApiError(response.status, parsed(text), Number(response.headers.get("Retry-After")) || null);
  }

  /**
   * Send a request and retry it on transient errors until the user stops it; only for requests that are safe to repeat. With `quiet`
   * no events are dispatched.
   */
  call(path, options = {}) {
    const wait = { aborter: new AbortController(), canStop: options.method === "POST" };
    const response = this.#retry(path, options, wait).finally(() => this.#pending.delete(wait) && this.#dispatch());
    response.catch(error => !options.quiet && [401, 403].includes(error.status) && this.dispatchEvent(new Event("refused")));
    return response;
  }

  async #retry(path, options, wait) {
    const signal = AbortSignal.any([wait.aborter.signal, options.signal].filter(Boolean));
    for (let attempt = 0; ; attempt += 1) {
      try {
        const response = await this.once(path, { ...options, signal });
        return { ...response, body: response.text ? JSON.parse(response.text) : null };
      } catch (error) {
        if (signal.aborted || (error instanceof ApiError && !error.isTransient)) throw error;
        const delay = error.retryAfter ? error.retryAfter * 1000 : Math.min(LONGEST_WAIT, 1000 * 2 ** attempt) * (0.75 + Math.random() / 2);
        if (!options.quiet) this.#report(error, Date.now() + delay, wait);
        await pause(delay, signal, !(error instanceof ApiError));
      }
    }
  }

  /** Stop the retries of all POST requests: they fail with their last error. */
  stop() {
    for (const { aborter, canStop, why } of this.#pending) if (canStop) aborter.abort(Object.assign(why, { isStopped: true }));
  }

  #report(error, until, wait) {
    const kind = error instanceof ApiError ? (error.status === 429 ? "throttled" : "unavailable") : "offline";
    wait.why = error instanceof ApiError ? error : new ApiError(0, { detail: TROUBLE.offline });
    wait.notice = { kind, text: TROUBLE[kind], until };
    this.#pending.delete(wait);
    this.#pending.add(wait);
    this.#dispatch();
  }

  /** Dispatch the latest error that is still being retried. */
  #dispatch() {
    const waits = [...this.#pending];
    const detail = { ...waits.at(-1)?.notice, canStop: waits.some(each => each.canStop) };
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

/** Wait; with `untilOnline` a restored connection ends the wait early. */
export function pause(milliseconds, signal, untilOnline = false) {
  return new Promise((resolve, reject) => {
    const aborter = new AbortController();
    const timer = setTimeout(done, milliseconds);
    function done() {
      clearTimeout(timer);
      aborter.abort();
      resolve();
    }
    if (untilOnline) addEventListener("online", done, { signal: aborter.signal });
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      aborter.abort();
      reject(signal.reason);
    }, { signal: aborter.signal });
    if (signal?.aborted) reject(signal.reason);
  });
}

/** Return a new idempotency key. crypto.randomUUID needs HTTPS, which a local service has not. */
export const newIdempotencyKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), byte => byte.toString(16).padStart(2, "0")).join("");

export const api = new Api();
