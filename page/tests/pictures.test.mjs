// The pictures of docs/page.md. `cargo xtask test page` leaves them in `target/page/pictures`.

import assert from "node:assert/strict";
import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import test, { after, before } from "node:test";

import { archiveThePast, countCountries } from "./data.mjs";
import { launch, open, pictures, report, tab } from "./support.mjs";

const DESKTOP = { viewport: { width: 1100, height: 720 } };
const PHONE = { viewport: { width: 360, height: 720 }, isMobile: true, hasTouch: true };
const MOST_BYTES = 100_000;

let browser;
before(async () => {
  browser = await launch();
  await mkdir(pictures, { recursive: true });
  await countCountries();
  await archiveThePast();
});
after(() => browser.close());

async function picture(page, name) {
  const path = join(pictures, `${name}.png`);
  await page.screenshot({ path, animations: "disabled", caret: "hide" });
  const { size } = await stat(path);
  assert.ok(size < MOST_BYTES, `${name}: ${size}`);
}

/** The countries, sorted by a stat, half a minute after the first look. */
async function countries(options) {
  const { page, check } = await tab(browser, options);
  await onlyCountries(page);
  await page.clock.install();
  await page.goto(`${open}/#dim=country&sort=-counter.sentBytes`);
  await page.locator("#keys tbody tr").first().waitFor();
  await report(open, [
    { id: "device-jp", dims: { country: "jp" }, increments: { sentBytes: 30_500, starts: 2 } },
    { id: "device-es", dims: { country: "es" }, increments: { sentBytes: 4_200 } },
  ]);
  await page.clock.fastForward(30_000);
  await page.locator("#keys .move").first().waitFor();
  return { page, check };
}

// Other tests count under dimensions that have no place in a picture.
function onlyCountries(page) {
  const body = JSON.stringify({ Succeeded: true, Error: "", dimensions: ["archived", "country", "version"] });
  return page.route("**/dimensions", (route) => route.fulfill({ body, contentType: "application/json" }));
}

test("a desktop, by day and by night", async () => {
  const { page, check } = await countries(DESKTOP);
  await picture(page, "desktop");
  await page.emulateMedia({ colorScheme: "dark" });
  await picture(page, "dark");
  await check();
});

test("a phone", async () => {
  const { page, check } = await countries(PHONE);
  await picture(page, "phone");
  await check();
});

test("a history", async () => {
  const { page, check } = await tab(browser, { viewport: { width: 1100, height: 900 } });
  await onlyCountries(page);
  await page.goto(`${open}/#dim=archived&of=es&history=counter.hits`);
  await page.locator("canvas").waitFor();
  await page.getByRole("heading", { name: "es over time" }).scrollIntoViewIfNeeded();
  await picture(page, "history");
  await check();
});

test("nothing yet", async () => {
  const { page, check } = await tab(browser, { viewport: { width: 1100, height: 360 } });
  const body = JSON.stringify({ Succeeded: true, Error: "", dimensions: [] });
  await page.route("**/dimensions", (route) => route.fulfill({ body, contentType: "application/json" }));
  await page.goto(`${open}/`);
  await page.getByText("Nothing is counted yet").waitFor();
  await picture(page, "empty");
  await check();
});

test("numbers that can't be refreshed", async () => {
  const { page, check } = await countries({ viewport: { width: 1100, height: 560 } });
  const body = JSON.stringify({ Succeeded: false, Error: "too many requests at the moment" });
  await page.route("**/stats/country*", (route) =>
    route.fulfill({ status: 429, body, headers: { "Retry-After": "2" } }),
  );
  await page.getByRole("button", { name: "Refresh" }).click();
  await page.getByText("These numbers are old").waitFor();
  await picture(page, "error");
  await check({ expected: ["429"] });
});
