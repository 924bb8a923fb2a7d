// The page in a browser, on a service that is open.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test, { after, before } from "node:test";

import { NINES, ODD_KEYS, countBigSums, countCountries, countMany, countOddNames } from "./data.mjs";
import { isAccessible, launch, open, report, rows, tab } from "./support.mjs";

const PHONE = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };
/** Keys of the large dimension. */
const MANY = 100_000;

let browser, hugeIsCounted;
before(async () => {
  browser = await launch();
  await countCountries();
  await countOddNames();
  await countBigSums();
  await countMany("thousand", 1000);
  // While other tests run. A failure is that of the test that waits for it.
  hugeIsCounted = countMany("huge", MANY);
  hugeIsCounted.catch(() => {});
});
after(() => browser.close());

const keys = (page) => page.locator("#keys tbody tr").first().waitFor();
const heads = (page) => page.locator("#keys tbody th").allInnerTexts();
const status = (page) => page.getByRole("status");

async function show(page, fragment) {
  await page.goto(`${open}/${fragment}`);
  await keys(page);
}

test("it opens on the first dimension and shows every kind of number", async () => {
  const { page, check } = await tab(browser);
  await show(page, "");
  assert.equal(await page.getByRole("heading", { level: 2 }).innerText(), "archived");
  await page.getByRole("link", { name: "country", exact: true }).click();
  await page.getByRole("link", { name: "es", exact: true }).waitFor();
  assert.equal(new URL(page.url()).hash, "#dim=country");
  assert.equal(await page.title(), "country · statshub");
  const groups = await page.locator("th[scope=colgroup]").allInnerTexts();
  assert.deepEqual(groups, ["Counters", "Gauges and members", "Gauges now"]);
  const es = (await rows(page)).find(([key]) => key === "es");
  assert.deepEqual(es, ["es", "768,000", "34", "4", "13"]);
  const cards = await page.locator(".cards li").allInnerTexts();
  assert.deepEqual(cards[1].split("\n"), ["Counter", "starts", "612"]);
  await isAccessible(page);
  await check();
});

test("names are text, whatever they look like", async () => {
  const { page, check } = await tab(browser);
  await show(page, "#dim=odd_names");
  const shown = await page.locator("#keys tbody bdi").evaluateAll((all) => all.map((it) => it.textContent));
  assert.deepEqual(new Set(shown), new Set(ODD_KEYS));
  assert.equal(await page.locator("#keys img").count(), 0);
  assert.ok((await page.locator("#keys thead").innerText()).includes("__proto__"));
  const proto = (await rows(page)).find(([key]) => key === "__proto__");
  assert.deepEqual(proto, ["__proto__", "1", "2"]);
  assert.equal(await page.evaluate(() => ({}).hits), undefined);
  // Numbers as names keep the order of the answer.
  await page.getByRole("button", { name: "hits" }).click();
  await page.locator("th[aria-sort=descending]").waitFor();
  await page.locator("#keys[aria-busy=false]").waitFor();
  const sorted = (await rows(page)).map(([key]) => key);
  assert.deepEqual(sorted, [...ODD_KEYS].reverse());
  await isAccessible(page);
  await check();
});

test("sums of 38 digits are exact, in the table, the bars, the CSV and the total", async () => {
  const { page, check } = await tab(browser);
  await show(page, "#dim=big_sums&sort=-counter.x");
  const grouped = NINES.replace(/\B(?=(\d{3})+$)/g, ",");
  const found = await rows(page);
  assert.deepEqual(found, [
    ["most", grouped],
    ["least", "-12,345,678,901,234,567,890,123,456,789,012,345,678"],
  ]);
  const total = String(BigInt(NINES) - 12345678901234567890123456789012345678n);
  assert.equal((await page.locator(".cards .value").innerText()).replaceAll(",", ""), total);
  const widths = await page
    .locator(".barline > span")
    .evaluateAll((bars) => bars.map((bar) => bar.style.width));
  assert.deepEqual(widths, ["100%", "12.34%"]);
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Download CSV" }).click();
  const file = await download;
  assert.equal(file.suggestedFilename(), "statshub-big_sums.csv");
  const csv = await readFile(await file.path(), "utf8");
  assert.equal(
    csv,
    `key,counter x\r\nmost,${NINES}\r\nleast,-12345678901234567890123456789012345678\r\ntotal,${total}\r\n`,
  );
  await check();
});

