// A list of a million exchanges with CULPRIT_SOAK=1, else of 50,000.

import type { Page } from "@playwright/test";
import { big, expect, Serving, test } from "./culprit";
import { grid, rowCount, scrollTo, seen } from "./list";
import { aggregate, search } from "./sample";
import type { HistogramAnswer, Status } from "../src/lib/types";

const timeout = process.env.CULPRIT_SOAK ? 15 * 60_000 : 3 * 60_000;
test.describe.configure({ timeout });

let serving: Serving;
let all: number;
test.beforeAll(async () => {
  test.setTimeout(timeout); // making the store takes a while
  serving = await Serving.start(["--store", await big()]);
  all = (await serving.get<Status>("/api/status")).store.exchanges;
});
test.afterAll(() => serving?.stop());

/** Bytes of the page's objects, after what isn't used any more has been collected. */
async function heap(page: Page): Promise<number> {
  const session = await page.context().newCDPSession(page);
  await session.send("HeapProfiler.collectGarbage");
  const { usedSize } = await session.send("Runtime.getHeapUsage");
  await session.detach();
  return usedSize;
}

test("all rows are there, at once and with their numbers", async ({ page, open }) => {
  const wanted = process.env.CULPRIT_SOAK ? 1_000_000 : 50_000;
  expect(all).toBe(wanted);
  await open("/exchanges?last=all", serving);
  await expect.poll(() => rowCount(page).catch(() => 0)).toBe(all);
  const fields = "@timestamp,id,target,vhost";
  const id = (docs: { [name: string]: unknown }[]) => (docs[0]!["event"] as { id: string }).id;

  // The ends. How many rows there are is known before they are.
  await seen(page);
  await grid(page).locator('[data-row="0"]').click();
  await expect(page).toHaveURL(new RegExp(`open=${id(await search(serving, { limit: "1", fields }))}`));
  await page.keyboard.press("Escape");
  await grid(page).focus();
  await page.keyboard.press("End");
  await seen(page, all - 1);
  await grid(page)
    .locator(`[data-row="${all - 1}"]`)
    .click();
  await expect(page).toHaveURL(
    new RegExp(`open=${id(await search(serving, { limit: "1", fields, ascending: "true" }))}`),
  );
  await page.keyboard.press("Escape");

  // The number of a row is how many are newer.
  for (const part of [0.5, 0.123, 0.87]) {
    const row = await jump(page, part);
    await grid(page).locator(`[data-row="${row}"]`).click();
    await expect(page).toHaveURL(/open=/);
    const open = new URL(page.url()).searchParams.get("open")!;
    const doc = await serving.get<{ "@timestamp": string }>(`/api/exchanges/${open}`);
    const count = async (where: string) =>
      (await serving.get<HistogramAnswer>(`/api/histogram?buckets=1&where=${encodeURIComponent(where)}`)).total.count;
    const newer = await count(`time > "${doc["@timestamp"]}"`);
    const same = await count(`time == "${doc["@timestamp"]}"`);
    expect(row).toBeGreaterThanOrEqual(newer);
    expect(row).toBeLessThan(newer + same);
    await page.keyboard.press("Escape");
  }
  await expect(page.getByRole("main").getByRole("alert")).toHaveCount(0);
});

/** jump goes to a part of the list, and returns the number of a row that is seen there. */
async function jump(page: Page, part: number): Promise<number> {
  const first = () =>
    grid(page)
      .locator("[data-row]")
      .first()
      .evaluate((row) => Number(row.dataset["row"]));
  await scrollTo(page, part);
  const about = Math.round(all * part);
  await expect.poll(async () => Math.abs((await first()) - about)).toBeLessThan(all / 100);
  const row = (await first()) + 5;
  await seen(page, row);
  return row;
}

test("a filter leaves those that it chooses", async ({ page, open }) => {
  await open("/exchanges?last=all", serving);
  await expect.poll(() => rowCount(page).catch(() => 0)).toBe(all);
  const filter = page.getByRole("combobox", { name: "Filter" });
  await filter.fill("status >= 500");
  await filter.press("Enter");
  const { total } = await aggregate(serving, { where: "status >= 500" });
  expect(total.count).toBeGreaterThan(0);
  expect(total.count).toBeLessThan(all);
  await expect.poll(() => rowCount(page)).toBe(total.count);
  await scrollTo(page, 0.5);
  const rows = await seen(page, Math.floor(total.count / 2));
  for (const row of rows) expect(row.cells["status"]).toMatch(/^5\d\d$/);
});

test("scrolling through all keeps the page small", async ({ page, open }) => {
  await open("/exchanges?last=all", serving);
  await expect.poll(() => rowCount(page).catch(() => 0)).toBe(all);
  await seen(page);
  const before = await heap(page);
  const steps = 80;
  for (let i = 1; i <= steps; i++) {
    await jump(page, i / steps);
  }
  // 10,000 rows are kept, of half a KiB each; some 48,000 were loaded.
  expect(await heap(page)).toBeLessThan(before + (8 << 20));
  expect(await page.evaluate(() => document.querySelectorAll("*").length)).toBeLessThan(3_000);
  await expect(page.getByRole("main").getByRole("alert")).toHaveCount(0);
});

test("every view answers", async ({ page, open }) => {
  for (const view of ["overview", "services", "errors", "slow", "content", "clients", "connections", "pages"]) {
    await open(`/${view}?last=all`, serving);
    const main = page.getByRole("main");
    await expect(main.getByRole("heading").first()).toBeAttached();
    await page.waitForLoadState("networkidle");
    await expect(main.locator("[aria-busy=true]")).toHaveCount(0, { timeout: 60_000 });
    await expect(main.getByRole("alert")).toHaveCount(0);
  }
});
