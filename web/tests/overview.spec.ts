import type { Locator, Page } from "@playwright/test";
import { expect, test } from "./culprit";
import { aggregate, apps, at, sample, slow } from "./sample";
import { column, expectAbout, nanoseconds, rows, whole } from "./tables";
import { settled } from "./views";
import { requests } from "../src/lib/kind";
import type { HeatmapAnswer, Status } from "../src/lib/types";

test.use({ args: sample });

const map = (page: Page) => page.getByRole("group", { name: /^Latency over time/ });

/** Where times and durations are on the map, in pixels of the page. */
interface Scale {
  x: (time: string) => number;
  y: (ns: number) => number;
}

/** scale works out where the map has what: seconds around everything stored, and eight bands to a power of ten. */
async function scale(over: Locator, status: Status, heat: HeatmapAnswer): Promise<Scale> {
  const box = (await over.boundingBox())!;
  const from = Math.floor(Date.parse(status.store.first!) / 1000) * 1000;
  const to = Math.floor(Date.parse(status.store.last!) / 1000) * 1000 + 1000;
  const bands = heat.bands.map((b) => Math.log10(Math.max(b.from, 1)) * 8);
  const low = Math.round(Math.min(...bands)) - 1;
  const high = Math.round(Math.max(...bands)) + 2;
  return {
    x: (time) => box.x + ((Date.parse(time) - from) / (to - from)) * box.width,
    y: (ns) => box.y + (1 - (Math.log10(ns) * 8 - low) / (high - low)) * box.height,
  };
}

/** painted is the part of a rectangle of the page whose pixels aren't the background's. */
async function painted(page: Page, x: number, y: number, width: number, height: number): Promise<number> {
  return page.evaluate(
    ([x, y, width, height]) => {
      const canvas = document.querySelector<HTMLCanvasElement>(".heatmap canvas")!;
      const box = canvas.getBoundingClientRect();
      const px = canvas.width / box.width;
      const at = [x! - box.left, y! - box.top, width!, height!].map((n) => Math.round(n * px));
      const { data } = canvas.getContext("2d")!.getImageData(at[0]!, at[1]!, at[2]!, at[3]!);
      let some = 0;
      for (let i = 3; i < data.length; i += 4) if (data[i]! > 128) some++;
      return some / (data.length / 4);
    },
    [x, y, width, height],
  );
}

test("the map shows when it was slow, and what is different about that is told", async ({ page, open, culprit }) => {
  await open(at("overview", { last: "all", where: apps }));
  await settled(page);
  const over = map(page).locator(".u-over");
  await over.scrollIntoViewIfNeeded();
  const status = await culprit.get<Status>("/api/status");
  const heat = await culprit.get<HeatmapAnswer>(at("api/heatmap", { where: apps }));
  const { x, y } = await scale(over, status, heat);
  const [left, right] = [x(slow.from), x(slow.to)];

  // Between 1 s and 2 s there is much in the slow phase, and little in the minute before.
  const [top, bottom] = [y(2e9), y(1e9)];
  const during = await painted(page, left, top, right - left, bottom - top);
  const before = await painted(page, x("2026-11-02T09:30:10Z"), top, right - left, bottom - top);
  expect(during).toBeGreaterThan(0.2);
  expect(before).toBeLessThan(during / 3);

  await page.mouse.move(left + 1, y(9e9));
  await page.mouse.down();
  await page.mouse.move((left + right) / 2, y(3e9));
  await page.mouse.move(right - 1, y(1.1e9));
  await page.mouse.up();
  await expect(page).toHaveURL(/sel=/);
  const [from, to, low, high] = new URL(page.url()).searchParams.get("sel")!.split(",").map(Number);
  const within = 10_000; // of milliseconds: cells are some seconds wide
  expect(Math.abs(from! - Date.parse(slow.from))).toBeLessThan(within);
  expect(Math.abs(to! - Date.parse(slow.to))).toBeLessThan(within);
  expect(low).toBe(1e9);
  expect(high).toBeGreaterThan(5e9);

  const different = page.getByRole("region", { name: "What is different about these" });
  const table = different.getByRole("table");
  const told = await rows(table);
  expect(told[0]).toMatchObject({ Field: "route", Value: "/api/stock/{id}" });
  const first = told.slice(0, 5).map((r) => r["Value"]!.split(",")[0]);
  expect(first.some((v) => v === "app-1" || v === "10.30.0.11")).toBe(true);
  expect(first).not.toContain("app-2");

  const selection = `${apps} and time >= "${iso(from!)}" and time < "${iso(to!)}" and duration >= ${low}ns and duration < ${high}ns`;
  const selected = await aggregate(culprit, { where: selection, group: "route" });
  const everything = await aggregate(culprit, { where: apps });
  const counts = /([\d\u202f]+) selected of ([\d\u202f]+)/.exec(await different.innerText())!;
  expect([whole(counts[1]), whole(counts[2])]).toEqual([selected.total.count, everything.total.count]);
  const stock = selected.groups.find((g) => g.keys[0] === "/api/stock/{id}")!;
  expect(parseFloat(told[0]!["These"]!)).toBeCloseTo((stock.count / selected.total.count) * 100, 0);

  // A click makes the filter, and the selection is done.
  await table.getByRole("button", { name: "/api/stock/{id}" }).click();
  await expect(page).not.toHaveURL(/sel=/);
  const where = new URL(page.url()).searchParams.get("where")!;
  expect(where.startsWith(`${apps} and `)).toBe(true);
  await expect(page.getByRole("combobox", { name: "Filter" })).toHaveValue(where);
  const narrowed = await aggregate(culprit, { where });
  expect(narrowed.total.count).toBe(
    (await aggregate(culprit, { where: `${apps} and route == "/api/stock/{id}"` })).total.count,
  );
  await expect.poll(() => total(page, "Requests")).toBe(String(narrowed.total.count));
});

