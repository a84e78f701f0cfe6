import { execFileSync } from "node:child_process";
import { createWriteStream, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, folder, Serving, test, testdata } from "./culprit";
import { grid, rowCount, seen } from "./list";
import { whole } from "./tables";
import type { SearchAnswer, Status } from "../src/lib/types";

const repository = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** capture makes a file of some 20 MB: 14,000 exchanges. */
function capture(): string {
  const path = join(folder(), "small.pcap");
  execFileSync("go", ["run", "./internal/synth/cmd/synth", "-scenario", "small", "-size", "20MB", "-o", path], {
    cwd: repository,
    stdio: "ignore",
  });
  return path;
}

test("an import is shown while it goes on, and ends with all that the capture has", async ({ page, open }) => {
  // Through a pipe, so that it is half way for as long as it is looked at.
  const bytes = readFileSync(capture());
  const half = Math.floor(bytes.length / 2);
  const pipe = join(folder(), "pipe");
  execFileSync("mkfifo", ["-m", "666", pipe]);
  const writer = createWriteStream(pipe);
  writer.write(bytes.subarray(0, half));
  const serving = await Serving.start(["-r", pipe]);
  const status = () => serving.get<Status>("/api/status");
  try {
    // So much of the half is read that all of it surely is stored but for what may wait within culprit.
    await serving.stored(3_000);
    await open("/exchanges", serving);
    const progress = page.getByRole("progressbar", { name: "import" });
    await expect(progress).toBeVisible();
    await expect(page.getByRole("banner")).toContainText(/Importing 1 file: [\d\u202f]+ exchanges/);
    await expect(page.getByRole("link", { name: "importing" })).toBeVisible();
    // What is stored already can be looked at.
    await expect.poll(() => rowCount(page).catch(() => 0)).toBeGreaterThanOrEqual(3_000);
    const before = (await status()).store;
    expect((await status()).capture!.state).toBe("importing");

    writer.end(bytes.subarray(half));
    await serving.imported();
    await expect(progress).toHaveCount(0);
    await expect(page.getByRole("link", { name: "capture ended" })).toBeVisible();
    const { store } = await status();
    expect(store.exchanges).toBeGreaterThan(before.exchanges);
    expect(Date.parse(store.last!)).toBeGreaterThan(Date.parse(before.last!));
    await expect.poll(() => rowCount(page)).toBe(store.exchanges);
    // The range covers the capture: its last exchange is at the top, its first one at the end.
    const edges = await Promise.all(
      ["", "&ascending"].map((order) => serving.get<SearchAnswer>(`/api/exchanges?limit=1&fields=@timestamp${order}`)),
    );
    const [newest, oldest] = edges.map((e) => String(e.exchanges[0]!["@timestamp"]).slice(14, 23));
    await expect.poll(async () => (await seen(page))[0]!.cells["time"]).toContain(newest);
    await grid(page).focus();
    await page.keyboard.press("End");
    expect((await seen(page, store.exchanges - 1)).at(-1)!.cells["time"]).toContain(oldest);
  } finally {
    writer.destroy();
    await serving.stop();
  }
});

test("how far a file is read is said in percent", async ({ page, open, culprit }) => {
  const status = await culprit.get<Status>("/api/status");
  const capture = status.capture!;
  capture.state = "importing";
  capture.from = [testdata("demo.pcap")];
  capture.import = { ...capture.import!, read: 100 << 20, size: 400 << 20, files: 1 };
  await page.route("**/api/status", (route) => route.fulfill({ json: status }));
  await open("/exchanges?last=all");
  const progress = page.getByRole("progressbar", { name: "import" });
  await expect(progress).toHaveJSProperty("value", 0.25);
  await expect(page.getByRole("banner")).toContainText("25 % of 400 MiB");
  const said = /file: ([\d\u202f]+) exchange/.exec(await page.getByRole("banner").innerText())![1];
  expect(whole(said)).toBe(capture.exchanges.seen);
});