test("search, sort, rows and stats are in the URL, and the browser goes back and forth", async () => {
  const { page, check } = await tab(browser);
  await show(page, "#dim=thousand");
  await page.getByRole("searchbox").fill("key-0001");
  await page.waitForFunction(() => document.querySelectorAll("#keys tbody tr").length === 10);
  assert.equal(new URL(page.url()).hash, "#dim=thousand&prefix=key-0001");
  await page.getByRole("button", { name: "hits" }).click();
  await page.getByRole("row", { name: "key-00019" }).waitFor();
  await page.waitForFunction(() => document.querySelector("#keys tbody th").innerText === "key-00019");
  await page.getByLabel("Rows").selectOption("25");
  const all = "#dim=thousand&prefix=key-0001&sort=-counter.hits&rows=25";
  await page.waitForFunction((hash) => location.hash === hash, all);
  assert.equal(await page.locator("th[aria-sort=descending]").innerText(), "hits ▼");
  await page.goBack();
  await page.goBack();
  await page.waitForFunction(() => document.querySelector("#keys tbody th").innerText === "key-00010");
  assert.equal(await page.getByRole("searchbox").inputValue(), "key-0001");
  await page.goBack();
  await page.waitForFunction(() => document.querySelectorAll("#keys tbody tr").length === 50);
  assert.equal(await page.getByRole("searchbox").inputValue(), "");
  for (let step = 0; step < 3; step++) await page.goForward();
  await page.waitForFunction(() => document.querySelector("#keys tbody th").innerText === "key-00019");
  // Whoever gets the link sees the same.
  const other = await tab(browser);
  await show(other.page, all);
  assert.deepEqual(await heads(other.page), await heads(page));
  await other.check();
  await check();
});

test("pages follow each other, in both directions, and a link leads to one of them", async () => {
  const { page, check } = await tab(browser);
  await show(page, "#dim=thousand&rows=500");
  const first = await heads(page);
  await page.getByRole("button", { name: "Next page" }).click();
  await page.waitForFunction(() => document.querySelector("#keys tbody th").innerText === "key-00500");
  assert.match(page.url(), /&page=/);
  const second = await heads(page);
  assert.deepEqual(new Set([...first, ...second]).size, 1000);
  await page.getByText("this is the last page").waitFor();
  assert.equal(await page.locator(":focus").getAttribute("id"), "keys");
  const link = new URL(page.url()).hash;
  await page.getByRole("button", { name: "Previous page" }).click();
  await page.waitForFunction(() => document.querySelector("#keys tbody th").innerText === "key-00000");
  await show(page, link);
  await page.waitForFunction(() => document.querySelector("#keys tbody th").innerText === "key-00500");
  await page.getByRole("button", { name: "First page" }).click();
  await page.waitForFunction(() => document.querySelector("#keys tbody th").innerText === "key-00000");
  await check();
});

test("a page token of another question gets a way out", async () => {
  const { page, check } = await tab(browser);
  await page.goto(`${open}/#dim=thousand&page=nonsense`);
  await page.getByRole("alert").getByText("Go back to the first page").waitFor();
  await isAccessible(page);
  await page.getByRole("button", { name: "Show the first keys" }).click();
  await keys(page);
  await check({ expected: ["400"] });
});

test("one of 100,000 keys costs as little as one of ten, and the whole is read when it is wanted", async () => {
  await hugeIsCounted;
  const { page, check } = await tab(browser);
  const asked = [];
  page.on("request", (request) => asked.push(new URL(request.url())));
  await show(page, "#dim=huge");
  assert.equal((await heads(page)).length, 50);
  await page.getByText(/^This view reads \d units/).waitFor();
  const questions = asked.filter(({ pathname }) => pathname.startsWith("/stats")).map(({ search }) => search);
  assert.deepEqual(questions, ["?limit=50&format=rows"]);
  await page.getByRole("searchbox").fill("key-77777");
  await page.waitForFunction(() => document.querySelectorAll("#keys tbody tr").length === 1);
  assert.deepEqual(await rows(page), [["key-77777", "77,777"]]);
  await page.getByRole("searchbox").fill("");
  await page.getByRole("button", { name: "hits" }).click();
  await page.waitForFunction(() => document.querySelector("#keys tbody th").innerText === "key-99999");
  assert.equal(await page.locator(".cards .value").innerText(), "4,999,950,000");
  // An open tab must not read a large dimension every 30 seconds.
  await page.getByText(/^This view reads \d{3,} units of the table each time, every \d minutes/).waitFor();
  await check();
});

