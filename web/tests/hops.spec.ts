// Hops of a request, verdicts that they change, and the ways that requests take.

import type { Page } from "@playwright/test";
import { violations } from "./axe";
import { expect, test } from "./culprit";
import { databases } from "./databases";
import { overlaps, small, wide } from "./place";
import { rows, whole } from "./tables";
import { node, trace } from "./traces";
import { settled } from "./views";
import type { Doc, RoutesAnswer, SearchAnswer, TraceAnswer } from "../src/lib/types";

test.use({ args: databases });

const tree = (page: Page) => page.getByRole("table", { name: "Hops of the request" });
const pane = (page: Page) => page.getByRole("complementary", { name: "Exchange" });
const idOf = (doc: Doc) => (doc["event"] as { id: string }).id;

async function find(culprit: { get<T>(path: string): Promise<T> }, where: string): Promise<string> {
  const { exchanges } = await culprit.get<SearchAnswer>(`/api/exchanges?${new URLSearchParams({ where, limit: "1" })}`);
  return idOf(exchanges[0]!);
}

test.describe("the hops of a request", () => {
  test("end with the statement that is to blame", { tag: "@phone" }, async ({ page, open, culprit }) => {
    const id = await find(culprit, 'path == "/report"');
    const answer = await culprit.get<TraceAnswer>(`/api/traces/${id}`);
    await open(`/hops/${id}?last=all`);
    const hops = await rows(tree(page));
    expect(hops.map((r) => r["Hop"])).toHaveLength(answer.nodes.length);
    expect(hops[0]!["Hop"]).toContain("level 1: 198.51.100.10:8080 HTTP GET /report");
    expect(hops.at(-1)!["Hop"]).toMatch(/^level 2: 198\.51\.100\.30:5432 PostgreSQL SELECT page, .*◀ culprit$/);
    await expect(page.getByText("Culprit: 198.51.100.30:5432")).toBeVisible();
    await expect(page.locator(".verdict")).toContainText("server, slow application");
    // The time of the request is that of the statement.
    const [whole, own] = [answer.nodes[0]!, answer.nodes.at(-1)!];
    expect(own.id).toBe(answer.culprit);
    expect(own.self).toBeGreaterThan(whole.duration * 0.9);
    expect(whole.blame).toMatchObject({ who: "upstream", upstream: "198.51.100.30:5432" });
    expect(await violations(page)).toEqual([]);
    expect(await wide(page)).toEqual([]);
    expect(await overlaps(page)).toEqual([]);
    expect(await small(page)).toEqual([]);
  });

  test("open in the pane, where the tree is as well", async ({ page, open, culprit }) => {
    const id = await find(culprit, 'path == "/report"');
    await open(`/exchanges?last=all&open=${id}&tab=hops`);
    const culpritRow = tree(page).locator("tr.culprit");
    await expect(culpritRow).toContainText("culprit");
    await culpritRow.click();
    await expect(pane(page).getByRole("heading", { level: 1 })).toContainText("pg_sleep");
    await expect(pane(page).getByRole("tab", { name: "Hops" })).toHaveAttribute("aria-selected", "true");
    await expect(tree(page).locator("tr.chosen")).toContainText("PostgreSQL");
    await pane(page).getByRole("link", { name: "Show it on the whole page" }).click();
    await expect(page).toHaveURL(/\/hops\/[0-9A-Z]{26}/);
    await expect(tree(page).locator("tbody tr").first()).toContainText("/report");
  });

  test("are moved through by keys", async ({ page, open, culprit }) => {
    const id = await find(culprit, 'path == "/report"');
    await open(`/exchanges?last=all&open=${id}&tab=hops`);
    const hops = tree(page).getByRole("button");
    await expect(hops).toHaveCount(3);
    await hops.first().focus();
    await page.keyboard.press("ArrowDown");
    await expect(hops.nth(1)).toBeFocused();
    await page.keyboard.press("End");
    await expect(hops.nth(2)).toBeFocused();
    await page.keyboard.press("ArrowLeft"); // to what caused it
    await expect(hops.first()).toBeFocused();
    await page.keyboard.press("ArrowRight");
    await expect(hops.nth(1)).toBeFocused();
    // The list beside hasn't moved; Enter opens.
    await expect(page).toHaveURL(new RegExp(`open=${id}`));
    await page.keyboard.press("Enter");
    await expect(page).not.toHaveURL(new RegExp(`open=${id}`));
    await expect(pane(page).getByRole("heading", { level: 1 })).toContainText("pg_sleep");
  });

  test(
    "say what is unsure, unseen, seen twice, or too much to look at",
    { tag: "@phone" },
    async ({ page, open, culprit }) => {
      const id = await find(culprit, 'path == "/report"');
      const made = trace(
        [
          node({
            id,
            service: "edge",
            duration: 431e6,
            self: 1e6,
            blame: { ...verdict, who: "unclear", why: "packet 7 is missing" },
          }),
          node({
            ...{ id: "b", parent: id, depth: 1, service: "lb", method: "timing", confidence: 0.62, offset: 1e6 },
            ...{
              duration: 400e6,
              network: { request: 2e6, response: 3e6 },
              seen: [{ id: "c", tap: "app", duration: 395e6 }],
            },
          }),
          node({
            id: "d",
            parent: id,
            depth: 1,
            offset: 900e6,
            duration: 5e6,
            async: true,
            unseen: "it goes on over a unix socket",
          }),
        ],
        {
          truncated: true,
          left_out: 3,
          looked_at: 15_000,
          offsets: [{ tap: "app", offset: -3e6, bound: 1e5, samples: 9 }],
        },
      );
      await page.route("**/api/traces/*", (route) => route.fulfill({ json: made }));
      await open(`/hops/${id}?last=all`);
      for (const said of [
        "Unclear who is to blame: packet 7 is missing",
        "1 link is unsure, with dashes before it",
        "More was stored around it than the 15\u202f000 exchanges that were looked at",
        "3 more hops aren't shown.",
        "The clock of the tap app is 3.00 ms behind, within 100 µs, by 9 exchanges seen at both",
        "linked by timing: 62 % sure",
        "between its taps 2.00 ms there, 3.00 ms back",
        "seen at app too: 395 ms",
        "began after the answer to what caused it had ended",
        "it goes on over a unix socket",
      ])
        await expect(page.getByRole("main")).toContainText(said);
      await expect(tree(page).locator(".unsure")).toHaveCount(1);
      await expect(tree(page).locator(".unsure")).toHaveCSS("border-left-style", "dashed");
      await expect(tree(page).locator("tr.culprit")).toHaveCount(0);
      expect(await violations(page)).toEqual([]);
      expect(await wide(page)).toEqual([]);
      expect(await overlaps(page)).toEqual([]);
    },
  );

  test("are looked for from a list of requests", async ({ page, open }) => {
    await open("/hops?last=all");
    const list = page.getByRole("table", { name: "Slowest requests" });
    const [first] = await rows(list);
    expect(first!["Request"]).toContain("/report");
    await list
      .getByRole("button", { name: /\d\d:\d\d/ })
      .first()
      .click();
    await expect(tree(page)).toContainText("PostgreSQL");
    await page.getByRole("button", { name: "Failed" }).click();
    await expect(page.getByRole("table", { name: "Failed requests" })).toContainText("/broken");
    await expect(page).toHaveURL(/\/hops\/.*list=failed/);
  });

  test("of what isn't stored are missed politely", async ({ page, open, faults }) => {
    faults.expect(/status of 404/);
    await open("/hops/00000000000000000000000000?last=all");
    await expect(page.getByRole("main")).toContainText(/isn't stored|isn't there|no exchange/i);
  });
});

