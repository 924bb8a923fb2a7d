// The history on the page, from an emulator of BigQuery.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test, { after, before } from "node:test";

import { archiveThePast } from "./data.mjs";
import { isAccessible, launch, open, tab } from "./support.mjs";

let browser;
before(async () => {
  browser = await launch();
  await archiveThePast();
});
after(() => browser.close());

const points = (page) => page.getByRole("region", { name: "Points of the chart" }).locator("tbody tr");

test("a key's history opens from its name: a chart, and a table with all digits", async () => {
  const { page, check } = await tab(browser);
  const asked = [];
  page.on("request", (request) => request.url().includes("/history/") && asked.push(new URL(request.url())));
  await page.goto(`${open}/#dim=archived`);
  await page.getByRole("link", { name: "es", exact: true }).click();
  await points(page).first().waitFor();
  assert.equal(new URL(page.url()).hash, "#dim=archived&of=es");
  assert.equal(await page.locator(":focus").innerText(), "es over time");
  assert.equal(asked[0].pathname + asked[0].search, "/history/archived/es/counter/hits");
  assert.equal(await page.locator("canvas").getAttribute("aria-hidden"), "true");
  assert.ok(await isDrawn(page));
  await isAccessible(page);
  assert.ok(await isDrawn(page), "in other colours");

  await page.getByLabel("Range").selectOption("week");
  await page.waitForFunction(() => location.hash.endsWith("&range=week"));
  await page.getByRole("region", { name: "Points of the chart" }).getByText("1 hour").first().waitFor();
  const week = await points(page).count();
  assert.ok(week > 100 && week <= 169, String(week));
  await page.getByLabel("Value of a step").selectOption("avg");
  await page.getByLabel("Range").selectOption("month");
  await page.getByRole("region", { name: "Points of the chart" }).getByText("1 day").first().waitFor();
  assert.deepEqual(asked.at(-1).search, "?step=1d&aggregate=avg");

  // Back to the week, and to the last values.
  await page.goBack();
  await page.goBack();
  await page.waitForFunction(() => location.hash.endsWith("&range=week"));
  const other = await tab(browser);
  await other.page.goto(page.url());
  await points(other.page).first().waitFor();
  assert.equal(await points(other.page).count(), week);
  await other.check();

  await page.getByRole("button", { name: "Close" }).click();
  assert.equal(await page.locator(":focus").innerText(), "archived");
  assert.equal(new URL(page.url()).hash, "#dim=archived");
  await check();
});

test("the total has a history, and its numbers are exact", async () => {
  const { page, check } = await tab(browser);
  await page.goto(`${open}/#dim=archived`);
  await page.locator(".cards").getByRole("link", { name: "hits" }).click();
  await page.getByRole("heading", { name: "The total over time" }).waitFor();
  await page.getByLabel("Range").selectOption("week");
  // 2⁶³ − 1, which is the largest that the archive holds.
  await page.getByText("9,223,372,036,854,775,807").first().waitFor();
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Download CSV" }).first().click();
  const csv = await readFile(await (await download).path(), "utf8");
  assert.ok(csv.startsWith("key,ts,step,value\r\ntotal,"), csv.slice(0, 100));
  assert.ok(csv.includes(",3600,9223372036854775807\r\n"), csv.slice(0, 300));
  await page.getByText("The same with curl").first().click();
  const command = await page.getByLabel("Command").first().innerText();
  assert.equal(command, `curl '${open}/history/archived/total/counter/hits?step=1h'`);
  await check();
});

test("what is not archived is no error, and an error says what to do", async () => {
  const { page, check } = await tab(browser);
  await page.goto(`${open}/#dim=archived&of=es&history=counter.nothing`);
  await page.getByText("Nothing is archived of this stat in this range.").waitFor();
  await isAccessible(page);
  const body = JSON.stringify({
    Succeeded: false,
    Error: "the archive did not answer in time; try again later",
  });
  await page.route(
    "**/history/**",
    (route) => route.fulfill({ status: 503, body, headers: { "Retry-After": "2" } }),
    { times: 1 },
  );
  await page.getByLabel("Stat", { exact: true }).selectOption("counter.hits");
  await page.getByRole("alert").getByText("The archive did not answer in time; try again later.").waitFor();
  await isAccessible(page);
  await page.getByRole("button", { name: "Try again" }).click();
  await points(page).first().waitFor();
  await check({ expected: ["503"] });
});

test("a history fits on a phone", async () => {
  const { page, check } = await tab(browser, {
    viewport: { width: 360, height: 740 },
    isMobile: true,
    hasTouch: true,
  });
  await page.goto(`${open}/#dim=archived&of=es&range=week`);
  await points(page).first().waitFor();
  await page.locator("canvas").waitFor();
  const { inner, scroll } = await page.evaluate(() => ({
    inner: innerWidth,
    scroll: document.documentElement.scrollWidth,
  }));
  assert.ok(scroll <= inner, String(scroll));
  await check();
});

/** Whether something is on the canvas. */
async function isDrawn(page) {
  await page.locator("canvas").waitFor();
  return page.waitForFunction(() => {
    const canvas = document.querySelector("canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.some((byte) => byte !== 0);
  });
}
