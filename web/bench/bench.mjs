// Measures the web UI in Chromium: when each view has painted and has its answers, how long interactions take until
// the next frame (Event Timing), how large the assets are. It prints a table; docs/performance.md has results.
//
//   node web/bench/bench.mjs [--store DIR] [--sample] [--only VIEW]
//
// Without --store, a store of a million exchanges is made, which takes a minute.

import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const root = resolve(import.meta.dirname, "../..");
const { values: options } = parseArgs({
  options: {
    store: { type: "string" },
    sample: { type: "boolean" },
    only: { type: "string" },
    runs: { type: "string", default: "5" },
  },
});
const runs = Number(options.runs);
const work = mkdtempSync(join(tmpdir(), "culprit-web-"));
const views = "overview exchanges services errors slow content clients connections inflight pages health".split(" ");

const median = (all) => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)];
const ms = (n) => `${n.toFixed(0).padStart(6)} ms`;

function makeStore() {
  const dir = join(work, "store");
  const done = spawnSync("go", ["run", "./bench/store", "-n", "1000000", "-dir", dir, "-keep", "-only", "ingest"], {
    cwd: root,
  });
  if (done.status !== 0) throw new Error(`making the store: ${done.stderr}`);
  return dir;
}

/** serve starts culprit, and resolves to its URL when it has printed that. */
function serve(args) {
  const child = spawn(join(root, "bin/culprit"), ["serve", "--listen", "127.0.0.1:0", ...args], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  return new Promise((done, failed) => {
    child.on("exit", (code) => failed(new Error(`culprit ended with ${code}`)));
    let text = "";
    child.stdout.on("data", (chunk) => {
      text += chunk;
      if (text.includes("\n")) done({ url: text.trim(), end: () => child.kill("SIGINT") });
    });
  });
}

/** settled waits until all questions of a page are answered, and its parts don't wait any more. */
const settled = (page) => page.waitForLoadState("networkidle");

async function firstPaint(context, url, view) {
  const page = await context.newPage();
  const at = new URL(url);
  await page.goto(`${at.origin}/${view}`);
  const paint = await page.evaluate(
    () =>
      new Promise((done) =>
        new PerformanceObserver((list, self) => {
          self.disconnect();
          done(list.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN);
        }).observe({ type: "paint", buffered: true }),
      ),
  );
  await settled(page);
  const answered = await page.evaluate(() =>
    Math.max(
      0,
      ...performance
        .getEntriesByType("resource")
        .filter((r) => r.name.includes("/api/") && !r.name.includes("/api/live"))
        .map((r) => r.responseEnd),
    ),
  );
  await page.close();
  return { paint, answered };
}

/** interactions does things in a page, and gives the longest time from each input to the frame after it. */
async function interactions(page, name, does) {
  await page.evaluate(() => {
    window.longest = 0;
    window.observer = new PerformanceObserver((list) => {
      for (const e of list.getEntries()) window.longest = Math.max(window.longest, e.duration);
    });
    window.observer.observe({ type: "event", durationThreshold: 16 });
  });
  await does();
  // Entries come with the frame after the one that they are about.
  await page.evaluate(
    () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 50)))),
  );
  const longest = await page.evaluate(() => {
    window.observer.disconnect();
    return window.longest;
  });
  console.log(`${name.padEnd(44)} ${longest === 0 ? "   < 16 ms" : ms(longest)}`);
}

const assets = join(root, "internal/web/ui/dist/assets");
const sizes = [join(assets, "../index.html.gz"), ...readdirSync(assets).map((f) => join(assets, f))].map(
  (f) => statSync(f).size,
);
console.log(`assets, compressed: ${sizes.reduce((a, b) => a + b, 0)} bytes in ${sizes.length} files\n`);

const sample = join(root, "testdata/sample");
const server = await serve(
  options.sample
    ? [
        "-r",
        join(sample, "shop.pcapng.zst"),
        "--config",
        join(sample, "culprit.yaml"),
        "--geoip",
        join(sample, "places.mmdb"),
        "--store",
        join(work, "sample"),
      ]
    : ["--store", options.store ?? makeStore()],
);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
});
try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  await page.goto(server.url);
  await settled(page);

  console.log(`${"view".padEnd(16)} ${"first paint".padStart(12)} ${"answered".padStart(12)}   medians of ${runs}`);
  for (const view of views.filter((v) => !options.only || v === options.only)) {
    const all = [];
    for (let i = 0; i < runs; i++) all.push(await firstPaint(context, server.url, view));
    console.log(
      `${view.padEnd(16)} ${ms(median(all.map((a) => a.paint))).padStart(12)} ${ms(median(all.map((a) => a.answered))).padStart(12)}`,
    );
  }

  console.log("\ninteraction, the longest from input to the next frame");
  const { origin } = new URL(server.url);
  await page.goto(`${origin}/exchanges`);
  await settled(page);
  const keys = async (key, times) => {
    for (let i = 0; i < times; i++) await page.keyboard.press(key);
  };
  await page.locator("main").click({ position: { x: 300, y: 200 } });
  await interactions(page, "exchanges: 30 rows down by j", () => keys("j", 30));
  await interactions(page, "exchanges: open the pane", () => page.keyboard.press("Enter"));
  await settled(page);
  await interactions(page, "exchanges: 20 rows on with the pane open", () => keys("j", 20));
  await interactions(page, "exchanges: close the pane", () => page.keyboard.press("Escape"));
  await interactions(page, "exchanges: wheel over 200 pages", async () => {
    await page.mouse.move(600, 400);
    for (let i = 0; i < 200; i++) await page.mouse.wheel(0, 700);
  });
  await interactions(page, "type a filter", async () => {
    await page.keyboard.press("/");
    await page.keyboard.type('status >= 500 and route == "/', { delay: 20 });
  });
  await keys("Escape", 2);
  await interactions(page, "dark and light", () => keys("d", 2));
  await interactions(page, "help", () => keys("?", 1));
  await keys("Escape", 1);
  await page.goto(`${origin}/overview`);
  await settled(page);
  await interactions(page, "overview: brush the heat map", async () => {
    await page.mouse.move(400, 180);
    await page.mouse.down();
    for (let i = 0; i < 40; i++) await page.mouse.move(400 + 6 * i, 180 + 2 * i);
    await page.mouse.up();
  });
  await interactions(page, "change the view", async () => {
    for (const view of ["errors", "slow", "health", "overview"]) await page.locator(`nav a[href^="/${view}"]`).click();
  });
  const heap = await page.evaluate(() => performance.memory?.usedJSHeapSize ?? 0);
  console.log(`\nheap of the page at the end: ${(heap / 2 ** 20).toFixed(0)} MiB`);
} finally {
  await browser.close();
  server.end();
  rmSync(work, { recursive: true, force: true });
}
