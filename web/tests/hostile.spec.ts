import { createConnection } from "node:net";
import type { Page } from "@playwright/test";
import { canCapture, expect, live, test, type Live } from "./culprit";
import { paths, settled } from "./views";

/** Markup that would run, were it taken for markup. __xss is what it sets. */
const attack = `"><img src=x onerror=window.__xss=1><svg/onload=window.__xss=1><script>window.__xss=1</script>`;
const bidi = "\u202egnp.exe\u2066";
const svg = `<svg xmlns="http://www.w3.org/2000/svg"><script>window.__xss=1</script></svg>`;
const html = `<!doctype html><body onload=window.__xss=1><iframe src="http://evil.example/"></iframe>${attack}`;

let traffic: Live;

test.beforeAll(async () => {
  const missing = canCapture();
  test.skip(missing !== "", missing);
  traffic = await live(
    (req, res) => {
      const type = req.headers["x-type"] === "svg" ? "image/svg+xml" : "text/html";
      res.setHeader("Content-Type", type);
      res.setHeader("X-Attack", attack);
      res.setHeader("Content-Disposition", `attachment; filename="${attack.replaceAll('"', "'")}.png"`);
      res.setHeader("Server", `<b>server</b>${attack}`);
      res.statusCode = 500;
      res.statusMessage = "<i>no</i>";
      res.end(type === "text/html" ? html : svg);
    },
    ["--max-body", "64KiB"],
  );
  const paths = [
    `/${attack}`,
    `/<script>alert(1)</script>?q=${attack}`,
    `/${bidi}`,
    `/javascript:alert(1)//`,
    `/{{constructor.constructor('window.__xss=1')()}}`,
    `/\u0001\u001b[31m`,
  ];
  const hosts = ["shop.example", "<img/src=x>", "a\u00e9.example"];
  for (const [i, path] of paths.entries()) {
    await send(path, {
      Host: latin1(hosts[i % hosts.length]!),
      "User-Agent": latin1(`${attack}${bidi}`),
      Referer: "javascript:window.__xss=1",
      "X-Type": i % 2 ? "svg" : "html",
      "X-Request-ID": attack,
      Cookie: `a=${attack}`,
    });
  }
  await traffic.serving.stored(paths.length);
});

test.afterAll(async () => {
  await traffic?.stop();
});

function latin1(text: string): string {
  return Buffer.from(text).toString("latin1"); // the bytes are UTF-8 on the wire
}

/** send writes a request whose target nothing escapes. */
async function send(path: string, headers: Record<string, string>): Promise<void> {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  const target = path.replaceAll(" ", "\u00a0"); // a space would end it
  await new Promise<void>((resolve, reject) => {
    const socket = createConnection(traffic.port, "127.0.0.1");
    socket.once("error", reject).once("close", () => resolve());
    socket.resume();
    socket.end(
      Buffer.from(`GET ${latin1(target)} HTTP/1.1\r\n${lines.join("\r\n")}\r\nConnection: close\r\n\r\n`, "latin1"),
    );
  });
}

/** unharmed checks that nothing of the traffic became a part of the page. */
async function unharmed(page: Page): Promise<void> {
  const found = await page.evaluate(() => ({
    ran: (window as unknown as { __xss?: number }).__xss,
    images: [...document.images].filter((i) => !/^(blob|data):/.test(i.src)).map((i) => i.outerHTML),
    scripts: [...document.scripts].filter((s) => s.text !== "").map((s) => s.text.slice(0, 80)),
    frames: document.querySelectorAll("iframe, object, embed").length,
    handlers: document.querySelectorAll("[onload], [onerror]").length,
    links: [...document.links].filter((a) => a.origin !== location.origin && a.protocol !== "blob:").map((a) => a.href),
    styles: document.querySelectorAll("b > b, i > i").length,
  }));
  expect(found).toEqual({ ran: undefined, images: [], scripts: [], frames: 0, handlers: 0, links: [], styles: 0 });
}

for (const path of paths) {
  test(`${path} shows markup as text`, async ({ page, open }) => {
    await open(`/${path}?last=all`, traffic.serving);
    await settled(page);
    await unharmed(page);
  });
}

test("the pane of an exchange shows markup as text, on every tab", async ({ page, open }) => {
  const { exchanges } = await traffic.serving.get<{ exchanges: { event: { id: string } }[] }>(
    "/api/exchanges?limit=10",
  );
  expect(exchanges.length).toBeGreaterThan(4);
  for (const x of exchanges) {
    await open(`/exchanges?last=all&open=${x.event.id}`, traffic.serving);
    await settled(page);
    const tabs = page.getByRole("complementary").getByRole("tab");
    const names = await tabs.allInnerTexts();
    for (const name of names) {
      await tabs.filter({ hasText: name }).first().click();
      await settled(page);
      await unharmed(page);
    }
    await unharmed(page);
  }
});

