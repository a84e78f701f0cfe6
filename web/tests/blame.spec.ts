// Who is to blame: over time, by culprit, for one exchange, for a connection.

import type { Page } from "@playwright/test";
import { violations } from "./axe";
import { expect, test } from "./culprit";
import { overlaps, small, wide } from "./place";
import { aggregate, at, sample, search, slow } from "./sample";
import { expectAbout, nanoseconds, rows, whole } from "./tables";
import { settled } from "./views";
import { count } from "../src/lib/format";
import { requests } from "../src/lib/kind";
import type { Doc } from "../src/lib/types";

test.use({ args: sample });

const lost = "sum(culprit.blame.time)";
const filter = (page: Page) => page.getByRole("combobox", { name: "Filter" });
const pane = (page: Page) => page.getByRole("complementary", { name: "Exchange" });
const idOf = (doc: Doc) => (doc["event"] as { id: string }).id;

test.describe("the overview", () => {
  test("shows time lost by who is to blame, each one click from a filter", async ({ page, open, culprit }) => {
    await open(at("overview", { last: "all" }));
    await settled(page);
    await expect(page.getByRole("group", { name: /^Time lost\/s\. .*server/ })).toBeVisible();
    const buttons = page.getByRole("group", { name: "Time lost, by who is to blame" }).getByRole("button");
    const where = `${requests} and has(culprit.blame.time)`;
    const { groups } = await aggregate(culprit, { where, group: "culprit.blame.who", metric: lost, sort: lost });
    expect(groups.length).toBeGreaterThan(1);
    await expect(buttons).toHaveCount(groups.length);
    const first = await buttons.first().innerText();
    expectAbout(nanoseconds(first.replace(/\s+/g, " ")), groups[0]!.values[lost]!);
    await buttons.first().click();
    await expect(filter(page)).toHaveValue(`blame == "${groups[0]!.keys[0]}"`);
    await expect(buttons).toHaveCount(1);
  });

  test("names the culprits, with what happened and where", async ({ page, open, culprit }) => {
    await open(at("overview", { ...slow, where: 'service == "app-1"' }));
    const table = page.getByRole("table", { name: "Culprits by time lost" });
    const [first] = await rows(table);
    expect(first!["Who"]).toBe("server");
    expect(first!["What happened"]).toBe("slow application");
    expect(first!["Route and server"]).toContain("/api/stock/{id}");
    const { groups } = await aggregate(culprit, {
      ...{ ...slow, where: 'service == "app-1" and has(culprit.blame.time)', metric: lost, sort: lost },
      group: "culprit.blame.who,culprit.blame.situation,culprit.route,server.ip",
    });
    expectAbout(nanoseconds(first!["Time lost"]), groups[0]!.values[lost]!);
    expect(whole(first!["Exchanges"])).toBe(groups[0]!.count);

    // The count leads to exactly these.
    await table.locator("tbody tr").first().getByRole("link").click();
    await expect(page).toHaveURL(/\/exchanges/);
    const where = new URL(page.url()).searchParams.get("where")!;
    expect((await aggregate(culprit, { ...slow, where })).total.count).toBe(groups[0]!.count);
  });

  test("tells failures apart from time lost", async ({ page, open, culprit }) => {
    await open(at("overview", { last: "all" }));
    await page.getByRole("button", { name: "Failures" }).click();
    await expect(page).toHaveURL(/culprits=failures/);
    const table = page.getByRole("table", { name: "Culprits by failures" });
    const listed = await rows(table);
    expect(listed.length).toBeGreaterThan(2);
    const { groups } = await aggregate(culprit, {
      where: 'has(blame) and blame not in ["none", "unclear"] and not has(culprit.blame.time)',
      group: "culprit.blame.who,culprit.blame.situation,culprit.route,server.ip",
    });
    expect(listed.map((r) => whole(r["Exchanges"]))).toEqual(groups.slice(0, listed.length).map((g) => g.count));
    await table.getByRole("button", { name: "client", exact: true }).first().click();
    await expect(filter(page)).toHaveValue('blame == "client"');
  });
});

