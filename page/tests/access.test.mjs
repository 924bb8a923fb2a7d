// The page on a service that wants a token. Nothing is counted there at first, and nothing is archived.

import assert from "node:assert/strict";
import test, { after, before } from "node:test";

import { closed, isAccessible, launch, reader, report, tab, writer } from "./support.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const field = (page) => page.getByLabel("Token with the scope read");

async function enter(page, token) {
  await field(page).fill(token);
  await page.keyboard.press("Enter");
}

test("it asks for a token, says what is wrong with one, and shows the first update to send", async () => {
  const { page, check } = await tab(browser);
  const urls = [];
  page.on("request", (request) => urls.push(request.url()));
  await page.goto(`${closed}/`);
  await field(page).waitFor();
  await isAccessible(page);
  await enter(page, "ключ");
  await page.getByText("That is no token").waitFor();
  await enter(page, "not-a-token");
  await page.getByText("The token is refused").waitFor();
  await enter(page, writer);
  await page.getByText("This token may not read").waitFor();
  await isAccessible(page);
  await enter(page, reader);
  await page.getByText("Nothing is counted yet").waitFor();
  const command = await page.getByLabel("Command").innerText();
  assert.ok(
    command.startsWith(`curl -H "Authorization: Bearer $STATSHUB_TOKEN" '${closed}/stats/myid1'`),
    command,
  );
  await isAccessible(page);

  // Once something is counted, it is shown without anybody doing anything.
  await page.clock.install();
  await page.reload();
  await page.getByText("Nothing is counted yet").waitFor();
  await report(closed, [{ id: "a", dims: { country: "es" }, counters: { hits: 1 } }], writer);
  await page.clock.fastForward(30_000);
  await page.getByRole("link", { name: "es", exact: true }).waitFor();

  // The token is in the header, and nowhere else.
  for (const token of [reader, writer]) assert.ok(!urls.some((url) => url.includes(token)), token);
  await page.getByText("The same with curl").click();
  assert.ok(!(await page.content()).includes(reader));
  const kept = await page.evaluate(async () => ({
    local: { ...localStorage },
    cookies: document.cookie,
    caches: await caches.keys(),
    databases: await indexedDB.databases(),
    history: JSON.stringify(history.state),
  }));
  assert.deepEqual(kept, { local: {}, cookies: "", caches: [], databases: [], history: "null" });
  await check({ expected: ["401", "403"] });
});

test("the token is kept as long as the tab, and forgotten at a click", async () => {
  await report(closed, [{ id: "a", dims: { country: "es" }, counters: { hits: 1 } }], writer);
  const { page, context, check } = await tab(browser);
  await page.goto(`${closed}/#dim=country`);
  await enter(page, reader);
  await page.getByRole("link", { name: "es", exact: true }).waitFor();
  await page.reload();
  await page.getByRole("link", { name: "es", exact: true }).waitFor();
  const other = await context.newPage();
  await other.goto(`${closed}/#dim=country`);
  await field(other).waitFor();
  await other.close();
  await page.getByRole("button", { name: "Forget the token" }).click();
  await field(page).waitFor();
  assert.equal(await page.getByRole("table").count(), 0);
  assert.deepEqual(await page.evaluate(() => ({ ...sessionStorage })), {});
  await check({ expected: ["401"] });
});

test("a token that is shut out leaves the numbers, marked as old, and asks for another", async () => {
  await report(closed, [{ id: "a", dims: { country: "es" }, counters: { hits: 1 } }], writer);
  const { page, check } = await tab(browser);
  await page.clock.install();
  await page.goto(`${closed}/#dim=country`);
  await enter(page, reader);
  await page.getByRole("link", { name: "es", exact: true }).waitFor();
  const body = JSON.stringify({ Succeeded: false, Error: "this token is not valid" });
  await page.route("**/stats/country*", (route) => route.fulfill({ status: 401, body }));
  await page.clock.fastForward(30_000);
  await page.getByText("These numbers are old").waitFor();
  await field(page).waitFor();
  await isAccessible(page);
  await page.unroute("**/stats/country*");
  await enter(page, reader);
  await page.getByText("These numbers are old").waitFor({ state: "detached" });
  await field(page).waitFor({ state: "detached" });
  await check({ expected: ["401"] });
});

test("where nothing is archived, the history gives way to a hint", async () => {
  await report(closed, [{ id: "a", dims: { country: "es" }, counters: { hits: 1 } }], writer);
  const { page, check } = await tab(browser);
  await page.goto(`${closed}/#dim=country`);
  await enter(page, reader);
  await page.getByRole("link", { name: "es", exact: true }).click();
  await page.getByText("There is no history: it needs the archive to BigQuery").waitFor();
  assert.equal(await page.getByRole("link", { name: "es", exact: true }).count(), 0);
  assert.equal(await page.getByText("over time").count(), 0);
  await page.getByRole("cell", { name: "1", exact: true }).first().waitFor();
  await isAccessible(page);
  await check({ expected: ["401", "404"] });
});