test("TLS and WebSockets show markup as text", async ({ page, open }) => {
  const evil = `${attack}${bidi}`;
  const names = ["Summary", "Headers", "Body", "Messages", "TLS", "Network", "Connection", "Packets", "JSON"];
  const hostile = {
    "@timestamp": "2026-11-09T10:00:00.000000000Z",
    event: { id: "X", end: "2026-11-09T10:00:01.000000000Z" },
    network: { protocol: "websocket", community_id: evil },
    client: { ip: "10.0.0.1", port: 1 },
    server: { ip: "10.0.0.2", port: 443 },
    url: { original: `/${evil}`, scheme: evil, domain: evil },
    http: { request: { method: evil, headers: { [evil]: [evil] } } },
    error: { code: evil, message: evil },
    tls: {
      version: evil,
      cipher: evil,
      next_protocol: evil,
      established: true,
      client: { server_name: evil, ja3: evil, supported_ciphers: [evil], subject: evil },
      server: { subject: evil, issuer: evil, not_before: evil, not_after: evil, x509: { alternative_names: [evil] } },
    },
    culprit: {
      grade: "aborted",
      grpc: { status: evil, message: evil },
      operation: { names: [evil] },
      message: undefined as unknown,
      websocket: { close_reason: evil, closed_by: evil },
      tls: {
        alerts: [`client: ${evil}`, evil],
        reason: evil,
        client: { alpn: [evil] },
        server: { chain: [evil, evil], days_left: 1 },
      },
    },
  };
  const message = { ...hostile, culprit: { message: { kind: evil, from: "client" }, grade: evil }, event: { id: "Y" } };
  (message.http.request as Record<string, unknown>)["body"] = { content: evil, bytes: 9 };
  await page.route("**/api/exchanges/X", (route) => route.fulfill({ json: hostile }));
  await page.route(/\/api\/exchanges\?/, (route) => route.fulfill({ json: { exchanges: [message], next: "" } }));
  await page.route("**/api/exchanges/X/bodies", (route) =>
    route.fulfill({
      json: {
        request: { form: "messages", lines: [evil], notes: [evil], kind: evil, sha256: evil, cut: true },
        response: null,
      },
    }),
  );
  await open("/health?last=all&open=X", traffic.serving);
  await settled(page);
  for (const name of names) {
    await page.getByRole("complementary").getByRole("tab", { name, exact: true }).click();
    await settled(page);
    await expect(page.getByRole("complementary")).toContainText("onerror");
    await unharmed(page);
  }

  // Groups of the view, whatever they are by.
  await page.route("**/api/aggregate?*", (route) => {
    const by = new URL(route.request().url()).searchParams.get("group")?.split(",") ?? [];
    const total = { count: 1, values: { "min(days_left)": 3 } };
    const groups = by.length > 0 ? [{ keys: by.map(() => evil), ...total }] : [];
    return route.fulfill({ json: { by, interval: 0, groups, rows: [], other: { ...total, groups: 0 }, total } });
  });
  await open("/encrypted?last=all", traffic.serving);
  await expect(page.getByRole("table")).toHaveCount(6);
  await settled(page);
  await unharmed(page);
});

test("completion and errors show markup as text", async ({ page, open }) => {
  await open("/health?last=all", traffic.serving);
  const filter = page.getByRole("combobox", { name: "Filter" });
  await filter.fill(`path == "/`);
  await expect(page.getByRole("option").filter({ hasText: "<img" }).first()).toBeVisible();
  await unharmed(page);
  await page.getByRole("option").filter({ hasText: "<img" }).first().click();
  await page.keyboard.press("Enter");
  await expect.poll(() => new URL(page.url()).searchParams.get("where")).toContain("onerror");
  await settled(page);
  await unharmed(page);

  await filter.fill(`<img src=x onerror=window.__xss=1> == 1 and `);
  await page.keyboard.press("Enter");
  await expect(filter).toHaveAttribute("aria-invalid", "true");
  await unharmed(page);
});

test("a hostile link does nothing", async ({ page, open, faults }) => {
  faults.expect(/status of 40[04]/);
  const query = new URLSearchParams({
    where: attack,
    text: attack,
    last: attack,
    open: attack,
    from: attack,
    sort: attack,
  });
  await open(`/exchanges?${query}`, traffic.serving);
  await expect(page.getByRole("main")).not.toBeEmpty();
  await unharmed(page);
});
