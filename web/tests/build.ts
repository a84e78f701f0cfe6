// Before all tests: the user interface and the program are built, unless CULPRIT_BIN names a program that has both.

import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const web = fileURLToPath(new URL("..", import.meta.url));
const repository = join(web, "..");

/** Returns what removes what was made. Workers inherit the environment. */
export default function build(): () => void {
  const dir = mkdtempSync(join(tmpdir(), "culprit-web-"));
  chmodSync(dir, 0o755); // culprit gives up being root, and its store is in here
  process.env.CULPRIT_TEST_DIR = dir;
  if (!process.env.CULPRIT_BIN) {
    execFileSync("npm", ["run", "build"], { cwd: web, stdio: "inherit" });
    process.env.CULPRIT_BIN = join(dir, "culprit");
    execFileSync("go", ["build", "-buildvcs=false", "-o", process.env.CULPRIT_BIN, "./cmd/culprit"], {
      cwd: repository,
      env: { ...process.env, CGO_ENABLED: "0" },
      stdio: "inherit",
    });
  }
  return () => rmSync(dir, { recursive: true, force: true });
}
