// The tests of the user interface: tests/README.md.

import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { defineConfig, devices, type PlaywrightTestOptions } from "@playwright/test";

/** The browser is the system's: none is downloaded. */
function chromium(): string {
  const folders = ["/usr/bin", ...(process.env.PATH ?? "").split(delimiter)];
  const names = ["chromium", "chromium-browser", "google-chrome"];
  const paths = folders.flatMap((folder) => names.map((name) => join(folder, name)));
  return process.env.CHROMIUM ?? paths.find((path) => existsSync(path)) ?? "/usr/bin/chromium";
}

// Chromium's own sandbox doesn't start as root.
const root = process.getuid?.() === 0;

const browser: Partial<PlaywrightTestOptions> = {
  viewport: { width: 1280, height: 800 },
  locale: "en-GB",
  timezoneId: "Europe/Berlin",
  colorScheme: "light",
};

export default defineConfig({
  testDir: "tests",
  outputDir: "test-results",
  globalSetup: "./tests/build.ts",
  reporter: "list",
  retries: 0,
  workers: 2,
  fullyParallel: false,
  forbidOnly: process.env.CI !== undefined,
  timeout: 60_000,
  expect: { timeout: 10_000 },
  use: {
    video: "off",
    trace: "off",
    screenshot: "only-on-failure",
    launchOptions: { executablePath: chromium(), args: root ? ["--no-sandbox"] : [] },
  },
  projects: [
    { name: "unit", testDir: "tests/unit" },
    { name: "browser", testIgnore: "unit/**", use: browser },
    {
      name: "phone",
      testIgnore: "unit/**",
      grep: /@phone/,
      use: { ...devices["Pixel 7"], ...browser, viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true },
    },
  ],
});
