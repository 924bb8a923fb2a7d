// The client of the API. The token goes into the header and nowhere else.

const TOKEN_KEY = "statshub-token";
/** A request of the service ends after 25 seconds. */
const LONGEST_MILLISECONDS = 40_000;

/** Why there is no answer. `status` is 0 if the service can't be reached. */
export class ApiError extends Error {
  constructor(status, text, retryAfter) {
    super(text);
    this.status = status;
    /** Seconds after which a new attempt may succeed, if the service names them. */
    this.retryAfter = retryAfter;
  }
}

/** The form of a token: `b64token` of RFC 6750. */
export const IS_TOKEN = /^[A-Za-z0-9\-._~+/]+=*$/;

/** Where a browser allows no storage, a token is kept until the page is loaded again. */
let inMemory = "";

/** The token, which is kept as long as the tab. Empty if there is none. */
export const token = {
  get() {
    try {
      return sessionStorage.getItem(TOKEN_KEY) ?? inMemory;
    } catch {
      return inMemory;
    }
  },
  set(value) {
    inMemory = value;
    try {
      if (value) sessionStorage.setItem(TOKEN_KEY, value);
      else sessionStorage.removeItem(TOKEN_KEY);
    } catch {
      // It is in memory.
    }
  },
};

/** The URL of a path of the API, which is where the page is. */
export function urlOf(path, parameters = []) {
  const url = new URL(path, new URL(".", location.href));
  url.hash = "";
  url.search = new URLSearchParams(parameters);
  return url.href;
}

/**
 * Asks for something. Returns `{ text, etag, next, units }`, or undefined if the answer is still the one
 * with this `etag`. Nothing is left in the browser's cache.
 */
export async function ask(path, parameters, { etag, signal } = {}) {
  const headers = {};
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  if (etag) headers["If-None-Match"] = etag;
  const longest = AbortSignal.timeout(LONGEST_MILLISECONDS);
  const request = {
    headers,
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
    signal: signal ? AbortSignal.any([signal, longest]) : longest,
  };
  let answer, text;
  try {
    answer = await fetch(urlOf(path, parameters), request);
    text = await answer.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "The service can't be reached.");
  }
  if (answer.status === 304) return undefined;
  if (!answer.ok) throw failure(answer, text);
  const header = (name) => answer.headers.get(name) ?? "";
  const units = Number(/read=(\d+(?:\.\d+)?)/.exec(header("X-Statshub-Units"))?.[1] ?? 0);
  return { text, etag: header("ETag"), next: header("X-Statshub-Next"), units };
}

function failure(answer, text) {
  const retryAfter = Number(answer.headers.get("Retry-After")) || undefined;
  return new ApiError(
    answer.status,
    errorText(text) || `The answer has the status ${answer.status}.`,
    retryAfter,
  );
}

function errorText(text) {
  try {
    const { Error: ofService, message: ofGateway } = JSON.parse(text);
    return ofService || ofGateway;
  } catch {
    return undefined;
  }
}
