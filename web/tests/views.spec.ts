import type { Locator, Page } from "@playwright/test";
import { canCapture, expect, live, test } from "./culprit";
import { aggregate, apps, at, edge, logged, sample, search, slow } from "./sample";
import { column, descending, expectAbout, nanoseconds, rows, whole } from "./tables";
import { settled } from "./views";
import { requests } from "../src/lib/kind";
import type { PageLoad, PageResource, PagesAnswer, Status } from "../src/lib/types";

test.use({ args: sample });

const table = (page: Page, name: string) => page.getByRole("table", { name, exact: true });
const filter = (page: Page) => page.getByRole("combobox", { name: "Filter" });
const where = (page: Page) => new URL(page.url()).searchParams.get("where");

/** only clicks on a value, which makes it part of the filter. */
async function only(within: Locator, value: string): Promise<void> {
  await within.getByRole("button", { name: value, exact: true }).first().click();
}

test.describe("Errors", () => {
  const failed = Object.fromEntries(Object.entries(logged.edge.status).filter(([code]) => Number(code) >= 400));

  test("counts what the edge logged, by status", async ({ page, open, culprit }) => {
    await open(at("errors", { last: "all", where: edge }));
    const kinds = await rows(table(page, "Errors by status and grade"));
    const counted: Record<string, number> = {};
    for (const { Status = "", Errors } of kinds) counted[Status] = (counted[Status] ?? 0) + whole(Errors);
    expect(counted).toMatchObject({ ...failed, "no answer": logged.edge.status["none"] });
    expect(Object.keys(counted)).toEqual(expect.arrayContaining(["401", "404", "413", "504"]));

    const { total } = await aggregate(culprit, { where: edge, metric: "errors" });
    expect(total.count).toBe(logged.edge.requests);
    const said = await page.getByRole("region", { name: "Errors", exact: true }).locator(".aside").innerText();
    const none = counted["no answer"]!;
    const numbers = said.match(/\d[\d\u202f]*/g)!.map(whole);
    expect(numbers.slice(0, 3)).toEqual([total.values["errors"], none, total.count]);
    // The rows are what the headline says.
    expect(numbers[0]! + numbers[1]!).toBe(Object.values(counted).reduce((a, b) => a + b, 0));
  });

  test("sorts its tables", async ({ page, open }) => {
    await open(at("errors", { last: "all", where: edge }));
    const kinds = table(page, "Errors by status and grade");
    const heading = kinds.getByRole("columnheader", { name: "Errors" });
    await expect(heading).toHaveAttribute("aria-sort", "descending");
    const counts = (await column(kinds, "Errors")).map(whole);
    expect(counts).toEqual(descending(counts));
    expect(new Set(counts).size).toBeGreaterThan(5);
    await heading.getByRole("button").click();
    await expect(heading).toHaveAttribute("aria-sort", "ascending");
    expect((await column(kinds, "Errors")).map(whole)).toEqual(descending(counts).reverse());
    await kinds.getByRole("columnheader", { name: "Status" }).getByRole("button").click();
    const statuses = (await column(kinds, "Status")).map(Number).filter((n) => !Number.isNaN(n));
    expect(statuses).toEqual(descending(statuses));

    // The order is in the address, of this table alone; as it is at first, it needs no word.
    await expect(page).toHaveURL(/sort-kinds=-status/);
    await page.reload();
    await expect(kinds.getByRole("columnheader", { name: "Status" })).toHaveAttribute("aria-sort", "descending");
    const routes = table(page, "Routes by errors").getByRole("columnheader", { name: "Errors" });
    await expect(routes).toHaveAttribute("aria-sort", "descending");
    await heading.getByRole("button").click();
    await expect(heading).toHaveAttribute("aria-sort", "descending");
    await expect(page).not.toHaveURL(/sort-/);
    await open(at("errors", { last: "all", "sort-kinds": "-nonsense" }));
    await expect(heading).toHaveAttribute("aria-sort", "descending");
  });

  test("a click on a status narrows everything to it", async ({ page, open }) => {
    await open(at("errors", { last: "all", where: edge }));
    const kinds = table(page, "Errors by status and grade");
    await only(kinds, "404");
    await expect(filter(page)).toHaveValue(`${edge} and status == 404`);
    expect(where(page)).toBe(`${edge} and status == 404`);
    await expect.poll(() => column(kinds, "Errors")).toEqual([String(logged.edge.status["404"])]);
    await settled(page);
    expect(new Set(await column(table(page, "The last errors"), "Status"))).toEqual(new Set(["404"]));
    await page.goBack();
    await expect.poll(async () => (await column(kinds, "Errors")).length).toBeGreaterThan(5);

    await kinds.getByRole("button", { name: "Exclude status == 404" }).click();
    await expect(filter(page)).toHaveValue(`${edge} and not (status == 404)`);
    await expect.poll(() => column(kinds, "Status")).not.toContain("404");
    await expect.poll(() => column(kinds, "Status")).toContain("401");
  });

  test("which routes and servers fail, and the last exchanges", async ({ page, open, culprit }) => {
    await open(at("errors", { last: "all", where: apps }));
    await settled(page);
    const [route] = await rows(table(page, "Routes by errors"));
    const byRoute = await aggregate(culprit, { where: apps, group: "vhost,route", metric: "errors", sort: "errors" });
    expect(whole(route!["Errors"])).toBe(byRoute.groups[0]!.values["errors"]);
    const servers = await rows(table(page, "Servers by errors"));
    const { groups } = await aggregate(culprit, { where: apps, group: "server,port", metric: "errors" });
    expect(Object.fromEntries(servers.map((r) => [r["Server"], whole(r["Errors"])]))).toEqual(
      Object.fromEntries(groups.map((g) => [g.keys.join(":"), g.values["errors"]])),
    );

    const last = await search(culprit, { where: `${apps} and outcome == "failure"`, limit: "1", fields: "id,target" });
    const first = table(page, "The last errors").locator("tbody tr").first();
    const original = (last[0]!["url"] as { original: string }).original;
    await expect(first).toContainText(original);
    await first.click();
    await expect(page).toHaveURL(new RegExp(`open=${(last[0]!["event"] as { id: string }).id}`));
    await expect(page.getByRole("complementary", { name: "Exchange" })).toContainText(original);
  });

  test("says that there is none", async ({ page, open }) => {
    await open(at("errors", { last: "all", where: `${edge} and status == 304` }));
    await expect(page.getByText(`No error among ${logged.edge.status["304"]} exchanges in this time.`)).toBeVisible();
  });
});