const iso = (ms: number) => new Date(ms).toISOString();

/** total reads one of the totals; without thin spaces. */
async function total(page: Page, name: string): Promise<string> {
  const term = page
    .getByLabel("Totals")
    .locator("div")
    .filter({ has: page.getByText(name, { exact: true }) });
  return (await term.locator(".now").innerText()).replace(/\u202f/g, "");
}

test("totals and routes are those of the API", async ({ page, open, culprit }) => {
  await open(at("overview", { ...slow }));
  await settled(page);
  const metric = "errors,p50(duration),p90(duration),p99(duration)";
  const all = (await aggregate(culprit, { ...slow, where: requests, metric })).total;
  expect(await total(page, "Requests")).toBe(String(all.count));
  expect(parseFloat(await total(page, "Errors"))).toBeCloseTo((all.values["errors"]! / all.count) * 100, 0);
  for (const p of ["p50", "p90", "p99"]) expectAbout(nanoseconds(await total(page, p)), all.values[`${p}(duration)`]!);
  await expect(map(page)).toHaveAccessibleName(
    new RegExp(`: ${all.count.toLocaleString("fr")} exchanges`.replace(/\s/g, "\\s")),
  );

  const routes = page.getByRole("region", { name: "Where the time went" }).getByRole("table");
  const { groups } = await aggregate(culprit, {
    ...slow,
    where: `${requests} and not culprit.stream`,
    group: "route",
    metric: "sum(duration)",
    sort: "sum(duration)",
  });
  expect(groups[0]!.keys).toEqual(["/api/stock/{id}"]);
  expect(await column(routes, "Route")).toEqual(groups.slice(0, 15).map((g) => g.keys[0] ?? "none"));
  const [first] = await rows(routes);
  expectAbout(nanoseconds(first!["Time"]), groups[0]!.values["sum(duration)"]!);
  expect(whole(first!["Requests"])).toBe(groups[0]!.count);
});

test("a selection is made with the keys, and a link has it", async ({ page, open }) => {
  await open(at("overview", { last: "all", where: apps }));
  await settled(page);
  await map(page).focus();
  await page.keyboard.press("ArrowLeft");
  for (let i = 0; i < 20; i++) await page.keyboard.press("Shift+ArrowLeft");
  for (let i = 0; i < 20; i++) await page.keyboard.press("Shift+ArrowUp");
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/sel=/);
  const different = page.getByRole("region", { name: "What is different about these" });
  await expect(different).toContainText(/selected of/);
  const said = /[\d\u202f]+ selected of [\d\u202f]+/.exec(await different.innerText())![0];
  await page.reload();
  await expect(different).toContainText(said);
  await page.keyboard.press("Escape");
  await expect(different).toHaveCount(0);
  await expect(page).not.toHaveURL(/sel=/);
});
