import type { Page } from "@playwright/test";
import { canCapture, expect, live, test, type Live } from "./culprit";
import { grid, rowCount, scrollTo, seen } from "./list";

const missing = canCapture();
test.skip(missing !== "", missing);

/** ask sends requests, one after the other, which the page is going to show. */
async function ask(here: Live, ...targets: string[]): Promise<void> {
  for (const target of targets) {
    const response = await fetch(`http://127.0.0.1:${here.port}${target}`);
    await response.text();
  }
}

/** follow opens a page, and waits until it is told what completes. */
async function follow(page: Page, open: () => Promise<void>): Promise<void> {
  await Promise.all([page.waitForResponse(/\/api\/live\?/), open()]);
}

const numbered = (from: number, n: number) => Array.from({ length: n }, (_, i) => `/request/${from + i}`);
const targets = async (page: Page, row = 0) =>
  (await seen(page, row)).map((r) => r.cells["target"]!.replace(/^[^/]*/, ""));

test("what completes appears in the list, which stands still once it is scrolled", async ({ page, open }) => {
  const here = await live((request, response) => {
    response.writeHead(request.url === "/missing" ? 404 : 200);
    response.end("done");
  });
  try {
    await follow(page, () => open("/exchanges?live=1", here.serving));
    await expect(page.getByRole("button", { name: "Live" })).toHaveAttribute("aria-pressed", "true");
    await expect(page.getByText(/no HTTP exchange has completed yet/)).toBeVisible();
    await page.evaluate(() => (document.body.dataset["loaded"] = "once"));

    await ask(here, "/first");
    await expect.poll(() => targets(page)).toEqual(["/first"]);
    await ask(here, "/second", "/missing");
    await expect.poll(() => targets(page)).toEqual(["/missing", "/second", "/first"]);
    expect((await seen(page))[0]!.cells["status"]).toBe("404");

    // More than fit into the window; the newest are at the top.
    await ask(here, ...numbered(0, 60));
    await expect.poll(async () => (await targets(page))[0]).toBe("/request/59");
    await expect.poll(() => rowCount(page)).toBe(63);
    await expect(page.getByText(/^63 exchanges/)).toBeVisible();

    // Scrolled, nothing moves, and what came meanwhile is counted.
    await scrollTo(page, 0.5);
    const paused = page.getByRole("button", { name: "Paused: back to live" });
    await expect(paused).toBeVisible();
    const middle = await targets(page, 30);
    expect(middle).not.toContain("/request/59");
    await ask(here, ...numbered(60, 7));
    const unseen = page.getByRole("button", { name: "7 new: show" });
    await expect(unseen).toBeVisible();
    expect(await targets(page, 30)).toEqual(middle);

    await unseen.click();
    await expect.poll(async () => (await targets(page)).slice(0, 2)).toEqual(["/request/66", "/request/65"]);
    await expect(unseen).toBeHidden();
    await expect.poll(() => rowCount(page)).toBe(70);
    await ask(here, "/last");
    await expect.poll(async () => (await targets(page))[0]).toBe("/last");
    expect(await page.evaluate(() => document.body.dataset["loaded"])).toBe("once"); // the page wasn't loaded anew

    // It is stored, too, and each row is there once.
    await here.serving.stored(71);
    await page.getByRole("button", { name: "Live" }).click();
    await page.reload();
    await expect.poll(() => rowCount(page)).toBe(71);
    expect((await targets(page)).slice(0, 3)).toEqual(["/last", "/request/66", "/request/65"]);
  } finally {
    await here.stop();
  }
});

test("the live list has what the filter chooses", async ({ page, open }) => {
  const here = await live((request, response) => {
    response.writeHead(request.url!.startsWith("/bad") ? 503 : 200);
    response.end();
  });
  try {
    await follow(page, () => open("/exchanges?live=1&where=status+%3E%3D+500", here.serving));
    await ask(here, "/good/1", "/bad/1", "/good/2", "/bad/2");
    await expect.poll(() => targets(page)).toEqual(["/bad/2", "/bad/1"]);
    await ask(here, "/good/3", "/bad/3");
    await expect.poll(() => targets(page)).toEqual(["/bad/3", "/bad/2", "/bad/1"]);
  } finally {
    await here.stop();
  }
});

test("rows that have just come stay when one of them is opened", async ({ page, open }) => {
  const here = await live((_, response) => response.end());
  try {
    await ask(here, "/1");
    await follow(page, () => open("/exchanges?live=1", here.serving));
    await ask(here, "/2", "/3");
    await expect.poll(() => targets(page)).toEqual(["/3", "/2", "/1"]);
    await grid(page).locator('[data-row="1"]').click();
    const pane = page.getByRole("complementary", { name: "Exchange" });
    await expect(pane).toContainText("/2");
    await ask(here, "/4");
    await expect.poll(() => targets(page)).toEqual(["/4", "/3", "/2", "/1"]);
    // What is open stays what it is, and the keys go on from there.
    await expect(pane).toContainText("/2");
    await expect(grid(page).getByRole("row", { selected: true })).toHaveAttribute("data-row", "2");
    await page.keyboard.press("k");
    await expect(pane).toContainText("/3");
  } finally {
    await here.stop();
  }
});

test("numbers of other views follow", async ({ page, open }) => {
  const here = await live((_, response) => {
    response.writeHead(404);
    response.end();
  });
  try {
    await ask(here, "/1", "/2");
    await here.serving.stored(2);
    await open("/errors?live=1", here.serving);
    const region = page.getByRole("region", { name: "Errors", exact: true });
    await expect(region).toContainText("2 failed of 2");
    await ask(here, "/3");
    await expect(region).toContainText("3 failed of 3", { timeout: 20_000 });
  } finally {
    await here.stop();
  }
});
