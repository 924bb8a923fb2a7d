// The numbers of an answer, as a table. Names are in maps and never property names, since a name may
// be `__proto__`. Numbers are `BigInt`.

import { parseExactly } from "./exact_json.js";

export const TOTAL = "total";

/** The kinds in the order of columns. */
export const KINDS = new Map([
  ["counter", { one: "Counter", label: "Counters", hint: "Sums of counters and increments" }],
  [
    "gauge",
    {
      one: "Gauge or members",
      label: "Gauges and members",
      hint: "Gauges of the last complete period; numbers of unique members",
    },
  ],
  ["current", { one: "Gauge now", label: "Gauges now", hint: "Gauges so far in the current period" }],
]);

/**
 * The table of an answer in the format `rows`, which keeps the order of keys (objects would put `10`
 * before `9a`):
 * - `columns`: `{ id, kind, stat }`, by kind and name
 * - `keys`: `{ key, cells }` in the answer's order; `cells` has a number by a column's id
 * - `total`: cells, or undefined if the answer has no total
 */
export function tableOf(text) {
  const columns = new Map();
  const keys = new Map();
  for (const { key, kind, stat, value } of parseExactly(text)) {
    const id = `${kind}.${stat}`;
    columns.set(id, { id, kind, stat });
    if (!keys.has(key)) keys.set(key, { key, cells: new Map() });
    keys.get(key).cells.set(id, BigInt(value));
  }
  const total = keys.get(TOTAL)?.cells;
  keys.delete(TOTAL);
  return { columns: sorted(columns), keys: [...keys.values()], total };
}

function sorted(columns) {
  const kinds = [...KINDS.keys()];
  const compare = (a, b) =>
    kinds.indexOf(a.kind) - kinds.indexOf(b.kind) || (a.stat < b.stat ? -1 : Number(a.stat > b.stat));
  return [...columns.values()].sort(compare);
}

/**
 * How numbers move. It keeps the numbers of the answer before, of one dimension.
 */
export class Movement {
  #dim;
  #at = 0;
  #seen = new Map();

  /**
   * Takes a new answer. Returns what has moved since the one before: a map from a key to a map from a
   * column's id to `{ by, perMinute }`.
   */
  take(dim, table, at) {
    if (dim !== this.#dim) this.#seen = new Map();
    const minutes = (at - this.#at) / 60_000;
    const moved = new Map();
    const seen = new Map(table.keys.map(({ key, cells }) => [key, cells]));
    if (table.total) seen.set(TOTAL, table.total);
    for (const [key, cells] of seen) {
      const before = this.#seen.get(key);
      const ofKey = before && minutes > 0 ? moves(before, cells, minutes) : undefined;
      if (ofKey?.size) moved.set(key, ofKey);
    }
    this.#dim = dim;
    this.#at = at;
    this.#seen = seen;
    return moved;
  }

  /** Notes that nothing has changed. */
  rest(at) {
    this.#at = at;
  }
}

function moves(before, now, minutes) {
  const found = new Map();
  for (const [id, value] of now) {
    const old = before.get(id);
    if (old !== undefined && old !== value) {
      const by = value - old;
      found.set(id, { by, perMinute: Number(by) / minutes });
    }
  }
  return found;
}

/** How long the bar of a number is, from 0 to 1, where the largest has 1. */
export function shareOf(value, largest) {
  return largest === 0n ? 0 : Number((magnitude(value) * 10_000n) / largest) / 10_000;
}

export function largestOf(table, id) {
  const values = table.keys.map(({ cells }) => magnitude(cells.get(id) ?? 0n));
  return values.reduce((largest, value) => (value > largest ? value : largest), 0n);
}

function magnitude(value) {
  return value < 0n ? -value : value;
}
