import { execFile, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Locator, Page } from "@playwright/test";
import { canCapture, expect, folder, live, test } from "./culprit";
import { grid, rowCount, scrollTo, seen } from "./list";
import { aggregate, at, edge, logged, sample, search } from "./sample";
import { nanoseconds } from "./tables";
import { settled } from "./views";
import type { Doc } from "../src/lib/types";

test.use({ args: sample });

const pane = (page: Page) => page.getByRole("complementary", { name: "Exchange" });
const id = (doc: Doc) => (doc["event"] as { id: string }).id;
const target = (doc: Doc) => {
  const { domain = "", original = "" } = (doc["url"] ?? {}) as { domain?: string; original?: string };
  return original.startsWith("/") ? domain + original : original;
};
/** clock is the time of day in the browser's zone, in which the tests run. */
const clock = (doc: Doc) =>
  new Date(String(doc["@timestamp"]).slice(0, 23) + "Z").toLocaleTimeString("en-GB", { timeZone: "Europe/Berlin" }) +
  String(doc["@timestamp"]).slice(19, 23);

test.describe("the list", () => {
  test("has a row for each exchange, from the newest to the oldest", async ({ page, open, culprit }) => {
    await open(at("exchanges", { last: "all", where: edge }));
    const all = await search(culprit, { where: edge, limit: "10000", fields: "@timestamp,id,target,vhost" });
    expect(all).toHaveLength(logged.edge.requests);
    await seen(page);
    expect(await rowCount(page)).toBe(all.length);
    await expect(page.getByText(/^5.912 exchanges/)).toBeVisible();

    const compare = async (row: number) => {
      for (const { row: i, cells } of await seen(page, row)) {
        expect([cells["time"], cells["target"]], `row ${i}`).toEqual([clock(all[i]!), target(all[i]!)]);
      }
    };
    await compare(0);
    await grid(page).focus();
    await page.keyboard.press("End");
    await compare(all.length - 1);
    await scrollTo(page, 0.5);
    const rows = await seen(page, all.length / 2);
    expect(rows.length).toBeGreaterThan(15);
    await compare(all.length / 2);
    await page.keyboard.press("Home");
    await compare(0);
  });

  test("sorts by a heading, and the address has it", async ({ page, open, culprit }) => {
    await open(at("exchanges", { last: "all", where: edge }));
    await seen(page);
    const heading = grid(page).getByRole("columnheader", { name: "Duration" });
    await expect(heading).toHaveAttribute("aria-sort", "none");
    await heading.getByRole("button").click();
    await expect(heading).toHaveAttribute("aria-sort", "descending");
    await expect(page).toHaveURL(/[?&]sort=duration/);
    const top = await search(culprit, { where: edge, sort: "duration", limit: "20", fields: "id,target,vhost" });
    await expect.poll(async () => (await seen(page))[0]!.cells["target"]).toBe(target(top[0]!));
    const took = (await seen(page)).map((r) => nanoseconds(r.cells["duration"]));
    expect(took).toEqual([...took].sort((a, b) => b - a));
    expect(took[0]).toBeGreaterThan(took[10]!);
    await heading.getByRole("button").click();
    await expect(heading).toHaveAttribute("aria-sort", "ascending");
    await expect.poll(async () => nanoseconds((await seen(page))[0]!.cells["duration"])).toBeLessThan(took[10]!);
    await page.goBack();
    await page.goBack();
    await expect(heading).toHaveAttribute("aria-sort", "none");
    const newest = await search(culprit, { where: edge, limit: "1", fields: "@timestamp" });
    await expect.poll(async () => (await seen(page))[0]!.cells["time"]).toBe(clock(newest[0]!));
  });

  test("has the columns that the address says, and those that are chosen", async ({ page, open, culprit }) => {
    await open(at("exchanges", { last: "all", where: edge, columns: "time,route,country,user_agent.original:300" }));
    const headings = () => grid(page).getByRole("columnheader").allTextContents();
    const rows = await seen(page);
    expect((await headings()).map((h) => h.trim())).toEqual(["Time ▼", "route", "country", "user_agent.original"]);
    const fields = "@timestamp,route,country,user_agent.original";
    const docs = await search(culprit, { where: edge, limit: "10", fields });
    for (const [i, doc] of docs.entries()) {
      const route = (doc["culprit"] as { route?: string } | undefined)?.route ?? "";
      const agent = (doc["user_agent"] as { original?: string } | undefined)?.original ?? "";
      const { cells } = rows[i]!;
      expect([cells["time"], cells["route"], cells["user_agent.original"]]).toEqual([clock(doc), route, agent]);
    }
    await page.getByRole("button", { name: "Columns" }).click();
    const chooser = page.getByRole("dialog", { name: "Columns" });
    await chooser.getByRole("checkbox", { name: "country" }).uncheck();
    await chooser.getByRole("checkbox", { name: /^Status/ }).check();
    await expect(page).toHaveURL(/columns=time%2Croute%2Cuser_agent.original%3A300%2Cstatus(&|$)/);
    await page.keyboard.press("Escape");
    await expect(chooser).toBeHidden();
    await expect.poll(async () => (await seen(page))[0]!.cells["status"]).toMatch(/^\d{3}$/);
  });

  test("takes any field as a column", async ({ page, open }) => {
    await open(at("exchanges", { last: "all", where: edge, columns: "time" }));
    await seen(page);
    await page.getByRole("button", { name: "Columns" }).click();
    const chooser = page.getByRole("dialog", { name: "Columns" });
    await chooser.getByLabel("Any field").fill("culprit.net.client.rtt");
    await chooser.getByRole("button", { name: "Add" }).click();
    await expect(grid(page).getByRole("columnheader").last()).toContainText("rtt");
    await expect.poll(async () => nanoseconds(Object.values((await seen(page))[0]!.cells).at(-1))).toBeGreaterThan(0);
    await page.keyboard.press("Escape");
    await expect(chooser).toBeHidden();
  });

  test("filters by a cell", async ({ page, open, culprit }) => {
    await open(at("exchanges", { last: "all", where: `${edge} and status == 429` }));
    await seen(page);
    await grid(page).locator('[data-row="0"] [data-column="client"]').click({ button: "right" });
    const menu = page.getByRole("menu", { name: "Filter" });
    await menu
      .getByRole("menuitem", { name: /^Only client == / })
      .first()
      .click();
    await expect(page).toHaveURL(/client\+%3D%3D/);
    const where = new URL(page.url()).searchParams.get("where")!;
    expect(where.slice(0, edge.length)).toBe(edge);
    expect(where.slice(edge.length)).toMatch(/^ and status == 429 and client == "192\.0\.2\.2(18|19|20)"$/);
    const { total } = await aggregate(culprit, { where });
    await expect.poll(() => rowCount(page)).toBe(total.count);
    expect(total.count).toBeLessThan(logged.edge.status["429"]!);
  });
});

