import type { Page } from "@playwright/test";
import { expect, test } from "./culprit";

const button = (page: Page) => page.getByRole("button", { name: /^Time range/ });
const panel = (page: Page) => page.getByRole("dialog", { name: "Time range" });
const param = (page: Page, name: string) => new URL(page.url()).searchParams.get(name);

test("a preset is chosen", { tag: "@phone" }, async ({ page, open }) => {
  await open("/health");
  await expect(button(page)).toHaveText("Everything stored"); // a file's time is what it has
  await button(page).click();
  await expect(panel(page).getByRole("button", { name: "Everything stored" })).toBeFocused();
  await panel(page).getByRole("button", { name: "Last hour" }).click();
  await expect(button(page)).toHaveText("Last hour");
  expect(param(page, "last")).toBe("1h");
  await expect(panel(page)).toHaveCount(0);
  await expect(button(page)).toBeFocused();
});

test("a time is written, in the viewer's zone", { tag: "@phone" }, async ({ page, open }) => {
  await open("/health?last=all");
  await button(page).click();
  await panel(page).getByLabel("From").fill("2026-01-15 10:42:07");
  await expect(panel(page).getByText("2026-01-15 10:42:07.000 +01:00")).toBeVisible();
  await panel(page).getByLabel("To").fill("2026-01-15 09:42:22.5Z");
  await panel(page).getByLabel("To").press("Enter");
  expect([param(page, "from"), param(page, "to"), param(page, "last")]).toEqual([
    "2026-01-15T09:42:07.000Z",
    "2026-01-15T09:42:22.500Z",
    null,
  ]);
  await expect(button(page)).toHaveText("2026-01-15 10:42:07 – 10:42:22 +01:00");
});

test("the offset is that of the time that is shown", async ({ page, open }) => {
  await open("/health?from=2026-03-29T00:30:00Z&to=2026-03-29T01:30:00Z");
  await expect(button(page)).toHaveText("2026-03-29 01:30:00 +01:00 – 03:30:00 +02:00");
  await button(page).click();
  await expect(panel(page).getByLabel("To")).toHaveValue("2026-03-29 03:30:00 +02:00");
});

test("what isn't a time is said, and not taken", async ({ page, open }) => {
  await open("/health?last=all");
  await button(page).click();
  await panel(page).getByLabel("From").fill("yesterday");
  await panel(page).getByRole("button", { name: "Show this time" }).click();
  await expect(panel(page).getByText("From isn't a time")).toBeVisible();
  await expect(panel(page).getByLabel("From")).toBeFocused();
  await panel(page).getByLabel("From").fill("2026-01-15 11:00");
  await panel(page).getByLabel("To").fill("2026-01-15 10:00");
  await panel(page).getByLabel("To").press("Enter");
  await expect(panel(page).getByText("To must be later than from")).toBeVisible();
  expect(param(page, "last")).toBe("all");
});

test("earlier, later, wider", async ({ page, open }) => {
  await open("/health?from=2026-01-15T10:00:00Z&to=2026-01-15T10:10:00Z");
  await button(page).click();
  await panel(page).getByRole("button", { name: "Earlier" }).click();
  expect([param(page, "from"), param(page, "to")]).toEqual(["2026-01-15T09:50:00.000Z", "2026-01-15T10:00:00.000Z"]);
  await panel(page).getByRole("button", { name: "Later" }).click();
  await panel(page).getByRole("button", { name: "Later" }).click();
  expect([param(page, "from"), param(page, "to")]).toEqual(["2026-01-15T10:10:00.000Z", "2026-01-15T10:20:00.000Z"]);
  await panel(page).getByRole("button", { name: "Zoom out" }).click();
  expect([param(page, "from"), param(page, "to")]).toEqual(["2026-01-15T10:05:00.000Z", "2026-01-15T10:25:00.000Z"]);
  await expect(panel(page).getByLabel("From")).toHaveValue("2026-01-15 11:05:00 +01:00");
  await page.goBack();
  expect(param(page, "from")).toBe("2026-01-15T10:10:00.000Z");
});

test("Escape and a click beside close it", async ({ page, open }) => {
  await open("/health?last=all");
  await page.keyboard.press("t");
  await expect(panel(page)).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(panel(page)).toHaveCount(0);
  await button(page).click();
  await page.getByRole("main").click({ position: { x: 20, y: 300 } });
  await expect(panel(page)).toHaveCount(0);
});

test("live makes a range move that stands still", async ({ page, open }) => {
  await open("/health?from=2026-01-15T10:00:00Z&to=2026-01-15T10:10:00Z");
  await page.getByRole("button", { name: "Live" }).click();
  await expect(button(page)).toHaveText("Last 15 minutes");
  expect([param(page, "from"), param(page, "live")]).toEqual([null, "1"]);
  await button(page).click();
  await panel(page).getByRole("button", { name: "Earlier" }).click();
  expect(param(page, "live")).toBeNull();
});

test("a clock that differs from culprit's doesn't matter", async ({ page, open, culprit }) => {
  await page.clock.setFixedTime(new Date("2020-01-01T00:00:00Z"));
  const asked = page.waitForRequest(/\/api\/(heatmap|histogram|aggregate)/);
  await open("/overview?last=1h");
  const to = new URL((await asked).url()).searchParams.get("to")!;
  const { now } = await culprit.get<{ now: string }>("/api/status");
  expect(Math.abs(Date.parse(to) - Date.parse(now))).toBeLessThan(60_000);
});

test("what isn't live isn't asked for again by itself", async ({ page, open }) => {
  await open("/overview?last=all");
  await page.waitForLoadState("networkidle");
  const asked: string[] = [];
  page.on("request", (r) => asked.push(new URL(r.url()).pathname));
  // The status is asked for again and again: twice here.
  for (let i = 0; i < 2; i++) await page.waitForResponse(/\/api\/status/);
  expect(asked.filter((path) => path !== "/api/status")).toEqual([]);
});