test.describe("a verdict", () => {
  const slowest = { where: `situation == "slow-application" and ${requests}`, sort: "duration", limit: "1" };

  test("has its evidence, and packets that lead to the packets", { tag: "@phone" }, async ({ page, open, culprit }) => {
    const [doc] = await search(culprit, slowest);
    const blame = (doc!["culprit"] as { blame: { evidence: string[]; time: number } }).blame;
    await open(at("exchanges", { last: "all", open: idOf(doc!) }));
    const verdict = pane(page).getByRole("region", { name: "Verdict" });
    await expect(verdict).toContainText("server");
    await expect(verdict).toContainText("slow application");
    expectAbout(nanoseconds(await verdict.locator("b").first().innerText()), blame.time);
    await expect(verdict.getByRole("list", { name: "Evidence" })).toHaveText(blame.evidence.join(""));
    const numbers = [...blame.evidence[0]!.matchAll(/packet (\d+)/g)].map((m) => m[1]!);
    expect(numbers.length).toBeGreaterThan(0);
    expect(await violations(page)).toEqual([]);
    expect(await small(page)).toEqual([]);

    await verdict.getByRole("button", { name: `Packet ${numbers[0]}`, exact: true }).click();
    await expect(page).toHaveURL(new RegExp(`tab=packets&packet=${numbers[0]}`));
    const chosen = pane(page).locator("tr[aria-current=true]");
    await expect(chosen).toContainText(numbers[0]!);
    await expect(chosen).toContainText(blame.evidence[0]!);
    await expect(chosen.getByRole("button")).toBeFocused();
    expect(await wide(page)).toEqual([]);
    expect(await overlaps(page)).toEqual([]);
    await page.goBack();
    await expect(verdict).toBeVisible();
  });

  test("comes with the split of the time, in words and on the bar", async ({ page, open, culprit }) => {
    const [doc] = await search(culprit, slowest);
    const { split } = doc!["culprit"] as { split: { wait: Record<string, number> } };
    await open(at("exchanges", { last: "all", open: idOf(doc!) }));
    const timing = pane(page).getByRole("region", { name: "Timing" });
    const words = await timing.locator("tr.split").filter({ hasText: "server " }).first().innerText();
    expectAbout(nanoseconds(/(?:^|, )server ([\d.]+ \S+)/.exec(words)![1]), split.wait["server"]!);
    await expect(timing).toContainText(/Due to .*server [\d.]+ m?s \(/);
    // What is due to the network is hatched, as wide as it is.
    const whole = (doc!["culprit"] as { timing: { total: number } }).timing.total;
    const part = split.wait["server_network"]! / whole;
    const hatch = timing.locator("rect.hatch").first();
    await expect(hatch).toHaveCount(1);
    const drawn = await timing
      .locator("td.bar rect.hatch")
      .evaluateAll((all) => all.map((e) => e.getAttribute("width")!));
    expect(drawn.map((w) => parseFloat(w) / 100).some((w) => Math.abs(w - part) < 0.001)).toBe(true);
  });

  test("of nobody says so", async ({ page, open, culprit }) => {
    const [doc] = await search(culprit, { where: `blame == "none" and ${requests}`, limit: "1" });
    await open(at("exchanges", { last: "all", open: idOf(doc!) }));
    await expect(pane(page).getByRole("region", { name: "Verdict" })).toContainText("Nobody");
  });
});

test.describe("connections", () => {
  test("say whom the time is due to", async ({ page, open, culprit }) => {
    await open(at("connections", { last: "all" }));
    const table = page.getByRole("table", { name: "Time of all exchanges by phase and cause" });
    const [, , wait] = await rows(table);
    const metric = "sum(culprit.split.wait.server)";
    const { total } = await aggregate(culprit, { where: "not culprit.stream", metric });
    expectAbout(nanoseconds(/^[\d.]+ (?:h|m|s|ms|µs)(?: \d\d \S)?/.exec(wait!["Server"]!)![0]), total.values[metric]!);
    await expect(table.locator("tfoot")).toContainText("%");
  });

  test("with trouble have a diagnosis", { tag: "@phone" }, async ({ page, open, culprit }) => {
    await open(at("connections", { last: "all" }));
    const table = page.getByRole("table", { name: "Connections with trouble" });
    await table.getByRole("link").first().click();
    await expect(page).toHaveURL(/connection=1%3A/);
    const diagnosis = page.getByRole("region", { name: "Diagnosis" });
    const community = new URL(page.url()).searchParams.get("connection")!;
    const where = `network.community_id == "${community}"`;
    const again = await aggregate(culprit, {
      where,
      metric: "sum(culprit.net.server.retransmits),sum(culprit.net.server.packets)",
    });
    const [n, packets] = ["retransmits", "packets"].map((f) => again.total.values[`sum(culprit.net.server.${f})`]);
    expect(n).toBeGreaterThan(0);
    await expect(diagnosis).toContainText(`the server ${count(n)} of ${count(packets)} packets`);
    await expect(diagnosis).toContainText(/of its time is due to the/);
    expect(await violations(page)).toEqual([]);
    expect(await wide(page)).toEqual([]);
    expect(await overlaps(page)).toEqual([]);
    await diagnosis.getByRole("link", { name: "Close" }).click();
    await expect(diagnosis).toHaveCount(0);
  });
});
