import type { Page } from "@playwright/test";
import { requests } from "../src/lib/kind";
import { violations } from "./axe";
import { expect, test, type Serving } from "./culprit";
import { grid, seen } from "./list";
import { overlaps, small, wide } from "./place";
import { aggregate, at, search } from "./sample";
import { counted, secure, sum } from "./secure";
import { column, rows, whole } from "./tables";
import { settled } from "./views";

test.use({ args: secure });

const table = (page: Page, name: string) => page.getByRole("table", { name, exact: true });
const where = (page: Page) => new URL(page.url()).searchParams.get("where");
const pane = (page: Page) => page.getByRole("complementary", { name: "Exchange" });

/** opened is the path that opens an exchange that a filter finds, on a tab. */
async function opened(culprit: Serving, filter: string, tab: string): Promise<string> {
  const [first] = await search(culprit, { where: filter, limit: "1", fields: "id" });
  const { id } = first!["event"] as { id: string };
  return at("exchanges", { last: "all", open: id, tab });
}

const chat = 'protocol == "websocket" and path == "/chat" and not has(culprit.message.kind)';

test.describe("Encrypted", () => {
  test("counts what its clients say of connections without keys", async ({ page, open }) => {
    await open("/encrypted?last=all");
    const servers = await rows(table(page, "TLS connections that weren't read, by server"));
    const byName = Object.fromEntries(servers.map((r) => [r["Name asked for"]!, whole(r["Connections"])]));
    expect(byName).toMatchObject(counted.unread);
    const reasons = table(page, "TLS connections that weren't read, by reason");
    const all = (await column(reasons, "Connections")).reduce((n, text) => n + whole(text), 0);
    expect(all).toBe(Object.values(byName).reduce((a, b) => a + b, 0));
    expect((await column(reasons, "What to do"))[0]).toContain("SSLKEYLOGFILE");
    const clients = await column(table(page, "TLS connections that weren't read, by client"), "Connections");
    expect(clients.reduce((n, text) => n + whole(text), 0)).toBe(all);
  });

  test("says which handshakes failed, and who said so", async ({ page, open }) => {
    await open("/encrypted?last=all");
    const failures = await rows(table(page, "TLS that failed, by alert"));
    expect(failures.reduce((n, r) => n + whole(r["Times"]), 0)).toBe(sum(counted.failed));
    expect(failures.find((r) => r["Alert"] === "protocol_version")).toMatchObject({
      "Who said it": "server",
      Meaning: "the server doesn't speak, or doesn't allow, the version of TLS that the client wants",
    });
  });

  test("warns of certificates, the soonest first", async ({ page, open }) => {
    await open("/encrypted?last=all");
    const certificates = await rows(table(page, "Certificates that end soon"));
    const ending = Object.entries(counted.days)
      .filter(([, days]) => days < 30)
      .sort(([, a], [, b]) => a - b);
    expect(certificates.map((r) => [r["Subject"], r["Valid"]])).toEqual(
      ending.map(([name, days]) => [`CN=${name}`, days < 0 ? `ended ${-days} days ago` : `${days} days left`]),
    );
    await expect(page.getByText("ended 3 days ago")).toHaveClass(/ended/);
    await expect(page.getByText("12 days left")).toHaveClass(/soon/);
  });

  test("leads from a number to its connections, and from a value to a filter", async ({ page, open }) => {
    await open("/encrypted?last=all");
    const row = table(page, "TLS connections that weren't read, by server")
      .getByRole("row")
      .filter({ hasText: "pay.example" });
    await row.getByRole("link").click();
    await expect(page).toHaveURL(/\/exchanges/);
    expect(where(page)).toContain('sni == "pay.example"');
    const listed = await seen(page);
    expect(listed).toHaveLength(counted.unread["pay.example"]!);
    for (const { cells } of listed) expect([cells["method"], cells["target"]]).toEqual(["TLS", "pay.example"]);

    await open("/encrypted?last=all");
    await page.getByRole("button", { name: "bad_certificate", exact: true }).click();
    expect(where(page)).toBe('"client: bad_certificate" in alert');
    await expect(table(page, "TLS that failed, by alert").getByRole("row")).toHaveCount(2);
  });
});