const verdict = {
  who: "server",
  situation: "",
  time: 0,
  share: 0,
  confidence: 0,
  upstream: "",
  why: "",
  evidence: [] as string[],
};

test.describe("the ways that requests took", () => {
  test("lead to the databases", { tag: "@phone" }, async ({ page, open, culprit }) => {
    const answer = await culprit.get<RoutesAnswer>("/api/routes");
    await open("/services?last=all");
    await settled(page);
    const table = page.getByRole("table", { name: "Routes with the chains" });
    const said = await rows(table);
    const at = said.findIndex((r) => r["Route and chains"]!.includes("/products/{id}"));
    const products = answer.routes.find((r) => r.route === "/products/{id}")!;
    expect(whole(said[at]!["Requests"])).toBe(products.count);
    expect(said[at + 1]!["Route and chains"]).toContain("198.51.100.10:8080→198.51.100.40:6379Redis");
    expect(said[at + 2]!["Route and chains"]).toContain("198.51.100.20:3306MySQL");
    expect(whole(said[at + 1]!["Requests"])).toBe(products.steps.find((s) => s.protocol === "redis")!.ended);

    await table.getByRole("link", { name: "198.51.100.20:3306" }).first().click();
    await expect(page.getByRole("combobox", { name: "Filter" })).toHaveValue('server == "198.51.100.20"');
    // Requests are chosen by what they caused: their whole way is still there.
    await expect(table).not.toContainText("/report");
    await expect(table).toContainText("/products/{id}");
    await expect(table).toContainText("6379");
  });
});
