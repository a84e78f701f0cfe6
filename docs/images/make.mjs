// Makes the pictures of the guides anew, from the sample capture: make screenshots.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");
const { chromium } = createRequire(join(root, "web/package.json"))("playwright-core");
const sample = (name) => join(root, "testdata/sample", name);
const work = mkdtempSync(join(tmpdir(), "culprit-pictures-"));

const running = [];

/** serve starts culprit serve with arguments, and gives its URL. */
async function serve(...args) {
  const store = join(work, `store${running.length}`);
  const culprit = spawn(join(root, "bin/culprit"), ["serve", "--listen", "127.0.0.1:0", "--store", store, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  running.push(culprit);
  return new Promise((done, failed) => {
    let text = "";
    culprit.on("exit", (code) => failed(new Error(`culprit ended with ${code}`)));
    culprit.stdout.on("data", (chunk) => {
      text += chunk;
      if (text.includes("\n")) done(new URL(text.trim()));
    });
  });
}

const shop = await serve(
  ...["-r", sample("shop.pcapng.zst"), "--config", sample("culprit.yaml"), "--geoip", sample("places.mmdb")],
);
const secure = await serve("-r", join(root, "testdata/secure/secure.pcapng"), "--messages", "--max-body", "64KiB");
const databases = await serve("-r", join(root, "testdata/databases/databases.pcapng"));

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const browser = await chromium.launch({ executablePath, args: process.getuid() === 0 ? ["--no-sandbox"] : [] });

/** open gives a page with the cookie, when all is imported. */
async function open(options = {}, url = shop) {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 800 },
    locale: "en-GB",
    timezoneId: "UTC",
    ...options,
  });
  const page = await context.newPage();
  await page.goto(url.href);
  await settled(page);
  // All is imported when the status says so.
  await page.waitForFunction(async () => (await (await fetch("/api/status")).json()).capture.state === "ended");
  return page;
}

const settled = (page) => page.waitForLoadState("networkidle");

async function picture(page, path, name) {
  await page.goto(new URL(page.url()).origin + path);
  await settled(page);
  await page.mouse.move(640, 20); // nothing is pointed at
  await page.screenshot({ path: join(import.meta.dirname, `${name}.png`) });
}

/** idOf finds an exchange by a filter. */
async function idOf(page, where) {
  const answer = await page.evaluate(
    async (q) => (await fetch(q)).json(),
    `/api/exchanges?${new URLSearchParams({ where, limit: "1", fields: "id" })}`,
  );
  return answer.exchanges[0].event.id;
}

try {
  const page = await open();
  await picture(page, "/overview", "overview");
  // The slow phase of one server, as one would brush it.
  const slow = ["2026-11-02T09:31:15Z", "2026-11-02T09:32:20Z"].map((t) => Date.parse(t));
  await picture(page, `/overview?sel=${slow[0]},${slow[1]},${0.9e9},${3e9}`, "differences");
  const upload = await idOf(page, 'status == 413 and service == "edge"');
  await picture(
    page,
    `/exchanges?where=${encodeURIComponent('service == "edge" and status >= 400')}&open=${upload}`,
    "exchanges",
  );
  await picture(page, "/services", "services");
  await picture(page, "/clients", "clients");
  const documents = await page.evaluate(
    async () => (await (await fetch("/api/pages?confidence=0.9&limit=200")).json()).pages,
  );
  const richest = documents.reduce((a, b) => (b.requests > a.requests ? b : a));
  await picture(page, `/pages/${richest.id}`, "pages");

  const tls = await open({}, secure);
  await picture(tls, "/encrypted", "encrypted");
  const session = await idOf(tls, 'protocol == "websocket" and path == "/chat" and not has(culprit.message.kind)');
  await picture(
    tls,
    `/exchanges?where=${encodeURIComponent("tls.established")}&open=${session}&tab=messages`,
    "websocket",
  );

  const asked = await open({}, databases);
  const statements = await asked.evaluate(async () => (await (await fetch("/api/statements?sort=count")).json()).rows);
  await picture(asked, `/hops/${await idOf(asked, 'path == "/report"')}`, "hops");
  await picture(asked, `/databases?of=${encodeURIComponent(statements[0].where)}`, "databases");

  const dark = await open({ colorScheme: "dark" });
  await picture(dark, "/overview", "overview-dark");
  const phone = await open({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  await picture(phone, "/overview", "phone");
} finally {
  await browser.close();
  for (const culprit of running) culprit.kill("SIGINT");
  rmSync(work, { recursive: true, force: true });
}
