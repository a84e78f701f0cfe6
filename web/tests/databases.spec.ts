import { createServer, Socket, type AddressInfo } from "node:net";
import type { Page } from "@playwright/test";
import type { Status } from "../src/lib/types";
import { violations } from "./axe";
import { canCapture, expect, Serving, test, testdata } from "./culprit";
import { asked, databases } from "./databases";
import { grid, seen } from "./list";
import { overlaps, small, wide } from "./place";
import { at, search } from "./sample";
import { sum } from "./secure";
import { column, descending, nanoseconds, rows, whole } from "./tables";
import { settled } from "./views";

test.use({ args: databases });

const table = (page: Page, name: string) => page.getByRole("table", { name, exact: true });
const statements = (page: Page) => table(page, "Statements by time");
const pane = (page: Page) => page.getByRole("complementary", { name: "Exchange" });
const parameter = (page: Page, name: string) => new URL(page.url()).searchParams.get(name) ?? "";
const items = "SELECT product_id FROM order_items WHERE order_id = ?";

/** opened is the path that opens an exchange that a filter finds. */
async function opened(culprit: Serving, filter: string): Promise<string> {
  const [first] = await search(culprit, { where: filter, limit: "1", fields: "id" });
  const { id } = first!["event"] as { id: string };
  return at("exchanges", { last: "all", open: id });
}

test.describe("Databases", () => {
  test("counts statements as the application does", async ({ page, open }) => {
    await open("/databases?last=all");
    const all = await rows(statements(page));
    const of = (system: string, verbs: RegExp) =>
      all.filter((r) => r["System"] === system && verbs.test(r["Statement"]!));
    const count = (some: typeof all) => some.reduce((n, r) => n + whole(r["Count"]), 0);
    // Logins, what drivers prepare and how they leave aren't statements of the story.
    expect(count(of("MySQL", /^SELECT/))).toBe(asked.statements["mysql"]);
    expect(count(of("PostgreSQL", /^(SELECT|INSERT|UPDATE)/))).toBe(asked.statements["postgresql"]);
    // One waits for its job: it is said below.
    expect(count(of("Redis", /./))).toBe(asked.statements["redis"]! - 1);

    const failed = all.reduce((n, r) => n + whole(r["Errors"]), 0);
    expect(failed).toBe(sum(asked.failed));
    // Nor do two that say good-bye, which nobody answers.
    await expect(page.getByText("3 statements aren't counted: what waits for an event")).toBeVisible();
    await page.getByRole("link", { name: "Show them" }).click();
    const apart = (await seen(page)).map((r) => r.cells["method"]);
    expect(apart.sort()).toEqual(["BLPOP", "QUIT", "TERMINATE"]);
  });

  test("begins with what took most time, and sorts by any column", async ({ page, open }) => {
    await open("/databases?last=all");
    const times = async (name: string) => (await column(statements(page), name)).map(nanoseconds);
    expect(await times("Time")).toEqual(descending(await times("Time")));
    await statements(page).getByRole("button", { name: "Count" }).click();
    await expect.poll(() => parameter(page, "sort-statements")).toBe("-count");
    await settled(page);
    const counts = (await column(statements(page), "Count")).map(whole);
    expect(counts).toEqual(descending(counts));
    expect(counts[0]).toBe(60);
    await statements(page).getByRole("button", { name: "Statement" }).click();
    const templates = await column(statements(page), "Statement");
    await expect.poll(async () => (await column(statements(page), "Statement"))[0]).not.toBe(items);
    expect(templates.length).toBe(counts.length);
  });

  test("shows the course of one, and leads to its exchanges", async ({ page, open }) => {
    await open("/databases?last=all");
    await statements(page).getByRole("row").filter({ hasText: items }).getByRole("button").click();
    const chosen = page.getByRole("region", { name: "Chosen statement" });
    await expect(chosen.getByText(items)).toBeVisible();
    await expect(chosen.locator("canvas")).toHaveCount(2);
    const link = page.url();
    await chosen.getByRole("link", { name: "All in Exchanges" }).click();
    await expect(page).toHaveURL(/\/exchanges/);
    await seen(page);
    await expect(grid(page)).toHaveAttribute("aria-rowcount", "61");
    // A link shows the same.
    await page.goto(link);
    await expect(chosen.getByText(items)).toBeVisible();
    await chosen.getByRole("link", { name: "Its slowest" }).click();
    await expect(pane(page).getByText("order_items").first()).toBeVisible();
    await chosen.getByRole("button", { name: "Close" }).click();
    await expect(chosen).toHaveCount(0);
  });

  test("lists tables and names", async ({ page, open }) => {
    await open("/databases?last=all");
    await page.getByRole("button", { name: "Tables" }).click();
    const tables = await rows(table(page, "Tables by time"));
    expect(tables.find((r) => r["Table"] === "order_items")).toMatchObject({
      System: "MySQL",
      Database: "shop",
      Count: "60",
    });
    await page.getByRole("button", { name: "DNS names" }).click();
    const names = await rows(table(page, "DNS names by time"));
    for (const [question, n] of Object.entries(asked.questions)) {
      const [name, type] = question.split(" ");
      // Names without a server are asked for again.
      const row = names.find((r) => r["Name"] === name && r["Type"] === type);
      expect(whole(row?.["Count"]), question).toBeGreaterThanOrEqual(n);
    }
    expect(names.find((r) => r["Name"] === "orders.shop.example" && r["Type"] === "A")?.["Records"]).toBe("2");
  });

  test("names what is asked over and over", async ({ page, open }) => {
    await open("/databases?last=all&by=repeats");
    const found = table(page, "What is asked over and over, by its time");
    const [first] = await rows(found);
    expect(first).toMatchObject({
      "To answer": "GET /orders",
      Requests: "2",
      Times: String(2 * asked.orders),
      Sure: "certain",
    });
    expect(first!["it asks"]).toContain("SELECT product_id");
    expect(first!["In one request"]).toMatch(new RegExp(`^sequential, ${asked.orders} times, .* of .*`));
    await found.getByRole("link", { name: "GET /orders" }).click();
    await expect(pane(page).getByRole("heading", { level: 1 })).toContainText("/orders");
    await found.getByRole("link", { name: /^SELECT product_id/ }).click();
    await expect(page).toHaveURL(/\/exchanges/);
    await seen(page);
    await expect(grid(page)).toHaveAttribute("aria-rowcount", String(asked.orders + 1));
    await expect(pane(page).getByText("order_items").first()).toBeVisible();
  });

  test("has the slowest, without what waits for an event", async ({ page, open }) => {
    await open("/databases?last=all&by=slowest");
    const slow = await rows(table(page, "The slowest statements and lookups"));
    const durations = slow.map((r) => nanoseconds(r["Duration"])).filter((n) => !Number.isNaN(n));
    expect(durations).toEqual(descending(durations));
    expect(slow.some((r) => r["Request"]?.includes("pg_sleep"))).toBe(true);
    expect(slow.some((r) => r["Request"]?.includes("BLPOP"))).toBe(false);
  });

  for (const by of ["statements", "tables", "names", "repeats", "slowest"]) {
    for (const theme of ["light", "dark"] as const) {
      test(`${by}: it has its place, and is accessible in ${theme}`, { tag: "@phone" }, async ({ page, open }) => {
        await page.emulateMedia({ colorScheme: theme });
        await open(`/databases?last=all&by=${by}`);
        await settled(page);
        if (by === "statements") await statements(page).getByRole("row").nth(2).getByRole("button").click();
        await settled(page);
        expect(await violations(page)).toEqual([]);
        expect(await wide(page), "wider than the window").toEqual([]);
        expect(await overlaps(page), "text on text").toEqual([]);
        expect(await small(page), "too small to be hit").toEqual([]);
      });
    }
  }
});

