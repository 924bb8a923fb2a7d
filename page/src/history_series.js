// The series of a history: of one key, or the largest of all keys.

import { TOTAL } from "./table.js";

/** Most keys that are shown at once. */
export const MOST_LINES = 8;
/** Points that a page of an answer has at first. */
export const POINTS_PER_PAGE = 50_000;
/** Pages that are read before somebody has to ask for more. */
const PAGES_AT_ONCE = 4;
/** Pages of fewer points are not asked for. */
const LEAST_POINTS = 500;

/**
 * The largest keys by their last value, of an answer that comes in pages. It has the points of a page
 * and of the largest keys in memory, however many keys there are.
 */
export class LargestSeries {
  /** Keys of the last page, which may continue on the next one. */
  #open = new Map();
  /** The largest of the other keys, the largest first. */
  #largest = [];
  #total;
  #keys = 0;

  /** Takes the next page: an object from a key to its points. A key is in pages that follow each other. */
  take(series) {
    const open = new Map();
    for (const [key, points] of Object.entries(series)) {
      if (key === TOTAL) {
        this.#total = { key, points: [...(this.#total?.points ?? []), ...points].sort(byTime) };
        continue;
      }
      const before = this.#open.get(key);
      if (!before) this.#keys += 1;
      this.#open.delete(key);
      open.set(key, { key, points: [...(before?.points ?? []), ...points].sort(byTime) });
    }
    this.#largest = largest([...this.#largest, ...this.#open.values()]);
    this.#open = open;
  }

  /** What is known so far: `lines`, the largest first; `total`, if it was there; the number of `keys`. */
  get found() {
    const lines = largest([...this.#largest, ...this.#open.values()]);
    return { lines, total: this.#total, keys: this.#keys };
  }
}

function largest(series) {
  const last = ({ points }) => points.at(-1).value;
  return series.sort((a, b) => compare(last(b), last(a))).slice(0, MOST_LINES);
}

/** Compares numbers as the API writes them. Averages have a fraction, and no more digits than doubles. */
function compare(a, b) {
  const difference = Number(a) - Number(b);
  if (difference !== 0 || ![a, b].every((digits) => /^-?\d+$/.test(digits))) return difference;
  const [exactA, exactB] = [BigInt(a), BigInt(b)];
  return exactA < exactB ? -1 : Number(exactA > exactB);
}

/**
 * Reads pages from `page` on (the first, if it is empty) into `series`. `readPage(page, limit)` returns
 * the `series` and `next` of a page; a page that is too large is asked for with fewer points. Returns the
 * page that comes next, or "" after the last one.
 */
export async function readPages(series, page, readPage, onPage) {
  let limit = POINTS_PER_PAGE;
  for (let pages = 0; pages < PAGES_AT_ONCE; ) {
    try {
      const answer = await readPage(page, limit);
      series.take(answer.series);
      page = answer.next;
    } catch (error) {
      if (error.status !== 413 || limit / 4 < LEAST_POINTS) throw error;
      limit /= 4;
      continue;
    }
    if (!page) return "";
    pages += 1;
    onPage();
  }
  return page;
}

/** The rows of a table: a step with the value of each series, or undefined; the newest first. */
export function rowsOf(series) {
  const rows = new Map();
  series.forEach(({ points }, index) => {
    for (const { ts, step, value } of points) {
      const id = `${ts} ${step}`;
      if (!rows.has(id)) rows.set(id, { id, ts, step, values: Array(series.length).fill(undefined) });
      rows.get(id).values[index] = value;
    }
  });
  return [...rows.values()].sort((a, b) => byTime(b, a));
}

function byTime(a, b) {
  return Date.parse(a.ts) - Date.parse(b.ts);
}
