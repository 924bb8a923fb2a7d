// What is looked at, and how the fragment of the page's URL says it. A fragment is not sent to any
// server, and so gets into no log.

/** All keys at once, in the place of the key of a history, as the API has it. */
export const ALL = "*";

/** Numbers of rows that a page of the table may have. */
export const ROWS = [10, 25, 50, 100, 500];
const DEFAULT_ROWS = 50;

/** Ranges of the history: what the API is asked for, in parameters of `/history`. */
export const RANGES = new Map([
  ["tiers", { label: "A year: hours, then days, then weeks", parameters: () => ({}) }],
  [
    "day",
    { label: "A day, by 10 minutes", parameters: (now) => ({ from: daysBefore(now, 1), step: "10m" }) },
  ],
  ["week", { label: "A week, by hours", parameters: () => ({ step: "1h" }) }],
  ["month", { label: "A month, by days", parameters: () => ({ step: "1d" }) }],
  ["year", { label: "A year, by weeks", parameters: () => ({ step: "1w" }) }],
]);

export const AGGREGATES = ["last", "min", "max", "avg"];

const SORT = /^(?:-?key|-?(?:counter|gauge|current)\..+)$/s;
const STAT_ID = /^(?:counter|gauge)\..+$/s;

// Rounded, so that whoever asks within the same 10 minutes asks the same.
function daysBefore(now, days) {
  return String(Math.floor(now / 1000 / 600) * 600 - days * 86_400);
}

/**
 * A view:
 * - `dim`: the dimension; empty for the first one
 * - `prefix`: what keys begin with; `stat`: the only stat that is shown, or empty for all
 * - `sort`, `rows`, `page`: as `sort`, `limit` and `page` of the API
 * - `total`: whether the total is wanted even if the whole dimension has to be read for it
 * - `of`: the key whose history is shown (`total` for the sum of all, `*` for all keys), or
 *   empty for none
 * - `history`: the stat whose history is shown, such as `counter.hits`; `range`, `aggregate`
 */
export const DEFAULT_VIEW = Object.freeze({
  dim: "",
  prefix: "",
  stat: "",
  sort: "key",
  rows: DEFAULT_ROWS,
  page: "",
  total: false,
  of: "",
  history: "",
  range: "tiers",
  aggregate: "last",
});

/** The view of a fragment. What is not valid in it is left out. */
export function viewOf(fragment) {
  const given = new URLSearchParams(fragment.replace(/^#/, ""));
  const text = (name) => given.get(name) ?? "";
  const valid = (name, is) => (is(text(name)) ? text(name) : DEFAULT_VIEW[name]);
  return {
    dim: text("dim"),
    prefix: text("prefix"),
    stat: text("stat"),
    sort: valid("sort", (sort) => SORT.test(sort)),
    rows: ROWS.find((rows) => String(rows) === text("rows")) ?? DEFAULT_ROWS,
    page: text("page"),
    total: text("total") === "true",
    of: text("of"),
    history: valid("history", (id) => STAT_ID.test(id)),
    range: valid("range", (range) => RANGES.has(range)),
    aggregate: valid("aggregate", (name) => AGGREGATES.includes(name)),
  };
}

/** The fragment of a view, with its `#`. */
export function fragmentOf(view) {
  const parts = new URLSearchParams();
  for (const [name, value] of Object.entries(DEFAULT_VIEW)) {
    if (view[name] !== value) parts.set(name, String(view[name]));
  }
  return `#${parts}`;
}

/** The view after a change. What the old page and the old history belonged to is left. */
export function changed(view, change) {
  const next = { ...view, ...change };
  const isOther = (...names) => names.some((name) => next[name] !== view[name]);
  if (isOther("dim")) {
    Object.assign(next, {
      prefix: "",
      stat: "",
      sort: "key",
      total: false,
      of: "",
      history: "",
      ...change,
    });
  }
  if (isOther("dim", "prefix", "stat", "sort", "rows") && !("page" in change)) next.page = "";
  return next;
}

/** The parameters of the API that the table of a view is asked for with, but for the format. */
export function tableParameters(view) {
  const parameters = [["limit", String(view.rows)]];
  if (view.prefix) parameters.push(["prefix", view.prefix]);
  if (view.stat) parameters.push(["stat", view.stat]);
  if (view.sort !== "key") parameters.push(["sort", view.sort]);
  if (view.page) parameters.push(["page", view.page]);
  if (view.total) parameters.push(["total", "true"]);
  return parameters;
}

export function tablePath(view) {
  return `stats/${encodeURIComponent(view.dim)}`;
}

/** The path of the history of a view, or none if a browser can't ask for it. */
export function historyPath(view) {
  const [kind, stat] = splitId(view.history);
  // Browsers take these for steps in a path, however they are encoded.
  if (view.of === "." || view.of === "..") return undefined;
  return ["history", view.dim, view.of, kind, stat]
    .map((part, index) => (index === 0 ? part : encodeURIComponent(part)))
    .join("/");
}

export function historyParameters(view, now) {
  const parameters = Object.entries(RANGES.get(view.range).parameters(now));
  if (view.aggregate !== "last") parameters.push(["aggregate", view.aggregate]);
  return parameters;
}

/** The kind and the stat of an id such as `counter.hits`. */
export function splitId(id) {
  const dot = id.indexOf(".");
  return [id.slice(0, dot), id.slice(dot + 1)];
}