test.describe("the pane", () => {
  test("opens by a click, by Enter and with j, and closes", async ({ page, open, culprit }) => {
    const docs = await search(culprit, { where: edge, limit: "10", fields: "id,target,vhost" });
    await open(at("exchanges", { last: "all", where: edge }));
    await seen(page);
    await grid(page).locator('[data-row="3"]').click();
    await expect(page).toHaveURL(new RegExp(`open=${id(docs[3]!)}`));
    await expect(pane(page)).toContainText(target(docs[3]!));
    await page.keyboard.press("j");
    await expect(page).toHaveURL(new RegExp(`open=${id(docs[4]!)}`));
    await expect(pane(page)).toContainText(target(docs[4]!));
    await page.keyboard.press("ArrowUp");
    await expect(page).toHaveURL(new RegExp(`open=${id(docs[3]!)}`));
    await expect(grid(page).getByRole("row", { selected: true })).toHaveAttribute("data-row", "3");
    await page.keyboard.press("Escape");
    await expect(pane(page)).toHaveCount(0);
    await page.keyboard.press("k");
    await page.keyboard.press("Enter");
    await expect(page).toHaveURL(new RegExp(`open=${id(docs[2]!)}`));
    await expect(pane(page)).toContainText(target(docs[2]!));
    await page.reload();
    await expect(pane(page)).toContainText(target(docs[2]!));
    await pane(page).getByRole("button", { name: "Close the pane" }).click();
    await expect(pane(page)).toHaveCount(0);
  });

  test("has everything under its tabs", async ({ page, open, culprit }) => {
    const where = `${edge} and route == "/api/stock/{id}" and status == 200`;
    const [found] = await search(culprit, { where, limit: "1", fields: "id" });
    const doc = await culprit.get<Doc>(`/api/exchanges/${id(found!)}`);
    const { request, response } = doc["http"] as Record<"request" | "response", { body: { content: string } }>;
    await open(at("exchanges", { last: "all", where, open: id(doc) }));
    const tab = async (name: string): Promise<Locator> => {
      await pane(page).getByRole("tab", { name, exact: true }).click();
      const panel = pane(page).getByRole("tabpanel", { name, exact: true });
      await expect(panel).not.toBeEmpty();
      await settled(page);
      return panel;
    };
    expect(request).toBeTruthy();

    const headers = await tab("Headers");
    await expect(page).toHaveURL(/tab=headers/);
    const agent = (doc["user_agent"] as { original: string }).original;
    await expect(headers.getByRole("region", { name: "Request" })).toContainText(agent);
    await expect(headers.getByRole("region", { name: "Response" })).toContainText("application/json");

    const body = await tab("Body");
    const shown = await body.getByRole("region", { name: "Response" }).locator("pre").innerText();
    expect(JSON.parse(shown)).toEqual(JSON.parse(response.body.content));

    const net = (doc["culprit"] as { net: { client: { rtt: number } } }).net;
    const rtt = (await tab("Network")).getByRole("row", { name: "Smoothed round trip" });
    await expect(rtt).toContainText(/[\d.]+ (µs|ms)/);
    const shownRTT = nanoseconds(/[\d.]+ (µs|ms)/.exec(await rtt.innerText())![0]);
    expect(Math.abs(shownRTT / net.client.rtt - 1)).toBeLessThan(0.006);

    const connection = await tab("Connection");
    const community = (doc["network"] as { community_id: string }).community_id;
    const { total } = await aggregate(culprit, { where: `network.community_id == "${community}"` });
    await expect(connection.locator("li")).toHaveCount(total.count);
    await expect(connection.locator("li[aria-current]")).toHaveCount(1);

    const packets = (doc["culprit"] as { packets: { tap: string; first: number; last: number } }).packets;
    const shownPackets = await tab("Packets");
    expect(await shownPackets.getByRole("definition").allInnerTexts()).toEqual([packets.tap]);
    const numbers = await shownPackets.locator("tbody tr td:first-child").allInnerTexts();
    expect([numbers[0], numbers.at(-1)]).toEqual([String(packets.first), String(packets.last)]);

    const json = await tab("JSON");
    expect(JSON.parse(await json.locator("pre").innerText())).toEqual(doc);
  });

  test("the arrow keys go through the tabs", async ({ page, open, culprit }) => {
    const [doc] = await search(culprit, { where: edge, limit: "1", fields: "id" });
    await open(at("exchanges", { last: "all", open: id(doc!) }));
    const tab = (name: string) => pane(page).getByRole("tab", { name, exact: true });
    await tab("Summary").focus();
    await page.keyboard.press("ArrowRight");
    await expect(tab("Headers")).toHaveAttribute("aria-selected", "true");
    await expect(tab("Headers")).toBeFocused();
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.press("ArrowLeft");
    await expect(tab("JSON")).toHaveAttribute("aria-selected", "true");
    await expect(tab("JSON")).toBeFocused();
  });

  test("is below the list on a phone", async ({ page, open, culprit }) => {
    await page.setViewportSize({ width: 390, height: 844 });
    const docs = await search(culprit, { where: edge, limit: "3", fields: "id,target,vhost" });
    await open(at("exchanges", { last: "all", where: edge }));
    const row = grid(page).locator('[data-row="1"]');
    await expect(row).toContainText(target(docs[1]!).slice(-16));
    await expect(grid(page)).toHaveAttribute("aria-rowcount", String(logged.edge.requests));
    await row.click();
    await expect(pane(page)).toContainText(target(docs[1]!));
    const [list, below] = [(await grid(page).boundingBox())!, (await pane(page).boundingBox())!];
    expect(below.y).toBeGreaterThanOrEqual(list.y + list.height);
    expect(below.width).toBe(390);
    await page.getByRole("combobox", { name: "Order" }).selectOption("longest");
    await expect(page).toHaveURL(/sort=duration/);
  });
});