test.describe("Slow", () => {
  test("leads with the route that was slow, and its phase", async ({ page, open, culprit }) => {
    await open(at("slow", { ...slow, where: edge }));
    const [first] = await rows(table(page, "Routes by time"));
    expect(first!["Route"]).toBe("shop.example/api/stock/{id}");
    const params = { ...slow, where: edge, group: "route", sort: "sum(duration)" };
    const { groups } = await aggregate(culprit, { ...params, metric: "sum(duration),p90(duration)" });
    expect(groups[0]!.keys).toEqual(["/api/stock/{id}"]);
    expect(whole(first!["Requests"])).toBe(groups[0]!.count);
    expectAbout(nanoseconds(first!["Time"]), groups[0]!.values["sum(duration)"]!);
    expectAbout(nanoseconds(first!["p90"]), groups[0]!.values["p90(duration)"]!);
    // To connect is a column of its own: the bar is what Time is made of.
    const phases = await aggregate(culprit, { ...params, metric: "sum(duration),sum(culprit.timing.connect)" });
    expectAbout(nanoseconds(first!["Connect"]), phases.groups[0]!.values["sum(culprit.timing.connect)"]!);
    // It is the server that one waits for.
    const bar = table(page, "Routes by time").locator("tbody tr").first().getByRole("img");
    await expect(bar).toHaveAccessibleName(/wait [\d.ms ]+ \((9\d(\.\d)?|> 99.9|100) %\)/);
    await expect(bar).not.toHaveAccessibleName(/connect/);
  });

  test("groups by server, in the address", async ({ page, open }) => {
    await open(at("slow", { ...slow, where: apps }));
    await page.getByRole("group", { name: "Group by" }).getByRole("button", { name: "Servers" }).click();
    await expect(page).toHaveURL(/by=server/);
    const servers = await rows(table(page, "Servers by time"));
    expect(servers.map((r) => r["Server"])).toEqual(["10.30.0.11:8080", "10.30.0.12:8080"]);
    // app-1 is the slow one.
    expect(nanoseconds(servers[0]!["p90"])).toBeGreaterThan(1e9);
    expect(nanoseconds(servers[1]!["p90"])).toBeLessThan(1e9);
    await page.reload();
    await expect(table(page, "Servers by time")).toBeVisible();
  });

  test("lists the slowest exchanges, without streams", async ({ page, open, culprit }) => {
    await open(at("slow", { last: "all", where: edge }));
    await settled(page);
    const took = (await column(table(page, "The slowest exchanges"), "Duration")).filter((d) => !d.startsWith("no "));
    const numbers = took.map(nanoseconds);
    expect(numbers.length).toBeGreaterThanOrEqual(50);
    expect(numbers).toEqual(descending(numbers));
    const [slowest] = await search(culprit, { where: `${edge} and not culprit.stream`, sort: "duration", limit: "1" });
    expectAbout(numbers[0]!, (slowest!["event"] as { duration: number }).duration);
    const [stream] = await search(culprit, { where: edge, sort: "duration", limit: "1" });
    expect((stream!["event"] as { duration: number }).duration).toBeGreaterThan(numbers[0]! * 1.1);
  });
});