test("a total that takes reading all keys is there when it is wanted", async () => {
  const { page, check } = await tab(browser);
  await show(page, "#dim=thousand");
  assert.equal(await page.locator(".cards").count(), 0);
  // The search that is about to begin, and the total: neither undoes the other.
  await page.getByRole("searchbox").fill("key-0001");
  await page.getByRole("button", { name: "Add up all keys" }).click();
  await page.waitForFunction(() => location.hash === "#dim=thousand&prefix=key-0001&total=true");
  await page.locator(".cards .value").waitFor();
  assert.equal(await page.locator(".cards .value").innerText(), "499,500");
  await page.getByRole("button", { name: "Leave the totals out" }).click();
  await page.locator(".cards").waitFor({ state: "detached" });
  await check();
});

test("numbers move: by how much, and how fast", async () => {
  const { page, check } = await tab(browser);
  const answers = [];
  page.on("response", (response) => response.url().includes("/stats/") && answers.push(response.status()));
  await report(open, [{ id: "mover", dims: { moving: "k" }, counters: { up: 10, down: 10 } }]);
  await page.clock.install();
  await show(page, "#dim=moving");
  // Nothing changes: the answer is known.
  await page.clock.fastForward(30_000);
  await waitUntil(() => answers.length === 2);
  assert.deepEqual(answers, [200, 304]);
  await report(open, [{ id: "mover", dims: { moving: "k" }, counters: { up: 25, down: 4 } }]);
  await page.clock.fastForward(30_000);
  await page.locator("#keys .move.up").waitFor();
  assert.match(await page.locator("#keys .move.up").innerText(), /^\+15 \((2\d|30)(\.\d)?\/min\)$/);
  assert.match(await page.locator("#keys .move.down").innerText(), /^−6 \(−1[12](\.\d)?\/min\)$/);
  assert.equal(await page.locator(".cards .move").count(), 2);
  await isAccessible(page);
  await check();
});