test("what is copied as curl sends the same request", async ({ page, open, context, culprit }) => {
  const missing = canCapture();
  test.skip(missing !== "", missing);
  expect(spawnSync("curl", ["--version"]).status, "this test needs curl").toBe(0);
  expect(culprit.token).not.toBe("");

  interface Arrived {
    method: string;
    target: string;
    headers: string[];
    body: string;
  }
  const arrived: Arrived[] = [];
  const here = await live(
    (request, response) => {
      const parts: Buffer[] = [];
      request.on("data", (part: Buffer) => parts.push(part));
      request.on("end", () => {
        const raw = request.rawHeaders;
        const headers = raw.flatMap((name, i) => (i % 2 === 0 ? [`${name.toLowerCase()}: ${raw[i + 1]}`] : []));
        const body = Buffer.concat(parts).toString("latin1");
        arrived.push({ method: request.method!, target: request.url!, headers: headers.sort(), body });
        response.end("thanks\n");
      });
    },
    ["--reveal", "--max-body", "64KiB"],
  );
  try {
    const body = `{"it's": "$HOME \`id\` \\\\ \\"now\\"", "ü": 1}`;
    const head = [
      "PUT /a/../b%20c?q='x'&$y=[1]{2} HTTP/1.1",
      `Host: 127.0.0.1:${here.port}`,
      "User-Agent: it's $(a) `test`",
      "Accept: */*",
      'X-Odd: "quoted" \\ and; $PATH !',
      "Content-Type: application/json",
      `Content-Length: ${Buffer.byteLength(body)}`,
    ];
    await new Promise<void>((resolve, reject) => {
      const socket = connect(here.port, "127.0.0.1", () => socket.write(`${head.join("\r\n")}\r\n\r\n${body}`));
      socket.once("data", () => (socket.end(), resolve()));
      socket.once("error", reject);
    });
    await here.serving.stored(1);
    const [doc] = await search(here.serving, { limit: "1" });
    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    await open(`/exchanges?last=all&open=${id(doc!)}`, here.serving);
    await pane(page).getByRole("button", { name: "Copy as curl" }).click();
    await expect(pane(page).getByRole("button", { name: "Copied" })).toBeVisible();
    const command = await page.evaluate(() => navigator.clipboard.readText());
    expect(command).toMatch(/^curl /);
    // Not synchronously: what it talks to is in this process.
    const { stdout: said } = await promisify(execFile)("sh", ["-c", command], { env: { PATH: process.env.PATH } });
    expect(said).toBe("thanks\n");
    expect(arrived).toHaveLength(2);
    expect(arrived[1]).toEqual(arrived[0]);
    expect(arrived[0]!.target).toBe("/a/../b%20c?q='x'&$y=[1]{2}");
  } finally {
    await here.stop();
  }
});