test("Content counts media types, and a click filters by one", async ({ page, open, culprit }) => {
  await open(at("content", { last: "all", where: edge }));
  const types = table(page, "Responses by media type");
  const size = "sum(http.response.body.bytes)";
  const { groups, total } = await aggregate(culprit, { where: edge, group: "type", metric: size });
  const said = await rows(types);
  const bare = (type: unknown) => type ?? "no body, or no Content-Type";
  expect(Object.fromEntries(said.map((r) => [r["Type"], whole(r["Exchanges"])]))).toEqual(
    Object.fromEntries(groups.map((g) => [bare(g.keys[0]), g.count])),
  );
  // The type with the most bytes is first, and says what part of all it is.
  const largest = groups.reduce((a, b) => (b.values[size]! > a.values[size]! ? b : a));
  expect(said[0]!["Type"]).toBe(largest.keys[0]);
  expect(parseFloat(said[0]!["Part"]!)).toBeCloseTo((largest.values[size]! / total.values[size]!) * 100, 0);

  await only(types, "image/jpeg");
  await expect(filter(page)).toHaveValue(`${edge} and type == "image/jpeg"`);
  await expect.poll(() => column(types, "Type")).toEqual(["image/jpeg"]);
  expect(whole((await column(types, "Exchanges"))[0])).toBe(logged.edge.routes["/img/{id}.jpg"]);
});

