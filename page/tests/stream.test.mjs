// `GET /stream/…` in a real `EventSource`, and 304s as browsers ask for them.
//
// A proxy on loopback is between the browser and the service. It replaces one thing: of the `retry: 30000` with
// which the service tells the browser when to come back, it makes `retry: 50`. That the service says 30000 is
// checked in the answers that the proxy sees. The event, its end, and the reconnecting are real.

import assert from "node:assert/strict";
import test, { after, before } from "node:test";

import { launch, open, proxy, report, tab } from "./support.mjs";

const RETRY = "retry: 30000\n";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

test("an EventSource comes back by itself, and gets the number as it is then", async () => {
  let retries = 0;
  const between = await proxy(open, ({ url }, text) => {
    if (!url.startsWith("/stream/")) return text;
    assert.ok(text.startsWith(RETRY), text);
    retries++;
    return text.replace(RETRY, "retry: 50\n");
  });
  const { page, context } = await tab(browser);
  const most = 9223372036854775807n;
  const ids = Array.from({ length: 3 }, (_, id) => ({
    id: `stream-${id}`,
    dims: { stream: "é <b>" },
    counters: { x: Number.MAX_SAFE_INTEGER },
  }));
  await report(open, ids);
  await page.goto(`${between.url}/`);
  const next = () => page.evaluate(() => new Promise((resolve) => (window.onNextEvent = resolve)));
  await page.evaluate(() => {
    window.source = new EventSource("stream/stream/*/counter/x");
    window.opened = 0;
    window.source.onopen = () => window.opened++;
    window.source.onmessage = ({ data }) => window.onNextEvent?.(data);
  });
  const value = (event) => /"é <b>":(\d+)/.exec(event)[1];
  assert.equal(value(await next()), String(3n * BigInt(Number.MAX_SAFE_INTEGER)));
  await fetch(`${open}/stats/stream-0`, {
    method: "POST",
    body: `{"dims":{"stream":"é <b>"},"counters":{"x":${most}}}`,
  });
  // Events that were under way have the old number.
  const expected = String(2n * BigInt(Number.MAX_SAFE_INTEGER) + most);
  let event;
  for (let attempt = 0; attempt < 20 && (!event || value(event) !== expected); attempt++)
    event = await next();
  assert.equal(value(event), expected);
  assert.match(event, /^\{"intervals":\[\{"asOfSeconds":\d+,"values":/);
  assert.ok(retries >= 2 && (await page.evaluate(() => window.opened)) >= 2);
  await page.evaluate(() => window.source.close());
  await context.close();
  await between.close();
});

test("a browser's own cache asks again with the tag, and the page does so by itself", async () => {
  await report(open, [{ id: "cached", dims: { cached: "k" }, counters: { x: 1 } }]);
  const between = await proxy(open, (_, text) => text);
  const { page, context } = await tab(browser);
  await page.goto(`${between.url}/#dim=cached`);
  await page.locator("#keys tbody tr").waitFor();
  const of = (path) => between.seen.filter((it) => it.path.startsWith(path)).map(({ status }) => status);
  const answered = page.waitForResponse((response) => response.url().includes("/stats/cached"));
  await page.getByRole("button", { name: "Refresh" }).click();
  await answered;
  assert.deepEqual(of("/stats/cached"), [200, 304]);
  const texts = await page.evaluate(async () => {
    const get = async () => (await fetch("stats/cached?stat=x")).text();
    return [await get(), await get()];
  });
  // To a script, a 304 is the answer that the cache has.
  assert.equal(texts[0], texts[1]);
  assert.deepEqual(of("/stats/cached?stat=x"), [200, 304]);
  await page.reload();
  await page.locator("#keys tbody tr").waitFor();
  assert.deepEqual(
    of("/").filter((_, index) => between.seen[index].path === "/"),
    [200, 304],
  );
  const files = between.seen.filter(({ path }) => path.startsWith("/page/")).map(({ path }) => path);
  assert.equal(new Set(files).size, files.length, "files are asked for once");
  await context.close();
  await between.close();
});