test("requests are counted without what is none", async ({ page, open, culprit }) => {
  const { total } = await aggregate(culprit, { where: requests });
  const all = await aggregate(culprit, {});
  expect(total.count).toBeLessThan(all.total.count);
  const hosts = await aggregate(culprit, { where: requests, group: "vhost" });
  const of = (name: string) => hosts.groups.find((g) => g.keys[0] === name)?.count;
  for (const name of ["api.shop.example", "chat.shop.example"]) expect(of(name), name).toBe(counted.requests[name]);

  await open("/overview?last=all");
  const tile = page.locator("dl[aria-label=Totals] > div").filter({ hasText: /^Requests\s*\d/ });
  expect(whole(await tile.locator(".now").innerText())).toBe(total.count);
  await page.getByRole("button", { name: "gRPC", exact: true }).click();
  await expect(page).toHaveURL(/these=/);

  // Handshakes that failed are told of where errors are, and aren't among them.
  await open("/errors?last=all");
  const handshakes = await aggregate(culprit, { where: 'protocol == "tls" and grade == "aborted"' });
  await expect(page.getByText(`Before any request ${handshakes.total.count} TLS handshakes failed`)).toBeVisible();
  const codes = await rows(table(page, "Errors by status and grade"));
  const unavailable = codes.find((r) => r["Code"] === "UNAVAILABLE");
  expect(unavailable).toMatchObject({ Status: "200", Errors: String(counted.calls["shop.Orders/Place 14"]) });
});

test("the list shows calls of gRPC, WebSockets and their messages", async ({ page, open }) => {
  await open(at("exchanges", { last: "all", where: 'grpc_service == "shop.Orders"', asc: "1" }));
  const calls = await seen(page);
  expect(calls.map((r) => r.cells["status"])).toEqual([
    "200 UNAVAILABLE",
    "200 UNAVAILABLE",
    "200 UNIMPLEMENTED",
    "200",
  ]);
  await expect(grid(page).getByText("200 UNAVAILABLE").first()).toHaveClass(/status-5/);

  await open(at("exchanges", { last: "all", where: 'protocol == "websocket" and path == "/feed"', asc: "1" }));
  const feed = await seen(page);
  expect(feed[0]!.cells).toMatchObject({ method: "WS", target: "chat.shop.example/feed", status: "101 1011" });
  const binary = feed.filter((r) => r.cells["method"] === "← binary");
  expect(binary).toHaveLength(counted.messages["feed, server"]!);
  expect(binary[0]!.cells["size"]).toBe("3 B");

  await open(
    at("exchanges", { last: "all", where: "has(operation)", columns: "target,operation,stream_id,sni,alpn,cipher" }),
  );
  const operations = await seen(page);
  const names = operations.map((r) => r.cells["operation"]!);
  for (const [name, n] of Object.entries(counted.operations)) expect(names.filter((x) => x === name)).toHaveLength(n);
  expect(operations[0]!.cells).toMatchObject({ sni: "shop.example", alpn: "h2", cipher: "TLS_AES_128_GCM_SHA256" });
});

