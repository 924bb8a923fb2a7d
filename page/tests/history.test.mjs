// The history on the page, from an emulator of BigQuery.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test, { after, before } from "node:test";

import { ARCHIVED_KEYS, archiveManyKeys, archiveThePast } from "./data.mjs";
import { isAccessible, launch, open, tab } from "./support.mjs";

let browser;
before(async () => {
  browser = await launch();
  await archiveThePast();
  await archiveManyKeys();
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

const legend = (page) => page.getByRole("list", { name: "Lines of the chart" }).getByRole("listitem");
const heads = (page) => page.getByRole("region", { name: "Points of the chart" }).locator("thead th");

test("all keys have a line each, in the chart and in the table, and what is left out is said", async () => {
  const { page, check } = await tab(browser);
  const asked = [];
  page.on("request", (request) => request.url().includes("/history/") && asked.push(new URL(request.url())));
  await page.goto(`${open}/#dim=archived&range=week`);
  await page.getByRole("link", { name: "All keys over time" }).click();
  await points(page).first().waitFor();
  assert.equal(new URL(page.url()).hash, "#dim=archived&of=*&range=week");
  assert.equal(await page.locator(":focus").innerText(), "All keys over time");
  assert.equal(asked[0].pathname + asked[0].search, "/history/archived/*/counter/hits?step=1h&limit=50000");
  const shown = [...ARCHIVED_KEYS].slice(0, 8);
  const names = shown.map(([key]) => key);
  assert.deepEqual(await legend(page).allTextContents(), names);
  assert.deepEqual(await heads(page).allTextContents(), ["Start of the step", "Step", ...names, "The total"]);
  // Its keys are the ten and `es`.
  await page.getByText("These are the 8 keys with the largest last value. 3 more keys are left out").waitFor();
  const exact = shown.map(([, last]) => last.toLocaleString("en"));
  const row = points(page).filter({ hasText: exact[0] });
  assert.deepEqual((await row.locator("td").allTextContents()).slice(0, 9), ["1 hour", ...exact]);
  assert.deepEqual(await legend(page).locator("img").count(), 0);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    const looks = await looksOf(page);
    assert.equal(new Set(looks.map(({ color }) => color)).size, 8, colorScheme);
    assert.equal(new Set(looks.map(({ dashes }) => dashes)).size, 8, colorScheme);
    for (const { color, contrast } of looks) assert.ok(contrast >= 4.5, `${color}: ${contrast}`);
    // The second line is under the first.
    const colors = looks.filter((_, index) => index !== 1).map(({ color }) => color);
    await page.waitForFunction(areDrawn, colors);
  }
  await page.emulateMedia({ colorScheme: "light" });
  await isAccessible(page);

  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Download CSV" }).first().click();
  const csv = await readFile(await (await download).path(), "utf8");
  const keys = csv.split("\r\n").map((line) => line.split(",")[0]);
  assert.deepEqual([...new Set(keys.slice(1, -1))], [...names, "total"]);
  await page.getByText("The same with curl").first().click();
  const command = await page.getByLabel("Command").first().innerText();
  assert.equal(command, `curl '${open}/history/archived/*/counter/hits?step=1h'`);

  await legend(page).getByRole("link", { name: "__proto__" }).click();
  await page.getByRole("heading", { name: "__proto__ over time" }).waitFor();
  await points(page).first().waitFor();
  assert.equal(await points(page).count(), 160);
  await page.getByRole("link", { name: "All keys", exact: true }).click();
  await legend(page).first().waitFor();
  await page.goBack();
  await page.getByRole("heading", { name: "__proto__ over time" }).waitFor();
  await page.goBack();
  await legend(page).first().waitFor();
  assert.deepEqual(await legend(page).allTextContents(), names);
  await check();
});

test("of more keys than fit, some are read at once and others on demand", async () => {
  const { page, check } = await tab(browser);
  const asked = [];
  await page.route("**/history/archived/*/counter/hits?*", (route) => {
    const { searchParams } = new URL(route.request().url());
    asked.push([searchParams.get("page"), searchParams.get("limit")]);
    const number = Number(searchParams.get("page") ?? 0);
    if (number === 1 && searchParams.get("limit") === "50000") {
      const Error = "the page would exceed 6 MB: ask for it again with a smaller limit";
      return route.fulfill({ status: 413, body: JSON.stringify({ Succeeded: false, Error }) });
    }
    const series = {};
    for (let key = 0; key < 1000; key += 1) {
      const value = number * 1000 + key;
      series[`key ${value}`] = [{ ts: "2026-11-24T10:00:00Z", step: 3600, value }];
    }
    const next = number < 4 ? String(number + 1) : "";
    return route.fulfill({ body: JSON.stringify({ Succeeded: true, Error: "", series, next }) });
  });
  await page.goto(`${open}/#dim=archived&of=*&range=week`);
  await page.getByText("4,000 keys are read, in the order of their names, and there are more.").waitFor();
  await page.getByText("3,992 more keys are left out").waitFor();
  assert.deepEqual(await legend(page).first().textContent(), "key 3999");
  assert.deepEqual(asked.slice(1), [
    ["1", "50000"],
    ["1", "12500"],
    ["2", "12500"],
    ["3", "12500"],
  ]);
  await isAccessible(page);
  await page.getByRole("button", { name: "Read more keys" }).click();
  await page.getByText("4,992 more keys are left out").waitFor();
  assert.deepEqual(await legend(page).first().textContent(), "key 4999");
  assert.equal(await page.getByRole("button", { name: "Read more keys" }).count(), 0);
  await check({ expected: ["413"] });
});

test("a refused history of all keys says what to do", async () => {
  const { page, check } = await tab(browser);
  const refuse = (status, Error) =>
    page.route(
      "**/history/archived/**",
      (route) => route.fulfill({ status, body: JSON.stringify({ Succeeded: false, Error }) }),
      { times: 1 },
    );
  await refuse(400, "to answer, more than 5 bytes of the archive would have to be read");
  await page.goto(`${open}/#dim=archived&of=*`);
  await page.getByRole("alert").getByText("Choose a shorter range, or another stat.").waitFor();
  await isAccessible(page);
  await page.getByLabel("Range").selectOption("week");
  await legend(page).first().waitFor();
  assert.equal(await page.getByRole("alert").count(), 0);
  // A later page that is gone does not mean that nothing is archived.
  await page.route("**/history/archived/*/counter/hits?step=1d*", (route) => {
    const isFirst = !route.request().url().includes("page=");
    const series = { es: [{ ts: "2026-11-24T00:00:00Z", step: 86_400, value: 5 }] };
    const gone = "there is no such page (any more): ask for the first page again, without page";
    return isFirst
      ? route.fulfill({ body: JSON.stringify({ series, next: "gone" }) })
      : route.fulfill({ status: 404, body: JSON.stringify({ Succeeded: false, Error: gone }) });
  });
  await page.getByLabel("Range").selectOption("month");
  await page.getByRole("alert").getByText("There is no such page").waitFor();
  assert.equal(await page.getByRole("link", { name: "All keys over time" }).count(), 1);
  await page.unroute("**/history/archived/*/counter/hits?step=1d*");
  await page.getByRole("button", { name: "Try again" }).click();
  await legend(page).nth(7).waitFor();
  await check({ expected: ["400", "404"] });
});

test("all keys fit on a phone", async () => {
  const { page, check } = await tab(browser, {
    viewport: { width: 360, height: 740 },
    isMobile: true,
    hasTouch: true,
  });
  await page.goto(`${open}/#dim=archived&of=*&range=week`);
  await legend(page).first().waitFor();
  await page.locator("canvas").waitFor();
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 360, String(width));
  await check();
});

