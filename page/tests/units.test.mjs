// The parts of the page that need no browser.

import assert from "node:assert/strict";
import test from "node:test";

import { parseExactly } from "../src/exact_json.js";
import { LargestSeries, MOST_LINES, POINTS_PER_PAGE, readPages, rowsOf } from "../src/history_series.js";
import { Movement, largestOf, shareOf, tableOf } from "../src/table.js";
import { csv, curl, decimal, difference, integer, tableCsv } from "../src/text.js";
import {
  ALL,
  DEFAULT_VIEW,
  changed,
  fragmentOf,
  historyParameters,
  historyPath,
  tableParameters,
  viewOf,
} from "../src/view.js";

const NINES = "9".repeat(38);

test("numbers keep all their digits, and strings are left as they are", () => {
  for (const digits of ["0", "-0", "9007199254740993", NINES, `-${NINES}`, "1.50", "1e400"]) {
    assert.equal(parseExactly(`{"a":[${digits}]}`).a[0], digits);
  }
  for (const text of ["", "12", "a 12 b", '"', "\\", '\\"5', "\u2028", "🦀7", "-1.5e3", '":1,"']) {
    const json = JSON.stringify([{ [text]: text }, 1]);
    assert.deepEqual(parseExactly(json), [{ [text]: text }, "1"]);
  }
  assert.deepEqual(parseExactly(`[true,null,"${"\\\\".repeat(3)}",-7]`), [true, null, "\\\\\\", "-7"]);
  assert.throws(() => parseExactly('{"a":'));
});

test("a table has the order of the answer, whatever names look like", () => {
  const names = ["10", "9", "__proto__", "constructor", "toString", "<b>", "\u202eabc"];
  const answer = names.map((key, index) => ({
    dim: "d",
    key,
    kind: "counter",
    stat: "__proto__",
    value: index,
  }));
  const table = tableOf(
    JSON.stringify([...answer, { dim: "d", key: "total", kind: "counter", stat: "__proto__", value: 21 }]),
  );
  assert.deepEqual(
    table.keys.map(({ key }) => key),
    names,
  );
  assert.deepEqual(
    table.keys.map(({ cells }) => cells.get("counter.__proto__")),
    [0n, 1n, 2n, 3n, 4n, 5n, 6n],
  );
  assert.equal(table.total.get("counter.__proto__"), 21n);
  assert.equal({}.polluted, undefined);
  assert.equal(tableOf("[]").total, undefined);
});

test("columns are sorted by kind and name", () => {
  const cells = [
    ["current", "a"],
    ["gauge", "b"],
    ["counter", "z"],
    ["counter", "a"],
  ];
  const rows = cells.map(([kind, stat]) => ({ dim: "d", key: "k", kind, stat, value: 1 }));
  const ids = tableOf(JSON.stringify(rows)).columns.map(({ id }) => id);
  assert.deepEqual(ids, ["counter.a", "counter.z", "gauge.b", "current.a"]);
});

test("what moves is the exact difference, and its rate", () => {
  const table = (value) => tableOf(`[{"dim":"d","key":"k","kind":"counter","stat":"x","value":${value}}]`);
  const movement = new Movement();
  assert.equal(movement.take("d", table(NINES), 0).size, 0);
  const down = movement
    .take("d", table(`${NINES.slice(0, -1)}7`), 30_000)
    .get("k")
    .get("counter.x");
  assert.deepEqual(down, { by: -2n, perMinute: -4 });
  movement.rest(60_000);
  const up = movement.take("d", table(NINES), 120_000).get("k").get("counter.x");
  assert.deepEqual(up, { by: 2n, perMinute: 2 });
  assert.equal(movement.take("d", table(NINES), 150_000).size, 0);
  assert.equal(movement.take("other", table(1), 180_000).size, 0);
});

test("bars have the share of the largest number", () => {
  const table = tableOf(
    `[{"key":"a","kind":"counter","stat":"x","value":-${NINES}},{"key":"b","kind":"counter","stat":"x","value":5}]`,
  );
  assert.equal(largestOf(table, "counter.x"), BigInt(NINES));
  assert.equal(shareOf(BigInt(`-${NINES}`), BigInt(NINES)), 1);
  assert.equal(shareOf(5n, 10n), 0.5);
  assert.equal(shareOf(0n, 0n), 0);
});