test("Databases without any says what would appear", async ({ page, open }) => {
  const secure = await Serving.start(["-r", testdata("secure/secure.pcapng")]);
  try {
    await secure.imported();
    for (const by of ["statements", "tables", "slowest"]) {
      await open(`/databases?last=all&by=${by}`, secure);
      await expect(page.getByText("What an application asks MySQL, MariaDB, PostgreSQL")).toBeVisible();
    }
    await open("/databases?last=all&by=repeats", secure);
    await expect(page.getByText("no request asks the same over and over")).toBeVisible();
  } finally {
    await secure.stop();
  }
});

test.describe("The list of exchanges", () => {
  test("has statements, lookups and flows like requests", async ({ page, open }) => {
    const of = async (where: string) => {
      await open(at("exchanges", { last: "all", where, columns: "method,target,status,size" }));
      return (await seen(page))[0]!.cells;
    };
    expect(await of('statement contains "FROM orders"')).toEqual({
      method: "SELECT",
      target: "SELECT id FROM orders WHERE customer = ?",
      status: "ok",
      size: "30 rows",
    });
    expect(await of('verb == "UPDATE"')).toMatchObject({ status: "ok", size: "1 row" });
    expect(await of('verb == "LOGIN" and db == "mysql"')).toMatchObject({
      target: "orders.shop.example:3306",
      status: "ok",
    });
    expect(await of('verb == "LPUSH"')).toMatchObject({ status: "WRONGTYPE" });
    expect(await of('qname == "orders.shop.example" and qtype == "A"')).toEqual({
      method: "A",
      target: "orders.shop.example",
      status: "ok",
      size: "2 records",
    });
    expect(await of('rcode == "NXDOMAIN"')).toMatchObject({ target: "pay.shop.example", status: "NXDOMAIN" });
    expect(await of("has(flow.final) and port == 7777")).toMatchObject({
      method: "TCP",
      target: "198.51.100.55:7777 unknown",
      size: "40 B",
    });
  });
});