test.describe("downloads", () => {
  /** download saves what a click gives, and returns where. */
  async function download(page: Page, click: () => Promise<void>): Promise<string> {
    const [file] = await Promise.all([page.waitForEvent("download"), click()]);
    expect(file.suggestedFilename()).not.toMatch(/[/\\]/);
    const path = join(folder(), file.suggestedFilename());
    await file.saveAs(path);
    return path;
  }

  test("HAR and NDJSON have what the list has", async ({ page, open, culprit }) => {
    const where = `${edge} and status in [401, 413]`;
    const docs = await search(culprit, { where, limit: "10000", sort: "duration", fields: "id,method,target,status" });
    expect(docs).toHaveLength(logged.edge.status["401"]! + logged.edge.status["413"]!);
    await open(at("exchanges", { last: "all", where, sort: "duration" }));
    await seen(page);
    const item = async (name: RegExp) => {
      await page.getByRole("button", { name: "Download" }).click();
      await page.getByRole("menu", { name: "Download" }).getByRole("menuitem", { name }).click();
    };
    const ndjson = await download(page, () => item(/^NDJSON all 172/));
    expect(ndjson).toMatch(/\.ndjson$/);
    const lines = readFileSync(ndjson, "utf8").trimEnd().split("\n");
    expect(lines.map((line) => id(JSON.parse(line) as Doc))).toEqual(docs.map(id));

    await page.keyboard.press("Escape");
    const har = await download(page, () => item(/^HAR/));
    expect(har).toMatch(/\.har$/);
    const { log } = JSON.parse(readFileSync(har, "utf8")) as {
      log: { version: string; entries: { _id: string; request: { method: string }; response: { status: number } }[] };
    };
    expect(log.version).toBe("1.2");
    const facts = (doc: Doc) => {
      const { request, response } = doc["http"] as { request: { method: string }; response: { status_code: number } };
      return [id(doc), request.method, response.status_code];
    };
    expect(log.entries.map((e) => [e._id, e.request.method, e.response.status])).toEqual(docs.map(facts));
  });

  test("packets are those of the exchange, as culprit itself reads them", async ({ page, open, culprit }) => {
    const where = `${edge} and route == "/api/orders" and status == 201`;
    const [doc] = await search(culprit, { where, limit: "1" });
    await open(at("exchanges", { last: "all", where, open: id(doc!), tab: "packets" }));
    const links = pane(page).getByRole("tabpanel").getByRole("link");
    const again = async (name: RegExp) => {
      const file = await download(page, () => links.filter({ hasText: name }).click());
      expect(readFileSync(file).readUInt32BE(0)).toBe(0x0a0d0d0a); // pcapng
      const read = spawnSync(process.env.CULPRIT_BIN!, ["trace", "-r", file, "-o", "ndjson"], { encoding: "utf8" });
      expect([0, 3], read.stderr).toContain(read.status); // 3: what was before on the connection is missing
      return read.stdout
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as Doc);
    };
    const facts = (d: Doc) => {
      const { request, response } = d["http"] as { request: { method: string }; response: { status_code: number } };
      return [id(d), request.method, (d["url"] as { original: string }).original, response.status_code];
    };
    const alone = await again(/this exchange/);
    expect(alone.map(facts)).toContainEqual(facts(doc!));

    const community = (doc!["network"] as { community_id: string }).community_id;
    const others = await search(culprit, { where: `network.community_id == "${community}"`, limit: "1000" });
    const connection = await again(/whole connection/);
    expect(connection.map(facts).sort()).toEqual(others.map(facts).sort());
    expect(connection.length).toBeGreaterThanOrEqual(alone.length);
  });

  test("one exchange as HAR, from its pane", async ({ page, open, culprit }) => {
    const [doc] = await search(culprit, { where: `${edge} and status == 504`, limit: "1" });
    await open(at("exchanges", { last: "all", open: id(doc!) }));
    const har = await download(page, () => pane(page).getByRole("link", { name: "HAR" }).click());
    const { log } = JSON.parse(readFileSync(har, "utf8")) as {
      log: { entries: { _id: string; response: { status: number } }[] };
    };
    expect(log.entries.map((e) => [e._id, e.response.status])).toEqual([[id(doc!), 504]]);
  });
});

test("without --reveal packets aren't offered", async ({ page, open }) => {
  await open("/exchanges?last=all");
  await expect(grid(page)).toBeVisible();
  await page.route("**/api/status", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ json: { ...((await response.json()) as object), reveal: false } });
  });
  await page.reload();
  await grid(page).locator('[data-row="0"]').click();
  await pane(page).getByRole("tab", { name: "Packets" }).click();
  await expect(pane(page).getByRole("tabpanel")).toContainText("--reveal");
  await expect(pane(page).getByRole("link", { name: /pcapng/ })).toHaveCount(0);
});