test("numbers are written with all their digits", () => {
  assert.equal(integer(BigInt(NINES)), `99,${"999,".repeat(11)}999`);
  assert.equal(decimal("12345.250"), "12,345.250");
  assert.equal(decimal("-5"), "-5");
  assert.equal(difference(5n) + difference(-1234n), "+5−1,234");
});

test("CSV quotes what has to be quoted, and what spreadsheets would run", () => {
  assert.equal(
    csv([["a", 'b"c', "d,e", "f\ng", -5n, "=1+1", "-x", "@y"]]),
    `a,"b""c","d,e","f\ng",-5,'=1+1,'-x,'@y\r\n`,
  );
  const table = tableOf(
    `[{"key":"k","kind":"counter","stat":"x","value":${NINES}},{"key":"total","kind":"counter","stat":"x","value":1}]`,
  );
  assert.equal(tableCsv(table), `key,counter x\r\nk,${NINES}\r\ntotal,1\r\n`);
});

test("a command is quoted for the shell, and has no token", () => {
  assert.equal(curl("https://a/b?c='d'", false), `curl 'https://a/b?c='\\''d'\\'''`);
  assert.equal(curl("https://a", true), `curl -H "Authorization: Bearer $STATSHUB_TOKEN" 'https://a'`);
});

test("a view goes into a URL and comes back", () => {
  assert.equal(fragmentOf(DEFAULT_VIEW), "#");
  const view = {
    dim: "größe x",
    prefix: "&=#% +é",
    stat: "__proto__",
    sort: "-counter.a",
    rows: 100,
    page: "abc_-",
    total: true,
    of: "<img src=x onerror=alert(1)>",
    history: "gauge.b",
    range: "week",
    aggregate: "avg",
  };
  assert.deepEqual(viewOf(fragmentOf(view)), view);
});

test("what is not valid in a URL is left out", () => {
  const wrong = "#sort=size&rows=7&history=current.x&range=ever&aggregate=sum&total=1&unknown=1&__proto__=1";
  assert.deepEqual(viewOf(wrong), { ...DEFAULT_VIEW });
  assert.deepEqual(viewOf("#%FF&dim=%zz"), { ...DEFAULT_VIEW, dim: "%zz" });
});

test("another question starts on the first page, and another dimension anew", () => {
  const view = {
    ...DEFAULT_VIEW,
    dim: "a",
    page: "p",
    sort: "-counter.x",
    rows: 10,
    of: "k",
    history: "counter.x",
  };
  assert.equal(changed(view, { sort: "key" }).page, "");
  assert.equal(changed(view, { of: "j" }).page, "p");
  assert.equal(changed(view, { page: "q" }).page, "q");
  assert.deepEqual(changed(view, { dim: "b" }), { ...DEFAULT_VIEW, dim: "b", rows: 10 });
});

test("the API is asked for a page, and for what else is wanted", () => {
  assert.deepEqual(tableParameters(DEFAULT_VIEW), [["limit", "50"]]);
  const view = {
    ...DEFAULT_VIEW,
    dim: "a b",
    prefix: "x",
    stat: "s",
    sort: "-gauge.g",
    page: "p",
    total: true,
  };
  const parameters = [
    ["limit", "50"],
    ["prefix", "x"],
    ["stat", "s"],
    ["sort", "-gauge.g"],
    ["page", "p"],
    ["total", "true"],
  ];
  assert.deepEqual(tableParameters(view), parameters);
});

test("names in paths are encoded, and a browser can't ask for dots", () => {
  const view = { ...DEFAULT_VIEW, dim: "a b", history: "counter.x.y" };
  assert.equal(historyPath({ ...view, of: "a/b?c#d%" }), "history/a%20b/a%2Fb%3Fc%23d%25/counter/x.y");
  assert.equal(historyPath({ ...view, of: ".." }), undefined);
  assert.equal(historyPath({ ...view, of: ALL }), "history/a%20b/*/counter/x.y");
});

test("the history of a day is the same question for 10 minutes", () => {
  const view = { ...DEFAULT_VIEW, range: "day", aggregate: "max" };
  const at = (now) => historyParameters(view, now * 1000);
  assert.deepEqual(at(1_795_519_800), [
    ["from", "1795433400"],
    ["step", "10m"],
    ["aggregate", "max"],
  ]);
  assert.deepEqual(at(1_795_520_399), at(1_795_519_800));
  assert.deepEqual(historyParameters(DEFAULT_VIEW, 0), []);
});