test.describe("One exchange", () => {
  const section = (page: Page, name: string) => pane(page).getByRole("region", { name, exact: true });

  test("a statement: what was asked, and what came back", async ({ page, open, culprit }) => {
    await open(await opened(culprit, 'statement contains "pg_sleep" and verb == "SELECT"'));
    const statement = section(page, "Statement");
    await expect(statement.locator("pre").first()).toContainText("FROM visits WHERE hits > $1 ORDER BY hits DESC -- ?");
    await expect(statement.getByRole("list", { name: "Parameters" }).getByRole("listitem")).toHaveText(["?"]);
    await expect(statement).toContainText("180 rows");
    await expect(section(page, "Timing")).toContainText(/The first row came \d/);
    await expect(pane(page).getByRole("tab")).toHaveText([
      "Summary",
      "Network",
      "Hops",
      "Connection",
      "Packets",
      "JSON",
    ]);
    await expect(pane(page).getByRole("button", { name: "Copy statement" })).toBeVisible();
    await expect(pane(page).getByRole("button", { name: "Copy as curl" })).toHaveCount(0);
    await pane(page).getByRole("link", { name: "same statement" }).click();
    expect(parameter(page, "where")).toContain("pg_sleep(?)");
  });

  test("a statement that failed, in the server's words", async ({ page, open, culprit }) => {
    await open(await opened(culprit, 'db == "postgresql" and outcome == "failure"'));
    const said = section(page, "What happened").getByText("duplicate key value violates unique constraint");
    await expect(said).toHaveClass(/status-5/);
    await expect(section(page, "Statement").getByText("ERROR", { exact: true })).toBeVisible();
    await expect(pane(page).getByText("23505").first()).toHaveClass(/status-5/);
  });

  test("a statement with markup is text", async ({ page, open, culprit }) => {
    await open(await opened(culprit, 'db == "mysql" and outcome == "failure"'));
    await expect(section(page, "Statement").locator("pre")).toContainText("`<img src=x onerror=alert(1)>`");
    await expect(page.locator("img[src=x]")).toHaveCount(0);
    await open("/databases?last=all");
    await expect(statements(page).getByText("<img src=x").first()).toBeVisible();
    await expect(page.locator("img[src=x]")).toHaveCount(0);
  });

  test("a command of Redis, and what it waits for", async ({ page, open, culprit }) => {
    await open(await opened(culprit, 'verb == "BLPOP"'));
    await expect(section(page, "Statement").locator("pre").first()).toContainText("BLPOP jobs");
    await expect(section(page, "Timing")).toContainText("It waits for an event, was pushed");
  });

  test("a lookup: question, flags and records", async ({ page, open, culprit }) => {
    await open(await opened(culprit, 'qname == "orders.shop.example" and qtype == "A"'));
    await expect(section(page, "Question")).toContainText("orders.shop.example");
    await expect(section(page, "Answer")).toContainText("NOERROR");
    const records = await rows(pane(page).getByRole("table", { name: "Records of the answer" }));
    expect(records).toEqual([
      { Name: "orders.shop.example", Type: "CNAME", "Valid for": "1 m 00 s", Data: "db.shop.example" },
      { Name: "db.shop.example", Type: "A", "Valid for": "1 m 00 s", Data: "198.51.100.20" },
    ]);
    await expect(pane(page).getByRole("tab", { name: "Headers" })).toHaveCount(0);
  });

  test("a lookup that was asked twice, and one that ICMP ended", async ({ page, open, culprit }) => {
    await open(await opened(culprit, "has(retries)"));
    await expect(section(page, "What happened")).toContainText("Asked 2 times");
    await expect(section(page, "Answer")).toContainText("None came.");
    await open(await opened(culprit, 'icmp == "port unreachable" and not has(flow.final)'));
    await expect(section(page, "What happened")).toContainText("ICMP error port unreachable");
    await expect(section(page, "What happened")).toContainText("198.51.100.54");
  });

  test("a flow: what both sides sent", async ({ page, open, culprit }) => {
    await open(await opened(culprit, "has(flow.final) and port == 7777"));
    const sent = await rows(pane(page).getByRole("table", { name: "What both sides of the flow sent" }));
    expect(sent.map((r) => [r["From"], r["Payload"]])).toEqual([
      ["Client", "40 B"],
      ["Server", "0 B"],
    ]);
    await expect(section(page, "Flow").locator("tfoot")).toHaveText(/Both\s*15\s*40 B/);
    await expect(section(page, "Flow")).toContainText("It is over");
  });

  test("a client behind a proxy that says so", async ({ page, open, culprit }) => {
    await open(await opened(culprit, 'has(true_client) and protocol == "http" and not has(flow.final)'));
    await expect(section(page, "Who")).toContainText("203.0.113.77");
    await expect(section(page, "Who")).toContainText("Client of the proxy");
  });

  test("has its place, and is accessible", { tag: "@phone" }, async ({ page, open, culprit }) => {
    for (const filter of [
      'db == "postgresql" and outcome == "failure"',
      'qname == "orders.shop.example" and qtype == "A"',
      "has(flow.final) and port == 7777",
    ]) {
      await open(await opened(culprit, filter));
      await settled(page);
      expect(await violations(page), filter).toEqual([]);
      expect(await wide(page), filter).toEqual([]);
      expect(await overlaps(page), filter).toEqual([]);
      expect(await small(page), filter).toEqual([]);
    }
  });
});

