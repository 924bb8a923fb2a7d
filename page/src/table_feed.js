// Keeps a table fresh: asks for it, again every 30 seconds while the page is visible, and notes how its
// numbers move.

import { ApiError, ask } from "./api.js";
import { Movement, tableOf } from "./table.js";

const INTERVAL = 30_000;
/** An open page should not read more units than this in an interval: then it asks less often. */
const UNITS_PER_INTERVAL = 100;
const LONGEST_INTERVAL = 86_400_000;

/** How long to wait before a question that cost so many units is asked again, in milliseconds. */
export function intervalOf(units) {
  return Math.min(INTERVAL * Math.max(1, units / UNITS_PER_INTERVAL), LONGEST_INTERVAL);
}

/**
 * A state of the feed:
 * - `question`: what is asked for; `isLoading`: whether a new question has no answer yet
 * - `table`, `next`, `units`, `at`: the last answer; `answered`: the question that it belongs to
 * - `moved`: what has moved since the answer before
 * - `error`: why the last attempt failed, if it did; `retryAt`: when the next one comes
 */
const NOTHING = { isLoading: false, moved: new Map() };

export class TableFeed {
  #state = NOTHING;
  #notify;
  #movement = new Movement();
  #etag = "";
  #abort;
  #timer;
  #dueAt = Infinity;
  #isAutomatic = true;

  constructor(notify) {
    this.#notify = notify;
    document.addEventListener("visibilitychange", this.#wake);
  }

  /** Asks for another table. `question` is `{ dim, path, parameters }`. */
  show(question) {
    const { question: before, table } = this.#state;
    if (before && JSON.stringify(before) === JSON.stringify(question)) return;
    this.#etag = "";
    const kept = before?.dim === question.dim ? this.#state : NOTHING;
    const isLoading = true;
    this.#change({ ...kept, table: kept === NOTHING ? undefined : table, question, isLoading });
    this.refresh();
  }

  /** Asks again now. */
  async refresh() {
    const { question } = this.#state;
    if (!question) return;
    this.#abort?.abort();
    clearTimeout(this.#timer);
    const abort = (this.#abort = new AbortController());
    const options = { etag: this.#etag, signal: abort.signal };
    try {
      const parameters = [...question.parameters, ["format", "rows"]];
      const answer = await ask(question.path, parameters, options);
      if (!abort.signal.aborted) this.#take(question, answer);
    } catch (error) {
      if (!abort.signal.aborted) this.#fail(error);
    }
  }

  /** Whether to ask again by itself. */
  set isAutomatic(isAutomatic) {
    this.#isAutomatic = isAutomatic;
    this.#wake();
  }

  stop() {
    this.#abort?.abort();
    clearTimeout(this.#timer);
    document.removeEventListener("visibilitychange", this.#wake);
  }

  #take(question, answer) {
    const at = Date.now();
    const fresh = { at, error: undefined, isLoading: false };
    if (answer) {
      const table = tableOf(answer.text);
      const moved = this.#movement.take(question.dim, table, at);
      this.#etag = answer.etag;
      const { next, units } = answer;
      this.#change({ ...this.#state, ...fresh, table, moved, next, units, answered: question });
    } else {
      this.#movement.rest(at);
      this.#change({ ...this.#state, ...fresh, moved: new Map() });
    }
    this.#schedule(intervalOf(this.#state.units));
  }

  #fail(error) {
    const known = error instanceof ApiError ? error : new ApiError(undefined, String(error));
    const wait = known.retryAfter ? known.retryAfter * 1000 : INTERVAL;
    this.#change({ ...this.#state, error: known, isLoading: false, retryAt: Date.now() + wait });
    // What is refused will be refused again.
    const mayPass = known.status === 0 || known.status === 429 || known.status >= 500;
    this.#schedule(mayPass ? wait : Infinity);
  }

  #schedule(wait) {
    this.#dueAt = Date.now() + wait;
    this.#wake();
  }

  // A page that nobody sees asks nothing, and asks at once when it is seen again and something is due.
  #wake = () => {
    clearTimeout(this.#timer);
    const isWanted = this.#isAutomatic && document.visibilityState === "visible";
    if (!isWanted || this.#dueAt === Infinity) return;
    this.#timer = setTimeout(() => this.refresh(), Math.max(0, this.#dueAt - Date.now()));
  };

  #change(state) {
    this.#state = state;
    this.#notify(state);
  }
}