test("a page that nobody sees asks nothing, and one that is seen again asks at once", async () => {
  const { page, check } = await tab(browser);
  let asked = 0;
  page.on("request", (request) => request.url().includes("/stats/") && asked++);
  await page.clock.install();
  await show(page, "#dim=country");
  const isSeen = (state) =>
    page.evaluate((state) => {
      Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, state);
  await isSeen("hidden");
  await page.clock.fastForward(300_000);
  assert.equal(asked, 1);
  await isSeen("visible");
  await waitUntil(() => asked === 2);
  // And whoever does not want it, can say so.
  await page.getByLabel("Refresh automatically").uncheck();
  await page.clock.fastForward(300_000);
  await page.getByRole("button", { name: "Refresh" }).click();
  await waitUntil(() => asked === 3);
  await check();
});

test("numbers that can't be refreshed are marked as old, until they can", async () => {
  const { page, check } = await tab(browser);
  await page.clock.install();
  await show(page, "#dim=country");
  let attempts = 0;
  await page.route("**/stats/country*", (route) => {
    attempts++;
    const headers = { "Retry-After": "2" };
    const body = JSON.stringify({ Succeeded: false, Error: "too many requests" });
    return attempts > 1 ? route.continue() : route.fulfill({ status: 429, headers, body });
  });
  await page.clock.fastForward(30_000);
  const alert = page.getByRole("alert");
  await alert.getByText("These numbers are old").waitFor();
  assert.match(await alert.innerText(), /Too many requests\. .*Next attempt at \d/);
  assert.equal((await heads(page)).length, 8);
  await isAccessible(page);
  await page.clock.fastForward(2_000);
  await alert.waitFor({ state: "detached" });
  await check({ expected: ["429"] });
});

test("without the service there is an error that says what to do, and then the numbers", async () => {
  const { page, check } = await tab(browser);
  await page.clock.install();
  await page.route("**/stats/country*", (route) => route.abort());
  await page.goto(`${open}/#dim=country`);
  await page.getByRole("alert").getByText("The service can't be reached. Check your connection.").waitFor();
  await isAccessible(page);
  await page.unroute("**/stats/country*");
  await page.clock.fastForward(30_000);
  await keys(page);
  await page.getByRole("alert").waitFor({ state: "detached" });
  await check({ expected: ["net::ERR_FAILED"] });
});

test("an unknown dimension and a search without a result are no errors", async () => {
  const { page, check } = await tab(browser);
  await page.goto(`${open}/#dim=nowhere`);
  await page.getByText("There is no key here.").waitFor();
  await isAccessible(page);
  await page.goto(`${open}/#dim=country&prefix=zz`);
  await page.getByText("No key begins with that.").waitFor();
  await page.getByRole("searchbox").fill("e");
  await page.getByRole("link", { name: "es", exact: true }).waitFor();
  await check();
});

test("one key is enough, and one stat may be shown alone", async () => {
  const { page, check } = await tab(browser);
  await report(open, [{ id: "only", dims: { only: "one" }, counters: { a: 1 }, gauges: { b: 2 } }]);
  await show(page, "#dim=only");
  assert.deepEqual(await rows(page), [["one", "1", "2"]]);
  await page.getByText("All 1 key.").waitFor();
  await page.getByLabel("Stats").selectOption("b");
  await page.waitForFunction(() => document.querySelectorAll("#keys thead th").length === 3);
  assert.deepEqual(await rows(page), [["one", "2"]]);
  // The others can still be chosen.
  assert.deepEqual(await page.getByLabel("Stats").locator("option").allInnerTexts(), ["All", "a", "b"]);
  await check();
});

test("the command that is shown asks the same", async () => {
  const { page, check } = await tab(browser);
  await show(page, "#dim=thousand&prefix=key-0001&sort=-counter.hits&rows=10");
  await page.getByText("The same with curl").click();
  const command = await page.getByLabel("Command").innerText();
  assert.equal(command, `curl '${open}/stats/thousand?limit=10&prefix=key-0001&sort=-counter.hits'`);
  const { promisify } = await import("node:util");
  const run = promisify((await import("node:child_process")).execFile);
  const { stdout } = await run("/bin/sh", ["-c", command.replace("curl", "curl -s")]);
  assert.deepEqual(
    Object.keys(JSON.parse(stdout).dims.thousand).filter((key) => key !== "total"),
    await heads(page),
  );
  await isAccessible(page);
  await check();
});

test("the keyboard is enough", async () => {
  const { page, check } = await tab(browser);
  await show(page, "#dim=country");
  const focused = () => page.locator(":focus");
  const tabTo = async (name) => {
    for (let press = 0; press < 60; press++) {
      await page.keyboard.press("Tab");
      const text = await focused().evaluate(
        (it) => it.ariaLabel || it.labels?.[0]?.innerText || it.innerText,
      );
      if (text.trim() === name) return;
    }
    assert.fail(`the keyboard does not get to ${name}`);
  };
  await tabTo("version");
  await page.keyboard.press("Enter");
  await page.getByRole("link", { name: "2.1", exact: true }).waitFor();
  await tabTo("Keys that begin with");
  await page.keyboard.type("2.1");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll("#keys tbody tr").length === 1);
  await tabTo("Rows");
  await page.keyboard.press("ArrowDown");
  await page.waitForFunction(() => location.hash.includes("rows=100"));
  await tabTo("starts");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => location.hash.includes("sort=-counter.starts"));
  await tabTo("The same with curl");
  await page.keyboard.press("Enter");
  assert.ok(await page.locator("details").evaluate((it) => it.open));
  await check();
});

test("screen readers hear of a new question, and not of each refresh", async () => {
  const { page, check } = await tab(browser);
  await page.clock.install();
  await show(page, "#dim=country");
  const said = () => status(page).innerText();
  assert.equal(await said(), "8 keys of country, sorted by name");
  await page.getByRole("button", { name: "starts" }).click();
  await page.waitForFunction(() =>
    document.querySelector("[role=status]").innerText.includes("sorted by starts, largest first"),
  );
  await page.evaluate(() => {
    window.changes = 0;
    new MutationObserver(() => window.changes++).observe(document.querySelector("[role=status]"), {
      subtree: true,
      characterData: true,
      childList: true,
    });
  });
  await report(open, [{ id: "device-es", dims: { country: "es" }, increments: { starts: 1 } }]);
  await page.clock.fastForward(30_000);
  await page.locator("#keys .move").first().waitFor();
  assert.equal(await page.evaluate(() => window.changes), 0);
  await check();
});