const HOUR = 3_600_000;
const point = (hour, value) => ({
  ts: new Date(hour * HOUR).toISOString().replace(".000", ""),
  step: "3600",
  value: String(value),
});

/** The pages of an answer with `size` points each, as `parseExactly` returns them. */
function pagesOf(keys, size) {
  const points = keys.flatMap(([key, values]) => values.map((value, hour) => [key, point(hour, value)]));
  const pages = [];
  while (points.length > 0) {
    const series = new Map();
    for (const [key, it] of points.splice(0, size)) series.set(key, [...(series.get(key) ?? []), it]);
    const json = [...series].map(([key, found]) => `${JSON.stringify(key)}:${JSON.stringify(found)}`);
    pages.push(JSON.parse(`{${json.join(",")}}`));
  }
  return pages;
}

test("the largest keys are the same however an answer is cut into pages", () => {
  const big = 2n ** 53n;
  const keys = Array.from({ length: 40 }, (_, index) => {
    const last = big + BigInt((index * 17) % 40);
    return [`key ${String(index).padStart(2, "0")}`, [big * 100n, last - 1n, last]];
  });
  keys.splice(5, 0, ["5", [1, 2, 3]], ["__proto__", [1, 2, big * 2n]]);
  keys.push(["total", [7, 8, 9]]);
  const expected = keys
    .filter(([key]) => key !== "total")
    .toSorted(([, a], [, b]) => (a[2] < b[2] ? 1 : -1))
    .slice(0, MOST_LINES)
    .map(([key, values]) => [key, values.map(String)]);
  assert.equal(expected[0][0], "__proto__");
  for (const size of [1, 2, 3, 4, 7, 50, 1000]) {
    const series = new LargestSeries();
    for (const page of pagesOf(keys, size)) series.take(page);
    const { lines, total, keys: count } = series.found;
    const found = lines.map(({ key, points }) => [key, points.map(({ value }) => value)]);
    assert.deepEqual(found, expected, `pages of ${size}`);
    assert.deepEqual(
      total.points.map(({ value }) => value),
      ["7", "8", "9"],
    );
    assert.equal(count, 42);
  }
});

test("averages and negative numbers are compared as numbers", () => {
  const series = new LargestSeries();
  const values = ["-3", "10.5", "9", "1e30", "-2.5"];
  series.take(Object.fromEntries(values.map((value) => [`k${value}`, [point(0, value)]])));
  assert.deepEqual(
    series.found.lines.map(({ points }) => points[0].value),
    ["1e30", "10.5", "9", "-2.5", "-3"],
  );
});

test("no more than four pages are read at once, and one that is too large is read in parts", async () => {
  const asked = [];
  const series = new LargestSeries();
  const readPage = async (page, limit) => {
    asked.push([page, limit]);
    if (page === "p1" && limit === POINTS_PER_PAGE) throw Object.assign(new Error(), { status: 413 });
    const number = Number(page.slice(1));
    return { series: { [`key ${number}`]: [point(0, number)] }, next: number < 5 ? `p${number + 1}` : "" };
  };
  assert.equal(await readPages(series, "", readPage, () => {}), "p4");
  const small = POINTS_PER_PAGE / 4;
  assert.deepEqual(asked, [
    ["", POINTS_PER_PAGE],
    ["p1", POINTS_PER_PAGE],
    ["p1", small],
    ["p2", small],
    ["p3", small],
  ]);
  assert.equal(await readPages(series, "p4", readPage, () => {}), "");
  assert.equal(series.found.keys, 6);

  const refuse = async () => Promise.reject(Object.assign(new Error("too large"), { status: 413 }));
  await assert.rejects(readPages(series, "", refuse, () => {}), /too large/);
});

test("a row has what all series have of a step, the newest first", () => {
  const rows = rowsOf([
    { key: "a", points: [point(0, 1), point(2, 3)] },
    { key: "b", points: [point(1, 5), point(2, 6)] },
  ]);
  assert.deepEqual(
    rows.map(({ ts, values }) => [ts.slice(11, 13), values]),
    [
      ["02", ["3", "6"]],
      ["01", [undefined, "5"]],
      ["00", ["1", undefined]],
    ],
  );
});