test("the pane tells of TLS, and each value is a filter", async ({ page, open, culprit }) => {
  await open(await opened(culprit, 'grpc_method == "Place"', "tls"));
  const tls = pane(page);
  await expect(tls.getByText("Read with its keys.")).toBeVisible();
  await expect(tls.getByText(`${counted.days["api.shop.example"]} days left`)).toHaveClass(/soon/);
  await expect(tls.getByRole("button", { name: "CN=api.shop.example", exact: true })).toBeVisible();
  await tls.getByRole("button", { name: /^t13d/ }).click();
  expect(where(page)).toMatch(/^ja4 == "t13d/);

  // The first exchange of a connection has the times of its handshake, which add up.
  await open(
    await opened(culprit, 'culprit.http.connection_index == 0 and stream_id == 1 and sni == "shop.example"', "tls"),
  );
  await expect(tls.getByRole("heading", { name: "Where the time of the handshake went" })).toBeVisible();
  await expect(tls.getByRole("row").filter({ hasText: "Network" })).toBeVisible();

  // A connection that wasn't made has no request.
  await open(await opened(culprit, 'sni == "old.shop.example"', "headers"));
  await expect(tls.getByRole("tab", { name: "Summary", selected: true })).toBeVisible();
  await expect(tls.getByRole("tab", { name: "Headers" })).toHaveCount(0);
  await expect(tls.getByRole("button", { name: "Copy as curl" })).toHaveCount(0);
  await tls.getByRole("tab", { name: "TLS" }).click();
  await expect(tls.getByText("The handshake failed.")).toBeVisible();
  await expect(tls.getByText("The client finds the certificate of the server broken")).toBeVisible();
  await expect(tls.getByText("ended 3 days ago")).toBeVisible();
});

test("the pane tells of gRPC", async ({ page, open, culprit }) => {
  await open(await opened(culprit, 'grpc_method == "Watch"', "headers"));
  await expect(pane(page).getByRole("heading", { name: "Trailers" })).toBeVisible();
  const first = pane(page).getByRole("region", { name: "Request" }).locator("dt").first();
  await expect(first).toHaveText(/^:/);
  await open(await opened(culprit, 'grpc_method == "Watch"', "summary"));
  await expect(pane(page).getByText("5 messages from the server: 40 B, the largest 8 B.")).toBeVisible();
  await open(await opened(culprit, 'grpc_method == "Watch"', "body"));
  const body = pane(page).getByRole("region", { name: "Response" }).locator("pre");
  await expect(body).toContainText(/message 1: 8 B\s+\{"1": "5 left"\}[^]*message 5: 8 B\s+\{"1": "1 left"\}/);
  await open(await opened(culprit, 'grpc_method == "Place"', "summary"));
  await expect(pane(page).getByRole("strong").filter({ hasText: "UNAVAILABLE" })).toBeVisible();
});

test("a request that was given up says by whom", async ({ page, open, culprit }) => {
  const given = await search(culprit, { where: 'culprit.http.reset.by == "client"', fields: "id" });
  expect(given).toHaveLength(counted.given_up);
  await open(await opened(culprit, 'culprit.http.reset.by == "client"', "summary"));
  await expect(pane(page).getByText("stream given up by the client: CANCEL")).toBeVisible();
});

test("the messages of a WebSocket are there in order, as text", async ({ page, open, culprit }) => {
  await open(await opened(culprit, chat, "messages"));
  const all = pane(page).locator("ol > li");
  const of = (from: string) => all.and(page.locator(`.${from}`)).filter({ hasText: /text/ });
  await expect(of("client")).toHaveCount(counted.messages["chat, client"]!);
  await expect(of("server")).toHaveCount(counted.messages["chat, server"]!);
  await expect(of("client").first().locator("pre")).toHaveText("hello");
  await expect(of("server").first().locator("pre")).toHaveText("you said: hello");
  await expect(of("client").last().locator("pre")).toHaveText("<b onclick=alert(1)>bye</b>");
  await expect(all.filter({ hasText: /ping|pong/ })).toHaveCount(2);

  await of("server").first().getByRole("button").first().click();
  await expect(pane(page).getByRole("heading", { level: 1 })).toContainText("← text");
  await expect(all.and(page.locator("[aria-current]")).locator("pre")).toHaveText("you said: hello");
});

for (const theme of ["light", "dark"] as const) {
  test(`it has its place and is accessible in ${theme}`, { tag: "@phone" }, async ({ page, open, culprit }) => {
    await page.emulateMedia({ colorScheme: theme });
    for (const path of [
      "/encrypted?last=all",
      await opened(culprit, 'sni == "old.shop.example"', "tls"),
      await opened(culprit, 'grpc_method == "Place"', "summary"),
      await opened(culprit, chat, "messages"),
    ]) {
      await open(path);
      await settled(page);
      expect(await violations(page), path).toEqual([]);
      expect(await wide(page), path).toEqual([]);
      expect(await overlaps(page), path).toEqual([]);
      expect(await small(page), path).toEqual([]);
    }
  });
}