/** How the lines of the legend look: their colours, with the contrast to what is behind, and their dashes. */
function looksOf(page) {
  return page.locator(".legend line").evaluateAll((lines) => {
    const channels = (color) => color.match(/[\d.]+/g).slice(0, 3).map(Number);
    const luminance = (color) => {
      const linear = channels(color)
        .map((channel) => channel / 255)
        .map((share) => (share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4));
      return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const behind = luminance(getComputedStyle(document.querySelector(".panel")).backgroundColor);
    return lines.map((line) => {
      const color = getComputedStyle(line).stroke;
      const [dark, light] = [luminance(color), behind].sort((a, b) => a - b);
      const contrast = (light + 0.05) / (dark + 0.05);
      return { color, contrast, dashes: line.getAttribute("stroke-dasharray") };
    });
  });
}

/** In the page: whether all of these colours are on the canvas. */
function areDrawn(colors) {
  const canvas = document.querySelector("canvas");
  if (!canvas) return false;
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const found = new Set();
  for (let at = 0; at < data.length; at += 4) {
    if (data[at + 3] === 255) found.add(`rgb(${data[at]}, ${data[at + 1]}, ${data[at + 2]})`);
  }
  return colors.every((color) => found.has(color));
}

/** Whether something is on the canvas. */
async function isDrawn(page) {
  await page.locator("canvas").waitFor();
  return page.waitForFunction(() => {
    const canvas = document.querySelector("canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.some((byte) => byte !== 0);
  });
}
