// What the tests of the page share: the service, a browser, and what must hold on every page.

import assert from "node:assert/strict";
import { createServer, request as httpRequest } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

const {
  PAGE_TOOLS,
  PAGE_BROWSER,
  PAGE_PICTURES,
  STATSHUB_URL,
  STATSHUB_DYNAMODB,
  STATSHUB_QUERIES,
  STATSHUB_DATASET,
  STATSHUB_CLOSED_URL,
  STATSHUB_READER,
  STATSHUB_WRITER,
} = process.env;

const require = createRequire(join(PAGE_TOOLS, "/"));
const { chromium } = require("playwright-core");
const AXE = require.resolve("axe-core/axe.min.js");

/** A service that is open and has an archive, and one that is closed and has none. */
export const open = STATSHUB_URL;
export const closed = STATSHUB_CLOSED_URL;
export const reader = STATSHUB_READER;
export const writer = STATSHUB_WRITER;
export const pictures = PAGE_PICTURES;

/** The browser of a file of tests, without anything that it would do on its own. */
export function launch() {
  return chromium.launch({
    executablePath: PAGE_BROWSER,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
    ],
  });
}

/**
 * A tab. At the end of a test, `check()` fails if the page has broken its policy, asked another host, or
 * reported an error that the test does not expect.
 */
export async function tab(browser, options = {}) {
  const context = await browser.newContext({ locale: "en-GB", timezoneId: "UTC", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const [hosts, errors] = [new Set(), []];
  page.on("request", (request) => hosts.add(new URL(request.url()).protocol + new URL(request.url()).host));
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) =>
      window.violations.push(event.violatedDirective),
    );
  });
  const check = async ({ expected = [] } = {}) => {
    assert.deepEqual(await page.evaluate(() => window.violations), []);
    const unexpected = errors.filter((error) => !expected.some((part) => error.includes(part)));
    assert.deepEqual(unexpected, []);
    const own = new URL(page.url());
    assert.deepEqual(
      [...hosts].filter((host) => host !== own.protocol + own.host && !host.startsWith("blob:")),
      [],
    );
    await context.close();
  };
  return { page, context, check };
}

/** No violation of a rule of accessibility, in the light and in the dark. */
export async function isAccessible(page) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    // Not by a tag in the page, which its policy forbids.
    await page.evaluate(await axeSource());
    const { violations } = await page.evaluate(() =>
      window.axe.run(document, { resultTypes: ["violations"] }),
    );
    const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
    assert.deepEqual(found, [], colorScheme);
  }
  await page.emulateMedia({ colorScheme: "light" });
}

let axe;
async function axeSource() {
  const { readFile } = await import("node:fs/promises");
  axe ??= await readFile(AXE, "utf8");
  return axe;
}

/** Sends updates, in batches of 1,000. */
export async function report(url, updates, token) {
  for (let start = 0; start < updates.length; start += 1000) {
    const lines = updates.slice(start, start + 1000).map((update) => JSON.stringify(update));
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const answer = await fetch(`${url}/stats`, { method: "POST", headers, body: lines.join("\n") });
    const { Succeeded, Error: error } = await answer.json();
    assert.ok(Succeeded, error);
  }
}

/** Calls the DynamoDB of the open service, for what clients can't report. */
export async function dynamodb(operation, parameters) {
  const answer = await fetch(STATSHUB_DYNAMODB, {
    method: "POST",
    headers: {
      "Content-Type": "application/x-amz-json-1.0",
      "X-Amz-Target": `DynamoDB_20120810.${operation}`,
      "X-Amz-Date": "20260101T000000Z",
      Authorization:
        "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0",
    },
    body: JSON.stringify(parameters),
  });
  assert.ok(answer.ok, await answer.clone().text());
  return answer.json();
}

/** Runs SQL on the archive of the open service. `{dataset}` stands for its dataset. */
export async function sql(query) {
  const body = JSON.stringify({
    query: query.replaceAll("{dataset}", STATSHUB_DATASET),
    useLegacySql: false,
  });
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(STATSHUB_QUERIES, { method: "POST", headers, body });
  assert.ok(answer.ok, await answer.clone().text());
}

/**
 * A proxy on loopback in front of a service. `change` may change an answer: it gets the request, and the
 * answer with its text.
 */
export async function proxy(url, change) {
  const seen = [];
  const server = createServer((request, response) => {
    const headers = { ...request.headers, "accept-encoding": "identity" };
    const options = { method: request.method, headers };
    const toService = httpRequest(new URL(request.url, url), options, (answer) => {
      const chunks = [];
      answer.on("data", (chunk) => chunks.push(chunk));
      answer.on("end", () => {
        const { "content-length": _, "transfer-encoding": __, ...kept } = answer.headers;
        const text = change(request, Buffer.concat(chunks).toString());
        seen.push({ path: request.url, status: answer.statusCode, headers: request.headers });
        response.writeHead(answer.statusCode, kept).end(text);
      });
    });
    request.pipe(toService);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => new Promise((resolve) => (server.closeAllConnections(), server.close(resolve)));
  return { url: `http://127.0.0.1:${server.address().port}`, seen, close };
}

/** The cells of the table of keys, as text, row by row. */
export function rows(page) {
  return page
    .locator("#keys tbody tr")
    .evaluateAll((found) =>
      found.map((row) => [...row.children].map((cell) => cell.firstChild?.textContent ?? "")),
    );
}