test("on a phone nothing is wider than the screen", async () => {
  const { page, check } = await tab(browser, PHONE);
  for (const fragment of ["#dim=country", "#dim=odd_names", "#dim=big_sums&sort=-counter.x"]) {
    await page.goto("about:blank");
    await show(page, fragment);
    await page.getByText("The same with curl").click();
    const { inner, scroll } = await page.evaluate(() => ({
      inner: innerWidth,
      scroll: document.documentElement.scrollWidth,
    }));
    assert.ok(scroll <= inner, `${fragment}: ${scroll}`);
    await isAccessible(page);
  }
  await check();
});

test("a script that somebody smuggles in does not run", async () => {
  const { page } = await tab(browser);
  // Into the answer of the service, whose headers stay.
  await page.route(`${open}/`, async (route) => {
    const response = await route.fetch();
    const body = (await response.text()).replace("<head>", "<head><script>window.ranInline = true</script>");
    await route.fulfill({ response, body });
  });
  await show(page, "#dim=country");
  assert.equal(await page.evaluate(() => window.ranInline), undefined);
  assert.deepEqual(await page.evaluate(() => window.violations), ["script-src-elem"]);
  // And by a script that runs already.
  await page.evaluate(() => {
    window.ran = [];
    const script = document.createElement("script");
    // Even this is refused: text does not become a script.
    try {
      script.textContent = "window.ran.push('inline')";
    } catch (error) {
      window.ran.push(error.name);
    }
    document.body.append(script);
    try {
      document.body.insertAdjacentHTML("beforeend", "<img src=x onerror=\"window.ran.push('markup')\">");
    } catch (error) {
      window.ran.push(error.name);
    }
    const link = document.createElement("a");
    link.href = "javascript:window.ran.push('link')";
    document.body.append(link);
    link.click();
    const image = document.createElement("img");
    try {
      image.setAttribute("onerror", "window.ran.push('attribute')");
    } catch (error) {
      window.ran.push(error.name);
    }
    image.src = "data:,";
    document.body.append(image);
  });
  // The browser refuses what is left later than it is tried.
  await page.waitForFunction(() => {
    const scripts = window.violations.filter((it) => it === "script-src-elem");
    return scripts.length >= 2 && window.violations.includes("img-src");
  });
  const inline = await page.evaluate(() => window.ran);
  assert.deepEqual(
    inline.filter((it) => !it.endsWith("Error")),
    [],
  );
  await page.context().close();
});

test("no other page can frame it", async () => {
  const { page } = await tab(browser);
  await page.route("http://example.test/", (route) =>
    route.fulfill({ contentType: "text/html", body: `<iframe src="${open}/"></iframe>` }),
  );
  await page.goto("http://example.test/");
  const frame = page.frames().find((it) => it !== page.mainFrame());
  await waitUntil(() => frame.url().startsWith("chrome-error:"));
  await page.context().close();
});

test("it is small, and its first row is there soon", async () => {
  const { page, check } = await tab(browser);
  const sizes = new Map();
  page.on("response", async (response) => {
    if (!/\/(page\/.*)?$/.test(new URL(response.url()).pathname)) return;
    const { responseBodySize } = await response.request().sizes();
    sizes.set(new URL(response.url()).pathname, responseBodySize);
    assert.equal(response.headers()["content-encoding"], "gzip");
  });
  const began = performance.now();
  await show(page, "#dim=thousand&rows=500");
  const first = performance.now() - began;
  await waitUntil(() => sizes.size >= 3);
  const bytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  assert.ok(bytes < 30_000, [...sizes].join(" "));
  console.log(
    `the page without a history takes ${bytes} bytes; with 1,000 keys, the first row is there after ${Math.round(first)} ms`,
  );
  await check();
});

async function waitUntil(condition) {
  const deadline = Date.now() + 10_000;
  while (!condition()) {
    assert.ok(Date.now() < deadline, String(condition));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