test.describe("Clients", () => {
  test("the map has the countries of the sample, and filters", async ({ page, open, culprit }) => {
    await open(at("clients", { last: "all", where: edge }));
    const map = page.getByRole("group", { name: "Map of the world: requests by country" });
    const { groups } = await aggregate(culprit, { where: edge, group: "country" });
    const names = new Intl.DisplayNames("en", { type: "region" });
    const placed = groups.filter((g) => g.keys[0] !== null);
    expect(placed.length).toBeGreaterThan(10);
    await expect(map).toBeVisible();
    const drawn = await map.getByRole("button").evaluateAll((all) => all.map((e) => e.getAttribute("aria-label")!));
    const tooSmall = ["SG"]; // for a map of this scale
    const expected = placed
      .filter((g) => !tooSmall.includes(String(g.keys[0])))
      .map((g) => [names.of(String(g.keys[0])), g.count]);
    expect(
      Object.fromEntries(drawn.map((l) => [l.split(":")[0], whole(/: ([\d\u202f]+) request/.exec(l)?.[1])])),
    ).toEqual(Object.fromEntries(expected));
    // Where most come from is darkest.
    const shade = (country: string) =>
      map
        .getByRole("button", { name: `${country}:` })
        .evaluate((e) => parseFloat((e as unknown as SVGElement).style.getPropertyValue("--shade")));
    expect(await shade("Germany")).toBeGreaterThan(await shade("Australia"));

    await map.getByRole("button", { name: "Germany:" }).click();
    await expect(filter(page)).toHaveValue(`${edge} and country == "DE"`);
    await expect.poll(() => column(table(page, "Countries"), "Country")).toEqual(["Germany"]);
    await expect(map.getByRole("button")).toHaveCount(1);
    await page.goBack();
    await expect(map.getByRole("button")).toHaveCount(expected.length);
    await map.getByRole("button", { name: "Brazil:" }).focus();
    await page.keyboard.press("Enter");
    await expect(filter(page)).toHaveValue(`${edge} and country == "BR"`);
  });

  test("asks for suspects when countries and clients are answered", async ({ page, open }) => {
    const asked: string[] = [];
    page.on("request", (r) => {
      if (r.url().includes("/api/aggregate")) asked.push(new URL(r.url()).searchParams.get("group")!);
    });
    let answer: (() => void) | undefined;
    const held = new Promise<void>((done) => (answer = done));
    await page.route("**/api/aggregate?*group=country&*", async (route) => {
      await held;
      await route.continue();
    });
    await open(at("clients", { last: "all", where: edge }));
    await expect(table(page, "Kinds of clients")).toBeVisible();
    await expect(table(page, "Addresses")).toBeVisible();
    expect(asked).not.toContain("client,path");
    answer!();
    await expect(table(page, "Clients that look for holes")).toBeVisible();
    expect(asked).toContain("client,path");
    await expect(page.getByText("counts once for each")).toBeVisible();
  });

  test("who looks for holes is named with reasons, and proxies aren't", async ({ page, open, culprit }) => {
    await open(at("clients", { last: "all" })); // all hops: proxies ask for the same
    const holes = table(page, "Clients that look for holes");
    const said = await rows(holes);
    expect(said[0]!["Client"]).toBe("192.0.2.205");
    expect(said[0]!["Why"]).toMatch(/Nikto/);
    expect(said[0]!["Why"]).toMatch(/sqlmap/);
    expect(said[0]!["Why"]).toMatch(/\d+ of its \d+ requests were for what isn't there \(404\)/);
    const { groups } = await aggregate(culprit, { group: "client", where: 'client == "192.0.2.205"' });
    expect(whole(said[0]!["Requests"])).toBe(groups[0]!.count);
    const suspects = said.map((r) => r["Client"]);
    for (const masscan of ["192.0.2.198", "192.0.2.199", "192.0.2.200"]) expect(suspects).toContain(masscan);
    for (const proxy of ["10.20.0.10", "10.20.0.20"]) expect(suspects).not.toContain(proxy);
    for (const partner of ["198.51.100.10", "203.0.113.250"]) expect(suspects).not.toContain(partner);

    await only(holes, "192.0.2.205");
    await expect(filter(page)).toHaveValue('client == "192.0.2.205"');
    await expect.poll(() => column(holes, "Client")).toEqual(["192.0.2.205"]);
  });
});

test.describe("Services", () => {
  const hops: Record<string, number> = {
    "clients → edge": logged.edge.requests,
    "edge → lb": logged.lb.requests,
    "lb → app-1": logged.apps[0].requests,
    "lb → app-2": logged.apps[1].requests,
  };

  test("draws the chain with the numbers of its logs", async ({ page, open, culprit }) => {
    await open(at("services", { last: "all" }));
    const nodes = page.getByRole("region", { name: "Map of calls" }).getByRole("button");
    await expect(nodes).toHaveCount(5);
    const boxes = new Map<string, number>();
    for (const node of await nodes.all()) {
      const name = (await node.locator("text.name").textContent())!;
      boxes.set(name, (await node.boundingBox())!.x);
    }
    expect([...boxes.keys()].sort()).toEqual(["app-1", "app-2", "clients", "edge", "lb"]);
    const x = (name: string) => boxes.get(name)!;
    expect(x("clients")).toBeLessThan(x("edge"));
    expect(x("edge")).toBeLessThan(x("lb"));
    expect(x("lb")).toBeLessThan(x("app-1"));
    expect(x("app-1")).toBe(x("app-2"));

    const sums: Record<string, number> = {};
    for (const row of await rows(table(page, "Calls, from whom to whom"))) {
      const hop = `${row["Caller"]} → ${row["Server"]!.split(" ")[0]}`;
      sums[hop] = (sums[hop] ?? 0) + whole(row["Calls"]);
    }
    expect(sums).toEqual(hops);

    const { groups } = await aggregate(culprit, { group: "service", metric: "error_rate" });
    const lb = groups.find((g) => g.keys[0] === "lb")!;
    const label = (await nodes.filter({ hasText: /^lb/ }).first().textContent())!;
    expect(parseFloat(/([\d.]+) % errors/.exec(label)![1]!)).toBeCloseTo(lb.values["error_rate"]! * 100, 0);
  });

  test("a call is selected by a click, and not any more by another", async ({ page, open }) => {
    await open(at("services", { last: "all" }));
    const calls = table(page, "Calls, from whom to whom");
    const row = calls.locator("tbody tr").first();
    await row.click();
    await expect(row).toHaveClass(/chosen/);
    // The same calls, answered anew.
    const again = page.waitForResponse((r) => r.url().includes("client_service"));
    await page.getByRole("button", { name: "Everything stored" }).click();
    await page.getByRole("button", { name: "Refresh" }).click();
    await again;
    await settled(page);
    await row.click();
    await expect(row).not.toHaveClass(/chosen/);
  });

  test("rates are over what is stored", async ({ page, open, culprit }) => {
    const { store } = await culprit.get<Status>("/api/status");
    const from = new Date(Date.parse(store.first!) - 3_600_000).toISOString();
    const to = new Date(Date.parse(store.last!) + 3_600_000).toISOString();
    await open(at("services", { from, to }));
    const lb = (await rows(table(page, "Calls, from whom to whom"))).find((r) => r["Server"]!.startsWith("lb"))!;
    const seconds = (Date.parse(store.last!) - Date.parse(store.first!)) / 1000;
    expect(parseFloat(lb["Rate"]!)).toBeCloseTo(whole(lb["Calls"]) / seconds, 1);
  });

  test("a click on a service narrows everything to it", async ({ page, open }) => {
    await open(at("services", { last: "all" }));
    const nodes = page.getByRole("region", { name: "Map of calls" }).getByRole("button");
    await nodes.filter({ hasText: /^app-1/ }).click();
    await expect(filter(page)).toHaveValue('service == "app-1"');
    await expect(nodes).toHaveCount(2);
    const routes = table(page, "Routes");
    await expect.poll(async () => new Set(await column(routes, "Service"))).toEqual(new Set(["app-1"]));
    const stock = (await rows(routes)).find((r) => r["Route"] === "shop.example/api/stock/{id}")!;
    expect(whole(stock["Requests"])).toBe(logged.apps[0].routes["/api/stock/{id}"]);
    await page.goBack();
    await expect(nodes).toHaveCount(5);
    await nodes.filter({ hasText: /^clients/ }).focus();
    await page.keyboard.press("Enter");
    await expect.poll(() => where(page)).toMatch(/^client not in \[/);
    await expect.poll(() => column(table(page, "Calls, from whom to whom"), "Caller")).toEqual(["clients", "clients"]);
  });
});

test("Connections tells what was sent again, how connections ended, and leads to the exchanges", async ({
  page,
  open,
  culprit,
}) => {
  await open(at("connections", { last: "all", where: edge }));
  await settled(page);
  const [byClient, byServer] = ["client", "server"].map((end) => `sum(culprit.net.${end}.retransmits)`) as [
    string,
    string,
  ];
  const rtt = "p50(culprit.net.handshake.client_rtt)";
  const metric = [byClient, byServer, rtt].join(",");
  const networks = await aggregate(culprit, { where: edge, group: "network(client)", metric });
  const said = await rows(table(page, "By client network"));
  const again = (r: Record<string, string>) =>
    [r["Exchanges"], r["Client sent again"], r["Server sent again"]].map(whole);
  expect(Object.fromEntries(said.map((r) => [r["Client network"], again(r)]))).toEqual(
    Object.fromEntries(networks.groups.map((g) => [g.keys[0], [g.count, g.values[byClient], g.values[byServer]]])),
  );
  expect(networks.total.values[byClient]).toBeGreaterThan(0);
  expect(networks.total.values[byServer]).not.toBe(networks.total.values[byClient]);
  expectAbout(
    nanoseconds(said[0]!["RTT p50"]),
    networks.groups.find((g) => g.keys[0] === said[0]!["Client network"])!.values[rtt]!,
  );

  const ended = await rows(table(page, "How connections ended"));
  const how = await aggregate(culprit, { where: `${edge} and culprit.net.closed.how == "rst"` });
  const resets = ended.filter((r) => r["How"] === "reset (RST)").map((r) => whole(r["Exchanges"]));
  expect(resets.reduce((a, b) => a + b, 0)).toBe(how.total.count);
  const last = ended.reduce((n, r) => n + whole(r["Exchanges"]), 0);
  const aside = page.getByRole("region", { name: "How connections ended" }).locator(".aside");
  expect((await aside.innerText()).match(/\d[\d\u202f]*/g)!.map(whole)).toEqual([last, logged.edge.requests]);

  const trouble = table(page, "Connections with trouble");
  const [first] = await rows(trouble);
  await trouble.getByRole("link").first().click();
  await page.getByRole("region", { name: "Diagnosis" }).getByRole("link", { name: "Its exchanges" }).click();
  await expect(page.getByRole("main", { name: "Exchanges" })).toBeVisible();
  const id = /network\.community_id == "([^"]+)"|community_id == "([^"]+)"/.exec(where(page)!);
  expect(id).not.toBeNull();
  const list = page.getByRole("grid", { name: "Exchanges" });
  const { total } = await aggregate(culprit, { where: where(page)! });
  expect(total.count).toBeGreaterThanOrEqual(whole(first!["Exchanges"]));
  await expect(list).toHaveAttribute("aria-rowcount", String(total.count + 1));
});

test.describe("Pages", () => {
  /** begin is when the connection for a request was begun, or else the request, in nanoseconds of the page. */
  const begin = (r: PageResource) =>
    r.offset - Object.entries(r.timing).reduce((n, [phase, ns]) => n + (before.has(phase) ? (ns ?? 0) : 0), 0);
  const before = new Set(["idle", "connect", "tls"]);

  test("lists page loads, and shows one as a waterfall", async ({ page, open, culprit }) => {
    await open(at("pages", { last: "all", where: edge }));
    const loads = table(page, "Page loads, the newest first");
    const { pages } = await culprit.get<PagesAnswer>(at("api/pages", { where: edge, limit: "100", confidence: "0.5" }));
    const said = await rows(loads);
    expect(said.map((r) => [r["Page"]!.split(" ").at(-1), r["Client"], whole(r["Requests"])])).toEqual(
      pages.map((p) => [p.url, p.client, p.requests]),
    );

    // One with several resources.
    const i = pages.findIndex((p) => p.requests >= 4 && p.complete);
    const { page: load } = await culprit.get<{ page: PageLoad }>(`/api/pages/${pages[i]!.id}`);
    await loads.locator("tbody tr").nth(i).click();
    await expect(page).toHaveURL(new RegExp(`/pages/${load.id}\\?`));
    const waterfall = table(page, "Exchanges of the page load");
    await expect(waterfall.locator("tbody tr")).toHaveCount(load.resources.length);
    const drawn = await rows(waterfall);
    expect(drawn.map((r) => r["Request"])).toEqual(load.resources.map((r) => `${r.method} ${r.target}`));
    expect(load.resources[0]!.why).toBe("document");
    await expect(waterfall.locator("tbody tr").first().locator("td.bar")).toHaveAttribute("title", /^the document,/);
    expectAbout(nanoseconds(drawn[0]!["Duration"]), load.resources[0]!.duration!);
    // Bars begin where their requests did, or the connections that were made for them, on one scale.
    const lefts = await waterfall
      .locator("tbody tr")
      .evaluateAll((all) => all.map((row) => Number(row.querySelector("td.bar rect")?.getAttribute("x") ?? NaN)));
    const bars = lefts.map((x, k) => ({ x, begin: begin(load.resources[k]!) })).filter((b) => !Number.isNaN(b.x));
    const early = bars.reduce((a, b) => (b.begin < a.begin ? b : a));
    const late = bars.reduce((a, b) => (b.begin > a.begin ? b : a));
    expect(early.x).toBeCloseTo(0, 6);
    expect(late.x).toBeGreaterThan(10);
    for (const { x, begin } of bars) {
      expect(x / late.x).toBeCloseTo((begin - early.begin) / (late.begin - early.begin), 6);
    }

    await waterfall.locator("tbody tr").nth(1).click();
    await expect(page).toHaveURL(new RegExp(`open=${load.resources[1]!.id}`));
    await page.keyboard.press("j");
    await expect(page).toHaveURL(new RegExp(`open=${load.resources[2]!.id}`));
    await page.getByRole("link", { name: "Close" }).click();
    await expect(waterfall).toHaveCount(0);
  });

  test("older page loads are a click away, also beside a page", async ({ page, open, culprit }) => {
    const { pages } = await culprit.get<PagesAnswer>(at("api/pages", { where: edge, limit: "100" }));
    await page.route("**/api/pages?*", (route) =>
      route.continue({ url: route.request().url().replace("limit=100", "limit=4") }),
    );
    await open(at("pages", { last: "all", where: edge, programs: "1" }));
    const loads = table(page, "Page loads, the newest first");
    const urls = async () => (await rows(loads)).map((r) => r["Page"]!.replace(/^(incomplete |prefetched )*/, ""));
    const some = (from: number) => pages.slice(from, from + 4).map((p) => p.url);
    await expect.poll(urls).toEqual(some(0));
    await page.getByRole("button", { name: "Older page loads" }).click();
    await expect(page).toHaveURL(/before=/);
    await expect.poll(urls).toEqual(some(4));

    await loads.locator("tbody tr").nth(1).click();
    await expect(page).toHaveURL(new RegExp(`/pages/${pages[5]!.id}\\?`));
    await expect(page.getByRole("checkbox", { name: "what programs fetch, too" })).toBeChecked();
    await expect.poll(urls).toEqual(some(4));
    await page.getByRole("button", { name: "Newest page loads" }).click();
    await expect.poll(urls).toEqual(some(0));
  });

  test("a page is found by any of its exchanges", async ({ page, open, culprit }) => {
    const { pages } = await culprit.get<PagesAnswer>(at("api/pages", { where: edge, limit: "100", confidence: "0.5" }));
    const load = pages.find((p) => p.requests >= 4)!;
    await open(`/pages/${load.resources.at(-1)!.id}?last=all`);
    await expect(table(page, "Exchanges of the page load").locator("tbody tr").first()).toContainText(
      load.resources[0]!.target,
    );
  });
});

test("Health reconciles, with the numbers of the state", async ({ page, open, culprit }) => {
  await open("/health");
  const parts = table(page, "What became of packets, connections and exchanges");
  await expect(parts).toBeVisible();
  const numbers = async (what: string) => {
    const row = parts.getByRole("row").filter({ has: page.getByRole("rowheader", { name: what, exact: true }) });
    const [all] = await row.locator("td").allInnerTexts();
    const sum = await row.locator(".part > b").allInnerTexts();
    return [whole(all), sum.map(whole).reduce((a, b) => a + b, 0)];
  };
  const { capture, store } = await culprit.get<Status>("/api/status");
  const connections = Object.values(capture!.totals!.connections).reduce((a, b) => a + b, 0);
  const both = (n: number) => [n, n];
  expect(await numbers("Packets")).toEqual(both(capture!.totals!.received));
  expect(await numbers("Connections")).toEqual(both(connections));
  expect(await numbers("Exchanges")).toEqual(both(capture!.exchanges.seen));
  expect(await numbers("Storing")).toEqual(both(store.exchanges));
  const hops = logged.edge.requests + logged.lb.requests + logged.apps[0].requests + logged.apps[1].requests;
  // What was said on WebSockets is stored, too.
  expect((await aggregate(culprit, { where: requests })).total.count).toBe(hops);
  await expect(parts.getByRole("alert")).toHaveCount(0);
  await expect(page.getByText(`duplicate ${capture!.totals!.ignored["duplicate"]}`)).toBeVisible();
  await expect(page.getByText(/None of \d+ limits was hit/)).toBeVisible();
  // The sample is served with --reveal.
  await expect(page.getByRole("region", { name: "Beside" }).locator("dd").first()).toHaveText(
    "off (--reveal): secrets are stored and shown as they were sent",
  );
});

test("what doesn't add up is said", async ({ page, open, culprit }) => {
  const status = await culprit.get<Status>("/api/status");
  status.capture!.totals!.analysed -= 3;
  await page.route("**/api/status", (route) => route.fulfill({ json: status }));
  await open("/health");
  await expect(page.getByRole("alert")).toHaveText("this doesn't add up: 3 unaccounted for");
});

test("In flight shows a request while it waits for its answer", async ({ page, open, culprit }) => {
  const missing = canCapture();
  test.skip(missing !== "", missing);
  expect(culprit.origin).toBeTruthy();
  let answer: (() => void) | undefined;
  const here = await live((request, response) => {
    if (request.url === "/held") answer = () => response.end("at last");
    else response.end("at once");
  });
  try {
    const origin = `http://127.0.0.1:${here.port}`;
    await open("/inflight", here.serving);
    await expect(page.getByText("Nothing is under way at this moment.")).toBeVisible();
    const held = fetch(`${origin}/held`);
    await (await fetch(`${origin}/quick`)).text();
    const under = table(page, "Exchanges under way, the oldest first");
    await expect(under.getByRole("row", { name: "/held" })).toContainText(
      new RegExp(`127\\.0\\.0\\.1:${here.port}( \\(\\S+\\))? to answer`), // the process may be known
    );
    await expect(under.getByRole("row", { name: "/quick" })).toHaveCount(0);
    await expect(page.getByText("1 exchange under way")).toBeVisible();
    expect(nanoseconds((await rows(under))[0]!["For"])).toBeGreaterThan(0);
    answer!();
    expect(await (await held).text()).toBe("at last");
    await expect(page.getByText("Nothing is under way at this moment.")).toBeVisible();
  } finally {
    answer?.();
    await page.goto("about:blank"); // or it would ask a server that is gone
    await here.stop();
  }
});