test.describe("Pages that count requests", () => {
  const requests = sum(asked.requests);

  test("leave the others out, and say so", async ({ page, open }) => {
    for (const view of ["overview", "errors"]) {
      await open(`/${view}?last=all`);
      const line = page.getByText("Not among them:");
      await expect(line).toContainText("67 statements of MySQL");
      await expect(line).toContainText("13 lookups");
    }
    await open("/overview?last=all");
    await expect(page.locator("dl").filter({ hasText: "Requests" }).first()).toContainText(String(requests));
    await page.getByRole("link", { name: "67 statements of MySQL" }).click();
    await expect(page).toHaveURL(/\/databases/);
    await expect(statements(page)).toBeVisible();
    expect(new Set(await column(statements(page), "System"))).toEqual(new Set(["MySQL"]));
  });

  test("Services has who is asked for what", async ({ page, open }) => {
    await open("/services?last=all");
    const calls = await rows(table(page, "Calls, from whom to whom"));
    const to = Object.fromEntries(calls.map((r) => [r["Server"]!, r["What"]]));
    expect(to).toMatchObject({
      "198.51.100.10:8080": "requests",
      "198.51.100.20:3306": "MySQL statements",
      "198.51.100.30:5432": "PostgreSQL statements",
      "198.51.100.40:6379": "Redis statements",
      "198.51.100.53:53": "DNS lookups",
    });
    const map = page.getByRole("region", { name: "Map of calls" });
    await expect(map.getByText(/^MySQL [\d.]+\/s/)).toBeVisible();
    await expect(map.locator("text").filter({ hasText: "statements" }).first()).toBeVisible();
    // Who asks the databases is who serves the visitors.
    expect(calls.find((r) => r["Server"] === "198.51.100.20:3306")?.["Caller"]).toBe("198.51.100.10:8080");
  });
});

test("In flight shows a command while it waits for its answer", async ({ page, open }) => {
  const missing = canCapture();
  test.skip(missing !== "", missing);
  let held: Socket | undefined;
  // What speaks like Redis: it answers each PING, and nothing else.
  const server = createServer((c) => {
    held = c;
    c.on("data", (d) => d.includes("PING") && c.write("+PONG\r\n"));
    c.on("error", () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const serving = await Serving.start(["-i", "lo", "tcp", "port", String(port)]);
  const client = new Socket();
  try {
    await expect.poll(async () => (await serving.get<Status>("/api/status")).capture?.state).toBe("capturing");
    await new Promise<void>((resolve) => client.connect(port, "127.0.0.1", resolve));
    client.write("*1\r\n$4\r\nPING\r\n");
    await new Promise((resolve) => client.once("data", resolve));
    client.write("*2\r\n$3\r\nGET\r\n$10\r\nproduct:17\r\n");
    await open("/inflight", serving);
    const row = table(page, "Exchanges under way, the oldest first").getByRole("row", { name: "GET product:17" });
    await expect(row).toContainText(`${port}`);
    await expect(row).toContainText("to answer");
    held!.write("$4\r\nlamp\r\n");
    await expect(page.getByText("Nothing is under way at this moment.")).toBeVisible();
    await page.goto("about:blank"); // it asks no more
  } finally {
    client.destroy();
    server.close();
    await serving.stop();
  }
});
