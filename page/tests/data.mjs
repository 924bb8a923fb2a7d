// What is counted in the services that the tests look at.

import { dynamodb, open, report, sql } from "./support.mjs";

export const NINES = "9".repeat(38);

/** Keys that look like markup, like properties of objects, like formulas, or go from right to left. */
export const ODD_KEYS = [
  "<img src=x onerror=alert(1)>",
  "__proto__",
  "constructor",
  "مرحبا بالعالم",
  "\u202eevil\u202c",
  "🦀 crab",
  "=1+1",
  "a/b?c#d%20e",
  "9",
  "10",
  "x".repeat(1024),
];

const COUNTRIES = ["de", "es", "fr", "gb", "in", "it", "jp", "us"];

/** Two hours of reports of some countries, with every kind of stat. */
export async function countCountries() {
  const updates = COUNTRIES.map((country, index) => ({
    id: `device-${country}`,
    dims: { country, version: index % 2 ? "2.1" : "2.0" },
    counters: { sentBytes: 48_000 * (index + 3) ** 2, starts: 17 * (index + 1) },
    gauges: { openTabs: 12 + index },
    multiMembers: { users: Array.from({ length: 3 + index }, (_, user) => `${country}-${user}`) },
  }));
  await report(open, updates);
}

export async function countOddNames() {
  const updates = ODD_KEYS.map((key, index) => ({
    id: `odd-${index}`,
    dims: { odd_names: key },
    counters: { hits: index + 1 },
  }));
  // An object literal has no own `__proto__`; JSON does.
  const lines = updates.map((update, index) =>
    JSON.stringify(update).replace('"hits"', `"__proto__":${index},"hits"`),
  );
  const answer = await fetch(`${open}/stats`, { method: "POST", body: lines.join("\n") });
  const { Succeeded, Error: error } = await answer.json();
  if (!Succeeded) throw new Error(error);
}

/** A sum of 38 digits, which would take more reports than there is time for. */
export async function countBigSums() {
  await report(open, [
    { id: "big", dims: { big_sums: "most" }, counters: { x: 1 } },
    { id: "small", dims: { big_sums: "least" }, counters: { x: 2 } },
  ]);
  for (const [key, value] of [
    ["most", NINES],
    ["least", "-12345678901234567890123456789012345678"],
  ]) {
    await dynamodb("UpdateItem", {
      TableName: "statshub",
      Key: { pk: { S: "dim#big_sums#0" }, sk: { S: key } },
      UpdateExpression: "SET #c = :c",
      ExpressionAttributeNames: { "#c": "c:x" },
      ExpressionAttributeValues: { ":c": { N: value } },
    });
  }
}

/** Many keys, `key-00000` and so on, each with its number. Written as items: to report them takes longer. */
export async function countMany(dimension, count) {
  await report(open, [{ id: dimension, dims: { [dimension]: "key-00000" }, counters: { hits: 0 } }]);
  const numbers = Array.from({ length: count }, (_, number) => number);
  while (numbers.length > 0) {
    const puts = numbers.splice(0, 100).map((number) => ({
      Put: {
        TableName: "statshub",
        Item: {
          pk: { S: `dim#${dimension}#0` },
          sk: { S: `key-${String(number).padStart(5, "0")}` },
          "c:hits": { N: String(number) },
        },
      },
    }));
    await dynamodb("TransactWriteItems", { TransactItems: puts });
  }
}

/**
 * Keys of the archive with their last values, the largest first. The first two are the same as doubles, and
 * all but eight of them are left out of a chart of all keys.
 */
export const ARCHIVED_KEYS = new Map([
  ["10", 9_007_199_254_740_993n],
  ["9a", 9_007_199_254_740_992n],
  ["<img src=x onerror=alert(1)>", 8_000_000_000_000_000n],
  ["__proto__", 7_000_000_000_000_000n],
  ["مرحبا بالعالم", 6_000_000_000_000_000n],
  ["🦀 crab", 5_000_000_000_000_000n],
  ["a/b?c#d%20e", 4_000_000_000_000_000n],
  ["x".repeat(1024), 3_000_000_000_000_000n],
  ["=1+1", 2_000_000_000_000_000n],
  ["constructor", 1_000_000_000_000_000n],
]);

/** Hourly rows of the week before, of more keys than a chart has lines. */
export async function archiveManyKeys() {
  const hour = Math.floor(Date.now() / 3600_000) * 3600;
  for (const [key, last] of ARCHIVED_KEYS) {
    const value = `${last} - (number - 1) * 5000000000000`;
    await sql(
      `INSERT INTO {dataset}.archived (_dim, _ts, counter) SELECT '${key}', ` +
        `TIMESTAMP_SECONDS(${hour} - number * 3600), STRUCT(${value}) ` +
        `FROM UNNEST(GENERATE_ARRAY(1, 160)) AS number`,
    );
  }
}

/** Hourly rows of the week before, and daily ones of the year before, in the archive. */
export async function archiveThePast() {
  // Its table is there: the service has archived the dimension once.
  const rows = (count, seconds, key, value) =>
    `SELECT '${key}', TIMESTAMP_SECONDS(${Math.floor(Date.now() / 3600_000) * 3600} - number * ${seconds}), ` +
    `STRUCT(${value}) FROM UNNEST(GENERATE_ARRAY(1, ${count})) AS number`;
  for (const [count, seconds] of [
    [167, 3600],
    [360, 86_400],
  ]) {
    const hours = `number * ${seconds / 3600}`;
    const wave = `CAST(1500000 - 160 * ${hours} + 12000 * SIN(${hours} / 4) AS INT64)`;
    await sql(`INSERT INTO {dataset}.archived (_dim, _ts, counter) ${rows(count, seconds, "es", wave)}`);
    await sql(
      `INSERT INTO {dataset}.archived (_dim, _ts, counter) ${rows(count, seconds, "total", "9223372036854775807")}`,
    );
  }
}
