// make demo, as the README tells to: it ends with the page open on the sample.

import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, Faults, test } from "./culprit";

test("make demo opens the sample in the browser, and cleans up when it is interrupted", async ({ page }) => {
  test.setTimeout(300_000); // it may build everything
  const folder = mkdtempSync(join(tmpdir(), "culprit-demo-"));
  const opened = join(folder, "opened");
  // A browser that only says what it was told to open.
  const browser = join(folder, "browser");
  writeFileSync(browser, `#!/bin/sh\nprintf '%s' "$1" >'${opened}'\n`, { mode: 0o755 });

  const demo = spawn("make", ["--silent", "demo"], {
    cwd: resolve(import.meta.dirname, "../.."),
    env: { ...process.env, BROWSER: browser, TMPDIR: folder, LISTEN: "127.0.0.1:0" },
    detached: true, // a group of its own, which is interrupted as a terminal does it
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  const ended = new Promise<number | null>((done) => demo.on("close", done));
  const printed = new Promise<string>((done, failed) => {
    const note = (chunk: Buffer) => {
      said += chunk.toString();
      const url = said.match(/^http:\/\/\S+token=\S+$/m);
      if (url) done(url[0]);
    };
    demo.stdout.on("data", note);
    demo.stderr.on("data", note);
    void ended.then(() => failed(new Error(`make demo has ended:\n${said}`)));
  });
  const interrupt = () => process.kill(-demo.pid!, "SIGINT");
  try {
    const url = await printed;
    await expect.poll(() => readOr(opened)).toBe(url);
    expect(said, "the small capture is traced first").toContain("exchanges   seen 43 = ");

    const faults = new Faults();
    await faults.watch(page, new URL(url).origin);
    await page.goto(url);
    await expect(page.getByRole("group", { name: /^Latency over time/ })).toBeVisible();
    expect(page.url(), "the token isn't kept in the address").not.toContain("token");
    expect(faults.unexpected).toEqual([]);
    interrupt();
    await ended;
    expect(readdirSync(folder).sort(), "nothing is left").toEqual(["browser", "opened"]);
    expect(said).toContain("exchanges = stored");
  } finally {
    if (demo.exitCode === null && demo.signalCode === null) interrupt();
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
});

function readOr(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
